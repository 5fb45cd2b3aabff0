//! f32 products by AVX-512 fused multiply-add: twelve rows by thirty-two columns in 24 registers.

#[cfg(target_arch = "x86_64")]
use super::direct;
use super::panels::{self, Panels, Tile};
use super::words::Part;
use super::{Kept, Right, Sizes, Unit, Update, View};

/// Rows of a panel.
const ROWS: usize = 12;

struct Avx512;

/// The unit, where the machine has it.
pub(super) fn unit() -> Option<&'static dyn Unit> {
    available().then_some(&Avx512 as &dyn Unit)
}

/// True if the machine has the instructions.
pub(super) fn available() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

impl Unit for Avx512 {
    fn name(&self) -> &'static str {
        "avx512"
    }
    fn product(
        &self,
        a: View<'_, f32>,
        b: Right<'_, f32>,
        kept: Kept<'_>,
        y: &mut [f32],
        sizes: Sizes,
        update: Update<f32>,
    ) {
        #[cfg(target_arch = "x86_64")]
        if direct::suits(a, sizes) {
            return match b {
                Right::Same(b) => direct::product(a, b, y, sizes, update),
                Right::Bf16(b) => direct::product(a, b, y, sizes, update),
                Right::F16(b) => direct::product(a, b, y, sizes, update),
            };
        }
        panels::product::<Avx512, ROWS>(self, a, b, kept, y, sizes, update);
    }
    fn words_of_pack(&self, k: usize, n: usize) -> usize {
        panels::words_of_pack::<Avx512, ROWS>(k, n)
    }
}

impl Panels<ROWS> for Avx512 {
    const PARTS: &'static [Part] = &[Part::Whole];
    const STEP: usize = 1;
    type Registers = ();

    fn begin(&self) {}

    #[expect(unsafe_code, reason = "vector instructions on packed operands")]
    unsafe fn tile(&self, (): &mut (), left: &[u32], right: &[u32], words: usize, tile: Tile) {
        debug_assert!(left.len() >= words * ROWS && right.len() >= words * panels::COLUMNS);
        #[cfg(target_arch = "x86_64")]
        // SAFETY: this unit exists only where the instructions are; the rest is promised by the caller.
        unsafe {
            if tile.columns > 16 {
                vectors::tile::<2>(left, right, words, tile);
            } else {
                vectors::tile::<1>(left, right, words, tile);
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = (left, right, words, tile);
            unreachable!("the unit is offered on x86-64 only");
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) mod vectors {
    #![expect(unsafe_code, reason = "vector instructions")]
    use super::super::panels::{COLUMNS, Tile};
    use super::ROWS;
    use std::arch::x86_64::*;

    /// Sums of `V` vectors of columns, `ROWS` words of the left panel for each step.
    ///
    /// # Safety
    /// AVX-512; see [`super::Panels::tile`].
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn tile<const V: usize>(left: &[u32], right: &[u32], words: usize, tile: Tile) {
        let mut sums = [[_mm512_setzero_ps(); V]; ROWS];
        let (mut a, mut b) = (left.as_ptr().cast::<f32>(), right.as_ptr().cast::<f32>());
        // SAFETY: both panels hold `words` steps.
        unsafe {
            for _ in 0..words {
                let mut columns = [_mm512_setzero_ps(); V];
                for (v, column) in columns.iter_mut().enumerate() {
                    *column = _mm512_loadu_ps(b.add(16 * v));
                }
                for (i, sums) in sums.iter_mut().enumerate() {
                    let x = _mm512_set1_ps(*a.add(i));
                    for v in 0..V {
                        sums[v] = _mm512_fmadd_ps(x, columns[v], sums[v]);
                    }
                }
                a = a.add(ROWS);
                b = b.add(COLUMNS);
            }
            store(&sums, tile);
        }
    }

    /// Updates the rows of a tile by their sums.
    ///
    /// # Safety
    /// AVX-512; the tile lies inside y.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(in super::super) unsafe fn store<const V: usize, const R: usize>(sums: &[[__m512; V]; R], tile: Tile) {
        let (keep, factor) = (_mm512_set1_ps(tile.update.keep), _mm512_set1_ps(tile.update.factor));
        for (i, sums) in sums.iter().enumerate() {
            if i >= tile.rows {
                break;
            }
            for (v, sum) in sums.iter().enumerate() {
                let columns = tile.columns.saturating_sub(16 * v).min(16);
                let mask = if columns == 16 { u16::MAX } else { (1u16 << columns) - 1 };
                // SAFETY: the mask and the bound on `i` keep every access inside the tile.
                unsafe {
                    let at = tile.y.add(i * tile.stride + 16 * v);
                    let mut y = _mm512_mul_ps(*sum, factor);
                    if tile.update.keep != 0.0 {
                        y = _mm512_fmadd_ps(keep, _mm512_maskz_loadu_ps(mask, at), y);
                    }
                    if mask == u16::MAX {
                        _mm512_storeu_ps(at, y);
                    } else {
                        _mm512_mask_storeu_ps(at, mask, y);
                    }
                }
            }
        }
    }
}
