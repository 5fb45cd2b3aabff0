//! Products that do not pack the left operand.
//!
//! [`UnpackedGemm::block`] is one product on one thread: what attention is made of, whose operands are parts of rows and are used
//! by several blocks. [`gemm`] is for few columns, where packing the rows first would cost as much as it saves.

use super::gemm_crate::{Kernel, gemm_block};
use super::operand::{AlphaBeta, MatrixView, Sizes};
#[cfg(target_arch = "x86_64")]
use super::{cpu, microkernel::NR};

/// The right operand of several blocks, in the order in which this machine reads it.
#[derive(Debug)]
pub(crate) struct RhsPanels<'a, T> {
    stored: MatrixView<'a, T>,
    /// Value `p` of column `j` at `(j / NR * k + p) * NR + j % NR`; empty where columns are read as stored.
    packed: Vec<T>,
    k: usize,
    n: usize,
}

/// A float that has products of blocks.
pub(crate) trait UnpackedGemm: Kernel {
    /// Makes `n` columns of `k` values ready.
    fn rhs_panels(stored: MatrixView<'_, Self>, k: usize, n: usize) -> RhsPanels<'_, Self> {
        RhsPanels { stored, packed: Vec::new(), k, n }
    }

    /// Updates y, whose rows begin `stride` apart, by the first `sizes.k` values of the first `sizes.n` columns. Panics if
    /// an operand or y is too small.
    fn block(
        a: MatrixView<'_, Self>,
        b: &RhsPanels<'_, Self>,
        y: &mut [Self],
        stride: usize,
        s: Sizes,
        scale: AlphaBeta<Self>,
    ) {
        gemm_block(a, b.stored, y, s, (stride, 1), scale);
    }
}

impl UnpackedGemm for f64 {}

#[cfg(not(target_arch = "x86_64"))]
impl UnpackedGemm for f32 {}

#[cfg(target_arch = "x86_64")]
impl UnpackedGemm for f32 {
    fn rhs_panels(stored: MatrixView<'_, f32>, k: usize, n: usize) -> RhsPanels<'_, f32> {
        let packs = stored.stride != 1 && cpu::has_avx512();
        let packed = if packs { vectors::pack_panels(stored, 0..k, k, n) } else { Vec::new() };
        RhsPanels { stored, packed, k, n }
    }

    fn block(
        a: MatrixView<'_, f32>,
        b: &RhsPanels<'_, f32>,
        y: &mut [f32],
        stride: usize,
        s: Sizes,
        scale: AlphaBeta<f32>,
    ) {
        if !cpu::has_avx512() || (b.packed.is_empty() && b.stored.stride != 1) {
            return gemm_block(a, b.stored, y, s, (stride, 1), scale);
        }
        assert!(
            a.covers(s.m, s.k) && b.stored.covers(s.n, s.k) && s.k <= b.k && s.n <= b.n,
            "operands are large enough"
        );
        if s.m == 0 || s.n == 0 {
            return;
        }
        assert!((s.m - 1) * stride + s.n <= y.len() && (s.m == 1 || s.n <= stride), "output is large enough");
        #[expect(unsafe_code, reason = "vector instructions")]
        // SAFETY: the instructions are there; by the assertions every access lies inside its slice.
        unsafe {
            let right = if b.packed.is_empty() {
                vectors::Panels { first: b.stored.values.as_ptr(), panel: NR, step: b.stored.k_stride }
            } else {
                vectors::Panels { first: b.packed.as_ptr(), panel: NR * b.k, step: NR }
            };
            vectors::block(a, right, y, stride, s, scale);
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use vectors::{gemm, suits};

#[cfg(target_arch = "x86_64")]
mod vectors {
    #![expect(unsafe_code, reason = "vector instructions")]
    use super::super::microkernel::{NR, Tile};
    use super::super::operand::{AlphaBeta, Gemm, MatrixView, Sizes};
    use super::super::pack::{Place, SplitPart, Stored, pack};
    use crate::parallel::for_pieces;
    use std::arch::x86_64::*;
    use std::ops::Range;

    /// Rows of a piece of work.
    const PIECE: usize = 96;
    /// Terms of a sum that are in work at once, so that columns stay in the second cache.
    const TERMS: usize = 1024;
    /// Columns from which packing the rows pays.
    const MANY: usize = 512;

    /// Panels of [`NR`] columns.
    #[derive(Clone, Copy)]
    pub(super) struct Panels {
        pub(super) first: *const f32,
        /// From one panel to the next.
        pub(super) panel: usize,
        /// From one term of the sums to the next.
        pub(super) step: usize,
    }

    /// Where the operands of a tile begin, and how far it is to the next row, and to the next term of a sum.
    #[derive(Clone, Copy)]
    struct Operands {
        left: *const f32,
        row: usize,
        left_step: usize,
        right: *const f32,
        right_step: usize,
        /// Terms of the sums.
        terms: usize,
    }

    /// The values `terms` of `n` columns, each `k` long: value `p` of column `j` is at
    /// `(j / NR * terms + p) * NR + j % NR`.
    pub(super) fn pack_panels<S: Stored>(b: MatrixView<'_, S>, terms: Range<usize>, k: usize, n: usize) -> Vec<f32> {
        let size = terms.len() * NR;
        let mut packed = vec![0.0; n.div_ceil(NR) * size];
        for (first, panel) in (0..n).step_by(NR).zip(packed.chunks_exact_mut(size.max(1))) {
            let place = Place { first, count: NR.min(n - first), elements: terms.clone(), length: k };
            pack::<S, NR>(b, place, SplitPart::Full, bytemuck::cast_slice_mut(panel));
        }
        packed
    }

    /// True if [`gemm`] is the fastest: rows as they are stored, and few columns.
    pub(in super::super) fn suits(a: MatrixView<'_, f32>, sizes: Sizes) -> bool {
        a.k_stride == 1 && (sizes.n <= NR || sizes.n <= MANY && sizes.k <= TERMS && !collide(a))
    }

    /// Whether rows lie in the same lines of the first cache.
    fn collide(a: MatrixView<'_, f32>) -> bool {
        (a.stride * size_of::<f32>()).is_multiple_of(4096)
    }

    /// Updates y, in pieces of rows; the caller has checked the instructions.
    pub(in super::super) fn gemm<S: Stored>(product: &Gemm<'_, f32>, b: MatrixView<'_, S>, y: &mut [f32]) {
        let Gemm { a, sizes: Sizes { m, k, n }, scale, .. } = *product;
        assert!(product.fits(y) && b.covers(n, k), "operands and output are large enough");
        for first in (0..k).step_by(TERMS) {
            let terms = first..(first + TERMS).min(k);
            let scale = if first == 0 { scale } else { AlphaBeta { beta: 1.0, ..scale } };
            let columns = pack_panels(b, terms.clone(), k, n);
            let piece = |(i, y): (usize, &mut [f32])| {
                let rows = a.skip(i * PIECE);
                let rows = MatrixView { values: &rows.values[first.min(rows.values.len())..], ..rows };
                let right = Panels { first: columns.as_ptr(), panel: NR * terms.len(), step: NR };
                // SAFETY: every row of y has one in `rows`, of which `terms` lie inside by the assertion above.
                unsafe { block(rows, right, y, n, Sizes { m: y.len() / n, k: terms.len(), n }, scale) };
            };
            let y = &mut y[..m * n];
            for_pieces(m * k * n, y.chunks_mut(PIECE * n).enumerate(), piece);
        }
    }

    /// # Safety
    /// AVX-512; operands and y are as large as `s` says.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    pub(super) unsafe fn block(
        a: MatrixView<'_, f32>,
        b: Panels,
        y: &mut [f32],
        stride: usize,
        s: Sizes,
        scale: AlphaBeta<f32>,
    ) {
        // A tile reads its rows side by side: of rows that drive each other out of the cache it takes few.
        let most = if a.k_stride == 1 && collide(a) { 4 } else { 12 };
        let mut first = 0;
        macro_rules! tiles_of {
            ($($rows:literal),+) => {$(
                while $rows <= most.min(s.m - first) {
                    let left = a.values.as_ptr().wrapping_add(first * a.stride);
                    for column in (0..s.n).step_by(NR) {
                        let right = b.first.wrapping_add(column / NR * b.panel);
                        let at = Operands { left, row: a.stride, left_step: a.k_stride, right, right_step: b.step, terms: s.k };
                        let y = y.as_mut_ptr().wrapping_add(first * stride + column);
                        let tile = Tile { y, stride, rows: $rows, columns: NR.min(s.n - column), scale };
                        // SAFETY: rows `first..` and columns `column..` lie inside.
                        unsafe {
                            if tile.columns > 16 { sums::<$rows, 2>(at, tile) } else { sums::<$rows, 1>(at, tile) }
                        }
                    }
                    first += $rows;
                }
            )+};
        }
        tiles_of!(12, 8, 4, 2, 1);
    }

    /// One tile of `R` rows and more than `16 (V - 1)` columns.
    ///
    /// # Safety
    /// AVX-512; operands and tile lie inside their slices.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn sums<const R: usize, const V: usize>(at: Operands, tile: Tile) {
        let mut sums = [[_mm512_setzero_ps(); V]; R];
        let last = tile.columns - 16 * (V - 1);
        let mask = if last >= 16 { u16::MAX } else { (1 << last) - 1 };
        // Three rows share a pointer, so that all of them stay in registers.
        let mut lefts: [*const f32; 4] = std::array::from_fn(|g| at.left.wrapping_add(3 * g * at.row));
        let mut right = at.right;
        for _ in 0..at.terms {
            // SAFETY: `R` rows and the columns of the mask are there for every term.
            unsafe {
                let mut columns = [_mm512_setzero_ps(); V];
                for (v, column) in columns.iter_mut().enumerate() {
                    let lanes = if v + 1 == V { mask } else { u16::MAX };
                    *column = _mm512_maskz_loadu_ps(lanes, right.wrapping_add(16 * v));
                }
                for (i, sums) in sums.iter_mut().enumerate() {
                    let x = _mm512_set1_ps(*lefts[i / 3].wrapping_add(i % 3 * at.row));
                    for v in 0..V {
                        sums[v] = _mm512_fmadd_ps(x, columns[v], sums[v]);
                    }
                }
            }
            lefts = lefts.map(|p| p.wrapping_add(at.left_step));
            right = right.wrapping_add(at.right_step);
        }
        // SAFETY: the tile lies inside y.
        unsafe { tile.update_from_registers(&sums) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn agrees<T: UnpackedGemm>(sizes: Sizes, transposed: (bool, bool), beta: f64, tolerance: f64) {
        let Sizes { m, k, n } = sizes;
        let random = |n: usize, name: &str| -> Vec<T> {
            let mut s = clinpeft_rng::Seed(4).stream(name);
            (0..n).map(|_| T::from_f64(clinpeft_rng::normal(&mut s))).collect()
        };
        let (a, b, stride) = (random(m * k, "a"), random(n * k, "b"), n + 3);
        let before = random(m * stride, "y");
        let left = if transposed.0 {
            MatrixView { values: &a, stride: 1, k_stride: m }
        } else {
            MatrixView { values: &a[..], stride: k, k_stride: 1 }
        };
        let right = if transposed.1 {
            MatrixView { values: &b, stride: 1, k_stride: n }
        } else {
            MatrixView { values: &b[..], stride: k, k_stride: 1 }
        };
        let mut y = before.clone();
        let scale = AlphaBeta { beta: T::from_f64(beta), alpha: T::from_f64(0.7) };
        T::block(left, &T::rhs_panels(right, k, n), &mut y, stride, sizes, scale);
        for at in 0..y.len() {
            let (i, j) = (at / stride, at % stride);
            let old = before[at].to_f64();
            let sum: f64 = (0..k).filter(|_| j < n).map(|p| left.at(i, p).to_f64() * right.at(j, p).to_f64()).sum();
            let want = if j < n { beta * old + 0.7 * sum } else { old };
            assert!((y[at].to_f64() - want).abs() <= tolerance * (1.0 + k as f64), "{sizes:?} {transposed:?} {i} {j}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn blocks_equal_the_triple_loop(m in 1usize..40, k in 0usize..40, n in 1usize..80, t in 0usize..4, beta in 0usize..2) {
            let sizes = Sizes { m, k, n };
            agrees::<f32>(sizes, (t & 1 > 0, t & 2 > 0), beta as f64, 1e-6);
            agrees::<f64>(sizes, (t & 1 > 0, t & 2 > 0), beta as f64, 1e-14);
        }
    }
}
