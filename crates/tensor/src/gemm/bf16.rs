//! bf16 products by AVX512_BF16: `vdpbf16ps` adds two products of bf16 to each f32. On AMD it does twice the work of an f32
//! multiply-add, on Intel half of it, but there are tiles.

use super::panels::{self, Panels, Tile};
use super::words::Part;
use super::{Kept, Right, Sizes, Unit, Update, View};

/// Rows of a panel.
const ROWS: usize = 12;

struct DotProducts;

/// The unit, where the machine has it and it is faster than f32.
pub(super) fn unit() -> Option<&'static dyn Unit> {
    (available() && fast()).then_some(&DotProducts as &dyn Unit)
}

/// True if the machine has the instructions.
pub(super) fn available() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        super::avx512::available() && is_x86_feature_detected!("avx512bf16")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// Who made the processor says how fast the instruction is.
fn fast() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        let vendor = std::arch::x86_64::__cpuid(0);
        (vendor.ebx, vendor.edx, vendor.ecx) == (0x6874_7541, 0x6974_6e65, 0x444d_4163)
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

impl Unit for DotProducts {
    fn name(&self) -> &'static str {
        "avx512_bf16"
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
        panels::product::<DotProducts, ROWS>(self, a, b, kept, y, sizes, update);
    }
    fn words_of_pack(&self, k: usize, n: usize) -> usize {
        panels::words_of_pack::<DotProducts, ROWS>(k, n)
    }
}

impl Panels<ROWS> for DotProducts {
    const PARTS: &'static [Part] = &[Part::Rounded];
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
mod vectors {
    #![expect(unsafe_code, reason = "vector instructions")]
    use super::super::avx512::vectors::store;
    use super::super::panels::{COLUMNS, Tile};
    use super::ROWS;
    use std::arch::x86_64::*;

    /// Sums of `V` vectors of columns, `ROWS` words of the left panel for each step.
    ///
    /// # Safety
    /// AVX512_BF16; see [`super::Panels::tile`].
    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) unsafe fn tile<const V: usize>(left: &[u32], right: &[u32], words: usize, tile: Tile) {
        // Two bf16 in each lane.
        let pairs = |x: __m512i| -> __m512bh {
            // SAFETY: both types are 512 bits without invalid values.
            unsafe { std::mem::transmute(x) }
        };
        let mut sums = [[_mm512_setzero_ps(); V]; ROWS];
        let (mut a, mut b) = (left.as_ptr().cast::<i32>(), right.as_ptr().cast::<i32>());
        // SAFETY: both panels hold `words` steps.
        unsafe {
            for _ in 0..words {
                let mut columns = [_mm512_setzero_si512(); V];
                for (v, column) in columns.iter_mut().enumerate() {
                    *column = _mm512_loadu_si512(b.add(16 * v).cast());
                }
                for (i, sums) in sums.iter_mut().enumerate() {
                    let x = pairs(_mm512_set1_epi32(*a.add(i)));
                    for v in 0..V {
                        sums[v] = _mm512_dpbf16_ps(sums[v], x, pairs(columns[v]));
                    }
                }
                a = a.add(ROWS);
                b = b.add(COLUMNS);
            }
            store(&sums, tile);
        }
    }
}
