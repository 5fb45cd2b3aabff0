//! What a matrix product is made of.

use super::prepack::PackSlot;
use crate::Element;
use half::{bf16, f16};

/// How exact products with a frozen weight must be. Sums run in f32 always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Precision {
    /// Every product of two f32 is rounded once, as the fused multiply-add of IEEE 754.
    #[default]
    StrictF32,
    /// Errors of the size of f32 (a few millionths of the largest result); f32 may be computed as two bf16.
    F32,
    /// Both operands are rounded to bf16 once.
    Bf16,
}

/// Rows of the left operand, or columns of the right one: element `k` of number `i` is `values[i * stride + k * k_stride]`,
/// where the sum runs over `k`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MatrixView<'a, T> {
    pub values: &'a [T],
    pub stride: usize,
    pub k_stride: usize,
}

impl<T: Copy> MatrixView<'_, T> {
    /// True if `count` rows or columns, each of `k` values, lie inside.
    pub fn covers(&self, count: usize, k: usize) -> bool {
        count == 0 || k == 0 || (count - 1) * self.stride + (k - 1) * self.k_stride < self.values.len()
    }
    pub fn at(&self, i: usize, k: usize) -> T {
        self.values[i * self.stride + k * self.k_stride]
    }
    /// Rows as columns.
    pub fn transposed(self) -> Self {
        MatrixView { stride: self.k_stride, k_stride: self.stride, ..self }
    }
    /// The view without its first `i` rows or columns.
    pub fn skip(self, i: usize) -> Self {
        MatrixView { values: &self.values[(i * self.stride).min(self.values.len())..], ..self }
    }
}

/// The right operand, by columns, as it is stored.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RhsView<'a, T> {
    /// In the type of the left operand.
    Same(MatrixView<'a, T>),
    /// In bf16.
    Bf16(MatrixView<'a, bf16>),
    /// In IEEE half.
    F16(MatrixView<'a, f16>),
}

/// Runs `$body` with `$view` standing for the view, whatever its type.
macro_rules! with_rhs {
    ($rhs:expr, $view:ident => $body:expr) => {
        match $rhs {
            RhsView::Same($view) => $body,
            RhsView::Bf16($view) => $body,
            RhsView::F16($view) => $body,
        }
    };
}
pub(super) use with_rhs;

/// Rows, length of the sums, columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub m: usize,
    pub k: usize,
    pub n: usize,
}

/// `y = beta * y + alpha * a b`, as in BLAS; with `beta` zero, y is not read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct AlphaBeta<T> {
    pub alpha: T,
    pub beta: T,
}

/// A cached pack of the right operand.
#[derive(Debug, Clone, Copy)]
pub(crate) enum CachedPack<'a> {
    /// There is none.
    None,
    /// That of this operand; the product fills it if it is empty.
    Use(&'a PackSlot),
    /// That of the transposed operand, if it is filled.
    Transposed(&'a PackSlot),
}

/// One product. What is cached is of this `b` and backend.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gemm<'a, T> {
    pub a: MatrixView<'a, T>,
    pub b: RhsView<'a, T>,
    pub pack: CachedPack<'a>,
    pub sizes: Sizes,
    pub scale: AlphaBeta<T>,
}

impl<T: Element> Gemm<'_, T> {
    /// True if the operands and `y` are as large as the sizes say.
    pub fn fits(&self, y: &[T]) -> bool {
        let Sizes { m, k, n } = self.sizes;
        self.a.covers(m, k) && with_rhs!(self.b, b => b.covers(n, k)) && m * n <= y.len()
    }
}

/// What computes products of f32.
pub(crate) trait GemmBackend: Sync {
    /// Its name in manifests: the instruction set.
    fn isa(&self) -> &'static str;
    /// Updates y `[m, n]` by rows. The caller has checked that everything fits, and that there is something to sum.
    fn gemm(&self, product: &Gemm<'_, f32>, y: &mut [f32]);
    /// Packed elements (32 bits each) of `n` columns of `k` values; none for a backend that does not pack.
    fn packed_len(&self, _k: usize, _n: usize) -> usize {
        0
    }
    /// Whether a product with the transposed operand reads its pack.
    fn reads_transposed_packs(&self) -> bool {
        false
    }
}
