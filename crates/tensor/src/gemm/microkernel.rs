//! The contract of a micro-kernel: one tile of y from packed panels.

use super::operand::{AlphaBeta, Gemm};
use super::pack::SplitPart;
use crate::parallel::vectorised;

/// Columns of a panel of the right operand.
pub(super) const NR: usize = 32;

/// Multiplies a panel of `MR` rows with a panel of [`NR`] columns.
pub(super) trait MicroKernel<const MR: usize>: Sync {
    /// Name of the instruction set.
    const ISA: &'static str;
    /// What packed elements are made of: one part, or two that follow each other in a panel.
    const PARTS: &'static [SplitPart];
    /// The number of packed elements of a row is a multiple of this.
    const STEP: usize = 1;
    /// Whether panels of the left operand hold element `p` of row `i` at `i * STEP` of block `p / STEP`, instead of
    /// `p * MR + i`.
    const LHS_BY_ROWS: bool = false;
    /// Packed elements of K that are multiplied at once.
    const KC: usize = 1024;
    /// Blocks of K after which sums go to y. A kernel that is so fast that it waits for rows of y accumulates several: meanwhile
    /// the tiles of a panel of columns lie together.
    const ACCUMULATED_BLOCKS: usize = 1;
    /// Whether columns are also made from the pack of the transposed operand: elements of two values, cut at [`NR`].
    const READS_TRANSPOSED: bool = false;
    /// What a thread holds while it multiplies.
    type Registers;

    /// Computes the product another way where the kernel cannot, or where that is faster. False if it did nothing.
    fn bypass(&self, _product: &Gemm<'_, f32>, _y: &mut [f32]) -> bool {
        false
    }

    /// Makes a thread ready to multiply.
    fn begin(&self) -> Self::Registers;

    /// Updates one tile of y from `len` elements of each part of a left and a right panel.
    ///
    /// # Safety
    /// `lhs` holds `len * MR` elements for each part and `rhs` `len * NR`; the tile lies inside y and nobody else uses it.
    #[expect(unsafe_code, reason = "vector instructions on packed operands")]
    unsafe fn tile(&self, registers: &mut Self::Registers, lhs: &[u32], rhs: &[u32], len: usize, tile: Tile);
}

/// A piece of y.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    /// Its first element.
    pub(super) y: *mut f32,
    /// From one row to the next.
    pub(super) stride: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) scale: AlphaBeta<f32>,
}

impl Tile {
    /// Updates y by sums that lie together, [`NR`] in a row.
    ///
    /// # Safety
    /// The tile lies inside y and nobody else uses it.
    #[expect(unsafe_code, reason = "tiles of y are written by several threads")]
    pub(super) unsafe fn update(self, sums: &[f32]) {
        let AlphaBeta { alpha, beta } = self.scale;
        vectorised(
            #[inline(always)]
            || {
                for (i, sums) in sums.chunks_exact(NR).take(self.rows).enumerate() {
                    // SAFETY: row `i` of the tile lies inside y and is ours.
                    let y = unsafe { std::slice::from_raw_parts_mut(self.y.add(i * self.stride), self.columns) };
                    if beta == 0.0 {
                        y.iter_mut().zip(sums).for_each(|(y, sum)| *y = alpha * sum);
                    } else {
                        y.iter_mut().zip(sums).for_each(|(y, sum)| *y = beta * *y + alpha * sum);
                    }
                }
            },
        );
    }

    /// Updates y by sums in AVX-512 registers.
    ///
    /// # Safety
    /// AVX-512; the tile lies inside y and nobody else uses it.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx512f")]
    #[expect(unsafe_code, reason = "vector instructions")]
    pub(super) unsafe fn update_from_registers<const V: usize, const R: usize>(
        self,
        sums: &[[std::arch::x86_64::__m512; V]; R],
    ) {
        use std::arch::x86_64::*;
        let (beta, alpha) = (_mm512_set1_ps(self.scale.beta), _mm512_set1_ps(self.scale.alpha));
        for (i, sums) in sums.iter().enumerate() {
            if i >= self.rows {
                break;
            }
            for (v, sum) in sums.iter().enumerate() {
                let columns = self.columns.saturating_sub(16 * v).min(16);
                let mask = if columns == 16 { u16::MAX } else { (1u16 << columns) - 1 };
                // SAFETY: the mask and the bound on `i` keep every access inside the tile.
                unsafe {
                    let at = self.y.add(i * self.stride + 16 * v);
                    let mut y = _mm512_mul_ps(*sum, alpha);
                    if self.scale.beta != 0.0 {
                        y = _mm512_fmadd_ps(beta, _mm512_maskz_loadu_ps(mask, at), y);
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
