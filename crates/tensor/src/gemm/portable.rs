//! The `gemm` crate: f32 and f64 by whatever vectors the machine has.

use super::{Kept, Right, Sizes, Unit, Update, View, each};
use crate::Element;
use gemm_common::Parallelism;
use rayon::prelude::*;
use std::ops::Range;

/// The unit that is always there.
pub(crate) struct Portable;

impl Unit for Portable {
    fn name(&self) -> &'static str {
        "gemm"
    }
    fn product(
        &self,
        a: View<'_, f32>,
        b: Right<'_, f32>,
        _: Kept<'_>,
        y: &mut [f32],
        sizes: Sizes,
        update: Update<f32>,
    ) {
        product(a, b, y, sizes, update);
    }
}

/// `y = alpha y + beta a b` by pointers and strides (column, row) for y, a, b in turn; see the `gemm-common` crate.
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
pub(super) fn product<T: Kernel>(a: View<'_, T>, b: Right<'_, T>, y: &mut [T], sizes: Sizes, update: Update<T>) {
    let Sizes { m, k, n } = sizes;
    match b {
        Right::Same(b) if m > ROWS => {
            let piece = |(i, y): (usize, &mut [T])| {
                gemm_block(a.skip(i * ROWS), b, y, Sizes { m: y.len() / n, k, n }, (n, 1), update);
            };
            each(sizes, y.chunks_mut(ROWS * n).enumerate(), piece);
        }
        Right::Same(b) if n >= 2 * COLUMNS => by_columns(sizes, y, update.keep, |columns, part| {
            let some = Sizes { n: columns.len(), ..sizes };
            gemm_block(a, b.skip(columns.start), part, some, (some.n, 1), Update { keep: T::from_f64(0.0), ..update });
        }),
        Right::Same(b) => gemm_block(a, b, y, sizes, (n, 1), update),
        Right::Bf16(b) => widened(a, b, y, sizes, update),
        Right::F16(b) => widened(a, b, y, sizes, update),
    }
}

/// Sixteen-bit columns are widened a few at a time, so that no full copy is made.
fn widened<T: Kernel, W: Element>(a: View<'_, T>, b: View<'_, W>, y: &mut [T], sizes: Sizes, update: Update<T>) {
    let k = sizes.k;
    by_columns(sizes, y, update.keep, |columns, part| {
        let some = Sizes { n: columns.len(), ..sizes };
        let wide: Vec<T> = columns.flat_map(|j| (0..k).map(move |p| T::from_f64(b.at(j, p).to_f64()))).collect();
        let right = View { values: &wide, across: k, along: 1 };
        gemm_block(a, right, part, some, (some.n, 1), Update { keep: T::from_f64(0.0), ..update });
    });
}

/// Few rows and many columns: each piece of columns is computed apart and copied into place.
fn by_columns<T: Kernel>(sizes: Sizes, y: &mut [T], keep: T, compute: impl Fn(Range<usize>, &mut [T]) + Sync) {
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
    let keep = keep.to_f64();
    for (columns, part) in parts {
        for (row, values) in part.chunks_exact(columns.len()).enumerate() {
            let place = &mut y[row * n + columns.start..row * n + columns.end];
            for (to, from) in place.iter_mut().zip(values) {
                *to = if keep == 0.0 { *from } else { T::from_f64(to.to_f64() * keep + from.to_f64()) };
            }
        }
    }
}

/// One call of the kernel on this thread, y with strides (row, column).
#[expect(unsafe_code, reason = "the interface of the kernel takes pointers")]
pub(crate) fn gemm_block<T: Kernel>(
    a: View<'_, T>,
    b: View<'_, T>,
    y: &mut [T],
    Sizes { m, k, n }: Sizes,
    (row, column): (usize, usize),
    update: Update<T>,
) {
    assert!(a.holds(m, k) && b.holds(n, k), "operands are large enough");
    if m == 0 || n == 0 {
        return;
    }
    assert!((m - 1) * row + (n - 1) * column < y.len(), "output is large enough");
    let reads = update.keep.to_f64() != 0.0;
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
            a.along as isize,
            a.across as isize,
            b.values.as_ptr(),
            b.across as isize,
            b.along as isize,
            update.keep,
            update.factor,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
