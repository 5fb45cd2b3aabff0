//! AVX-512 micro-kernels: twelve rows by thirty-two columns in 24 registers.

use super::microkernel::{MicroKernel, NR, Tile};
use super::operand::{Gemm, RhsView, with_rhs};
use super::pack::SplitPart;
use super::unpacked;
use std::arch::x86_64::*;

/// Rows of a panel.
pub(super) const MR: usize = 12;

/// f32 by fused multiply-add.
pub(super) struct Fma;

/// bf16 by `vdpbf16ps` (AVX512_BF16), which adds two products of bf16 to each f32.
pub(super) struct DotBf16;

/// Two bf16 in each lane.
#[expect(unsafe_code, reason = "a vector under another type")]
fn pairs(x: __m512i) -> __m512bh {
    // SAFETY: both types are 512 bits without invalid values.
    unsafe { std::mem::transmute(x) }
}

/// The sums of `V` vectors of columns: `$add` adds the products of an element of each row, in every lane of `$x`, with a vector
/// of `$columns`.
macro_rules! tile {
    ($name:ident, $features:tt, |$sum:ident, $x:ident, $columns:ident| $add:expr) => {
        /// # Safety
        /// The instructions; see [`MicroKernel::tile`].
        #[target_feature(enable = $features)]
        #[expect(unsafe_code, reason = "vector instructions")]
        unsafe fn $name<const V: usize>(lhs: &[u32], rhs: &[u32], len: usize, tile: Tile) {
            let mut sums = [[_mm512_setzero_ps(); V]; MR];
            let (mut a, mut b) = (lhs.as_ptr().cast::<i32>(), rhs.as_ptr().cast::<i32>());
            // SAFETY: both panels hold `len` elements of each row and column.
            unsafe {
                for _ in 0..len {
                    let mut columns = [_mm512_setzero_si512(); V];
                    for (v, column) in columns.iter_mut().enumerate() {
                        *column = _mm512_loadu_si512(b.add(16 * v).cast());
                    }
                    for (i, sums) in sums.iter_mut().enumerate() {
                        let $x = _mm512_set1_epi32(*a.add(i));
                        for v in 0..V {
                            let ($sum, $columns) = (sums[v], columns[v]);
                            sums[v] = $add;
                        }
                    }
                    a = a.add(MR);
                    b = b.add(NR);
                }
                tile.update_from_registers(&sums);
            }
        }
    };
}

tile!(fma_tile, "avx512f", |sum, x, columns| _mm512_fmadd_ps(
    _mm512_castsi512_ps(x),
    _mm512_castsi512_ps(columns),
    sum
));
tile!(bf16_tile, "avx512f,avx512bf16", |sum, x, columns| _mm512_dpbf16_ps(sum, pairs(x), pairs(columns)));

impl MicroKernel<MR> for Fma {
    const ISA: &'static str = "avx512";
    const PARTS: &'static [SplitPart] = &[SplitPart::Full];
    type Registers = ();

    fn bypass(&self, product: &Gemm<'_, f32>, y: &mut [f32]) -> bool {
        let suits = unpacked::suits(product.a, product.sizes);
        if suits {
            with_rhs!(product.b, b => unpacked::gemm(product, b, y));
        }
        suits
    }

    fn begin(&self) {}

    #[expect(unsafe_code, reason = "vector instructions on packed operands")]
    unsafe fn tile(&self, (): &mut (), lhs: &[u32], rhs: &[u32], len: usize, tile: Tile) {
        debug_assert!(lhs.len() >= len * MR && rhs.len() >= len * NR);
        // SAFETY: this kernel is chosen only where the instructions are; the rest is promised by the caller.
        unsafe {
            if tile.columns > 16 { fma_tile::<2>(lhs, rhs, len, tile) } else { fma_tile::<1>(lhs, rhs, len, tile) }
        }
    }
}

impl MicroKernel<MR> for DotBf16 {
    const ISA: &'static str = "avx512_bf16";
    const PARTS: &'static [SplitPart] = &[SplitPart::High];
    type Registers = ();

    fn begin(&self) {}

    #[expect(unsafe_code, reason = "vector instructions on packed operands")]
    unsafe fn tile(&self, (): &mut (), lhs: &[u32], rhs: &[u32], len: usize, tile: Tile) {
        debug_assert!(lhs.len() >= len * MR && rhs.len() >= len * NR);
        // SAFETY: this kernel is chosen only where the instructions are; the rest is promised by the caller.
        unsafe {
            if tile.columns > 16 { bf16_tile::<2>(lhs, rhs, len, tile) } else { bf16_tile::<1>(lhs, rhs, len, tile) }
        }
    }
}
