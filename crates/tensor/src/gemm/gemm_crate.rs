//! The `gemm` crate: f32 and f64 by whatever vectors the machine has.

use super::operand::{AlphaBeta, Gemm, GemmBackend, MatrixView, RhsView, Sizes};
use super::pack::Stored;
use crate::Element;
use crate::parallel::for_pieces;
use gemm_common::Parallelism;
use rayon::prelude::*;
use std::ops::Range;

/// The backend that is always there.
pub(super) struct GemmCrate;

impl GemmBackend for GemmCrate {
    fn isa(&self) -> &'static str {
        "gemm"
    }
    fn gemm(&self, product: &Gemm<'_, f32>, y: &mut [f32]) {
        gemm(product, y);
    }
}

/// `y = alpha y + beta a b` (its names) by pointers and strides (column, row) for y, a, b in turn; see the `gemm-common` crate.
pub(crate) type Function<T> = unsafe fn(
    usize,
    usize,
    usize,
    *mut T,
    isize,
    isize,
    bool,
    *const T,
    isize,
    isize,
    *const T,
    isize,
    isize,
    T,
    T,
    bool,
    bool,
    bool,
    Parallelism,
);

/// A float that the crate has a kernel for.
pub(crate) trait Kernel: Element {
    /// The kernel for this machine.
    fn kernel() -> Function<Self>;
}

impl Kernel for f32 {
    fn kernel() -> Function<f32> {
        gemm_f32::gemm::f32::get_gemm_fn()
    }
}

impl Kernel for f64 {
    fn kernel() -> Function<f64> {
        gemm_f64::gemm::f64::get_gemm_fn()
    }
}

/// Rows of a piece.
const ROWS: usize = 256;
/// Columns of a piece where the rows are few.
const COLUMNS: usize = 512;
/// Updates y, cut into pieces of rows or columns that depend on the shape alone.
pub(super) fn gemm<T: Kernel>(product: &Gemm<'_, T>, y: &mut [T]) {
    let Gemm { a, b, sizes, scale, .. } = *product;
    let Sizes { m, k, n } = sizes;
    match b {
        RhsView::Same(b) if m > ROWS => {
            let piece = |(i, y): (usize, &mut [T])| {
                gemm_block(a.skip(i * ROWS), b, y, Sizes { m: y.len() / n, k, n }, (n, 1), scale);
            };
            for_pieces(m * k * n, y.chunks_mut(ROWS * n).enumerate(), piece);
        }
        RhsView::Same(b) if n >= 2 * COLUMNS => by_columns(sizes, y, scale.beta, |columns, part| {
            let some = Sizes { n: columns.len(), ..sizes };
            let set = AlphaBeta { beta: T::from_f64(0.0), ..scale };
            gemm_block(a, b.skip(columns.start), part, some, (some.n, 1), set);
        }),
        RhsView::Same(b) => gemm_block(a, b, y, sizes, (n, 1), scale),
        RhsView::Bf16(b) => upcast(a, b, y, sizes, scale),
        RhsView::F16(b) => upcast(a, b, y, sizes, scale),
    }
}

/// Sixteen-bit columns are upcast a few at a time, so that no full copy is made.
fn upcast<T: Kernel, S: Stored>(
    a: MatrixView<'_, T>,
    b: MatrixView<'_, S>,
    y: &mut [T],
    sizes: Sizes,
    scale: AlphaBeta<T>,
) {
    let k = sizes.k;
    by_columns(sizes, y, scale.beta, |columns, part| {
        let some = Sizes { n: columns.len(), ..sizes };
        let wide: Vec<T> = columns.flat_map(|j| (0..k).map(move |p| T::from_f64(b.at(j, p).wide().into()))).collect();
        let right = MatrixView { values: &wide, stride: k, k_stride: 1 };
        gemm_block(a, right, part, some, (some.n, 1), AlphaBeta { beta: T::from_f64(0.0), ..scale });
    });
}

/// Few rows and many columns: each piece of columns is computed apart and copied into place.
fn by_columns<T: Kernel>(sizes: Sizes, y: &mut [T], beta: T, compute: impl Fn(Range<usize>, &mut [T]) + Sync) {
    let Sizes { m, n, .. } = sizes;
    let parts: Vec<(Range<usize>, Vec<T>)> = (0..n.div_ceil(COLUMNS))
        .into_par_iter()
        .map(|i| {
            let columns = i * COLUMNS..((i + 1) * COLUMNS).min(n);
            let mut part = vec![T::from_f64(0.0); m * columns.len()];
            compute(columns.clone(), &mut part);
            (columns, part)
        })
        .collect();
    let beta = beta.to_f64();
    for (columns, part) in parts {
        for (row, values) in part.chunks_exact(columns.len()).enumerate() {
            let place = &mut y[row * n + columns.start..row * n + columns.end];
            for (to, from) in place.iter_mut().zip(values) {
                *to = if beta == 0.0 { *from } else { T::from_f64(to.to_f64() * beta + from.to_f64()) };
            }
        }
    }
}

/// One call of the kernel on this thread, y with strides (row, column).
#[expect(unsafe_code, reason = "the interface of the kernel takes pointers")]
pub(crate) fn gemm_block<T: Kernel>(
    a: MatrixView<'_, T>,
    b: MatrixView<'_, T>,
    y: &mut [T],
    Sizes { m, k, n }: Sizes,
    (row, column): (usize, usize),
    scale: AlphaBeta<T>,
) {
    assert!(a.covers(m, k) && b.covers(n, k), "operands are large enough");
    if m == 0 || n == 0 {
        return;
    }
    assert!((m - 1) * row + (n - 1) * column < y.len(), "output is large enough");
    let reads = scale.beta.to_f64() != 0.0;
    // The kernel prefers columns: where y is stored by rows, the transposed product is asked for.
    let (m, n, row, column, a, b) = if column < row { (n, m, column, row, b, a) } else { (m, n, row, column, a, b) };
    let kernel = T::kernel();
    // SAFETY: the assertions above keep every access inside the three slices; `y` is borrowed mutably, so it overlaps
    // neither operand; all strides are positive.
    unsafe {
        kernel(
            m,
            n,
            k,
            y.as_mut_ptr(),
            column as isize,
            row as isize,
            reads,
            a.values.as_ptr(),
            a.k_stride as isize,
            a.stride as isize,
            b.values.as_ptr(),
            b.stride as isize,
            b.k_stride as isize,
            scale.beta,
            scale.alpha,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
