//! Matrix product, all transposes, batched.
//!
//! ```text
//! Normal:  y[m, n] = sum_k a[m, k] b[k, n]       da = g b^T (RightTransposed of g, b)     db = a^T g
//! RightTransposed:  b is [n, k]                  da = g b   (Normal)                      db = g^T a
//! LeftTransposed:   a is [k, m]                  da = b g^T                               db = a g
//! ```
//! A third, leading axis of equal length in both operands is a batch. `b` may be stored in bf16 or f16 (frozen
//! weights); the sum runs in the dtype of `a`.

use super::{by_float, require, same_device};
use crate::real::Real;
use crate::{DType, Device, Element, Error, Result, Tensor};
use half::{bf16, f16};
use rayon::prelude::*;

/// Which operand is stored transposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `a [m, k]`, `b [k, n]`.
    Normal,
    /// `a [m, k]`, `b [n, k]`: a linear layer with its weight stored `[out, in]`.
    RightTransposed,
    /// `a [k, m]`, `b [k, n]`: the gradient of a weight.
    LeftTransposed,
}

/// `y[.., m, n]` from `a` and `b`. Errors if the inner lengths, batches, dtypes or devices differ.
pub fn matmul(a: &Tensor, b: &Tensor, layout: Layout) -> Result<Tensor> {
    let (batch, m, k, n) = sizes(a, b, layout)?;
    match same_device("matmul", &[a, b])? {
        Device::Other(backend) => backend.matmul(a, b, layout),
        Device::Cpu => by_float!("matmul", a, T => {
            let mut out = vec![T::ZERO; batch * m * n];
            let x = a.as_slice::<T>()?;
            for i in 0..batch {
                let left = &x[i * m * k..(i + 1) * m * k];
                let y = &mut out[i * m * n..(i + 1) * m * n];
                let right = i * k * n..(i + 1) * k * n;
                match b.dtype() {
                    d if d == T::DTYPE => product(left, &b.as_slice::<T>()?[right], y, (m, k, n), layout, T::ZERO, T::ONE),
                    DType::Bf16 => widened(left, &b.as_slice::<bf16>()?[right], y, (m, k, n), layout),
                    DType::F16 => widened(left, &b.as_slice::<f16>()?[right], y, (m, k, n), layout),
                    got => return Err(Error::DType { op: "matmul", expected: format!("{:?}, Bf16 or F16", T::DTYPE), got }),
                }
            }
            let mut dims = a.dims()[..a.dims().len() - 2].to_vec();
            dims.extend([m, n]);
            Tensor::from_vec(out, &dims)
        }),
    }
}

/// (batch, m, k, n), or an error.
fn sizes(a: &Tensor, b: &Tensor, layout: Layout) -> Result<(usize, usize, usize, usize)> {
    let (da, db) = (a.dims(), b.dims());
    let ranks = da.len() == db.len() && (da.len() == 2 || da.len() == 3);
    require(ranks, "matmul", "two matrices, or two equal batches of them", &[a, b])?;
    let r = da.len() - 2;
    let (m, k) = if layout == Layout::LeftTransposed { (da[r + 1], da[r]) } else { (da[r], da[r + 1]) };
    let (kb, n) = if layout == Layout::RightTransposed { (db[r + 1], db[r]) } else { (db[r], db[r + 1]) };
    require(k == kb && da[..r] == db[..r], "matmul", "equal inner lengths and batches", &[a, b])?;
    Ok((if r == 1 { da[0] } else { 1 }, m, k, n))
}

/// Strides (row, column) of both operands.
fn strides(layout: Layout, m: usize, k: usize, n: usize) -> ((usize, usize), (usize, usize)) {
    let left = if layout == Layout::LeftTransposed { (1, m) } else { (k, 1) };
    let right = if layout == Layout::RightTransposed { (1, k) } else { (n, 1) };
    (left, right)
}

/// `y = keep * y + factor * a b`, cut into pieces of rows, or of columns where the rows are few. The cut depends on the
/// shape alone, so the result does not depend on the number of threads.
pub(crate) fn product<T: Real>(
    a: &[T],
    b: &[T],
    y: &mut [T],
    (m, k, n): (usize, usize, usize),
    layout: Layout,
    keep: T,
    factor: T,
) {
    const ROWS: usize = 256;
    const COLUMNS: usize = 512;
    let (sa, sb) = strides(layout, m, k, n);
    let left = Matrix { values: a, row: sa.0, column: sa.1 };
    let right = Matrix { values: b, row: sb.0, column: sb.1 };
    let serial = m * n * k <= 1 << 18 || rayon::current_num_threads() == 1;
    let block = |rows: std::ops::Range<usize>, piece: &mut [T]| {
        gemm_block(left.skip_rows(rows.start), right, piece, (rows.len(), k, n), (n, 1), keep, factor);
    };
    if m > ROWS {
        let each = |(i, piece): (usize, &mut [T])| block(i * ROWS..(i * ROWS + piece.len() / n.max(1)), piece);
        if serial {
            y.chunks_mut(ROWS * n.max(1)).enumerate().for_each(each);
        } else {
            y.par_chunks_mut(ROWS * n.max(1)).enumerate().for_each(each);
        }
    } else if n >= 2 * COLUMNS {
        by_columns(left, right, y, (m, k, n), (COLUMNS, serial), keep, factor);
    } else {
        block(0..m, y);
    }
}

/// Few rows and many columns: each piece of columns is computed apart and copied into place.
fn by_columns<T: Real>(
    left: Matrix<'_, T>,
    right: Matrix<'_, T>,
    y: &mut [T],
    (m, k, n): (usize, usize, usize),
    (width, serial): (usize, bool),
    keep: T,
    factor: T,
) {
    let piece = |i: usize| {
        let columns = i * width..((i + 1) * width).min(n);
        let mut part = vec![T::ZERO; m * columns.len()];
        gemm_block(
            left,
            right.skip_columns(columns.start),
            &mut part,
            (m, k, columns.len()),
            (columns.len(), 1),
            T::ZERO,
            factor,
        );
        (columns, part)
    };
    let count = n.div_ceil(width);
    let parts: Vec<_> =
        if serial { (0..count).map(piece).collect() } else { (0..count).into_par_iter().map(piece).collect() };
    for (columns, part) in parts {
        for (row, values) in part.chunks_exact(columns.len()).enumerate() {
            let place = &mut y[row * n + columns.start..row * n + columns.end];
            for (to, from) in place.iter_mut().zip(values) {
                *to = if keep == T::ZERO { *from } else { *to * keep + *from };
            }
        }
    }
}

/// A matrix in a slice, by strides.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    pub values: &'a [T],
    pub row: usize,
    pub column: usize,
}

impl<T> Matrix<'_, T> {
    pub fn skip_rows(self, rows: usize) -> Self {
        Matrix { values: &self.values[rows * self.row..], ..self }
    }
    pub fn skip_columns(self, columns: usize) -> Self {
        Matrix { values: &self.values[columns * self.column..], ..self }
    }
    /// True if element (rows-1, columns-1) lies inside.
    fn holds(&self, rows: usize, columns: usize) -> bool {
        rows == 0 || columns == 0 || (rows - 1) * self.row + (columns - 1) * self.column < self.values.len()
    }
}

/// One call of the `gemm` crate on this thread: `y = keep * y + factor * a b`, `y` with strides (row, column).
#[expect(unsafe_code, reason = "the interface of the matrix-product kernel takes pointers")]
pub(crate) fn gemm_block<T: Real>(
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    y: &mut [T],
    (m, k, n): (usize, usize, usize),
    (row, column): (usize, usize),
    keep: T,
    factor: T,
) {
    assert!(a.holds(m, k) && b.holds(k, n), "operands are large enough");
    assert!(m == 0 || n == 0 || (m - 1) * row + (n - 1) * column < y.len(), "output is large enough");
    // SAFETY: the assertions above keep every access inside the three slices; `y` is borrowed mutably, so it overlaps
    // neither operand.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            y.as_mut_ptr(),
            column as isize,
            row as isize,
            keep != T::ZERO,
            a.values.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.values.as_ptr(),
            b.column as isize,
            b.row as isize,
            keep,
            factor,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// The product with a right operand in 16 bits, widened in panels, so that no full copy of it is made.
fn widened<T: Real, W: Element>(a: &[T], b: &[W], y: &mut [T], (m, k, n): (usize, usize, usize), layout: Layout) {
    let wide = |w: &[W]| -> Vec<T> { w.iter().map(|x| T::from_f64(x.to_f64())).collect() };
    const PANEL: usize = 1024;
    if layout == Layout::RightTransposed {
        let mut part = Vec::new();
        for first in (0..n).step_by(PANEL) {
            let last = (first + PANEL).min(n);
            let panel = wide(&b[first * k..last * k]);
            part.clear();
            part.resize(m * (last - first), T::ZERO);
            product(a, &panel, &mut part, (m, k, last - first), layout, T::ZERO, T::ONE);
            for (row, values) in part.chunks_exact(last - first).enumerate() {
                y[row * n + first..row * n + last].copy_from_slice(values);
            }
        }
    } else {
        for first in (0..k).step_by(PANEL) {
            let last = (first + PANEL).min(k);
            let panel = wide(&b[first * n..last * n]);
            let right = Matrix { values: &panel[..], row: n, column: 1 };
            let (sa, _) = strides(layout, m, k, n);
            let left = Matrix { values: a, row: sa.0, column: sa.1 }.skip_columns(first);
            let keep = if first == 0 { T::ZERO } else { T::ONE };
            y.par_chunks_mut(256 * n.max(1)).enumerate().for_each(|(i, piece)| {
                let rows = piece.len() / n.max(1);
                gemm_block(left.skip_rows(i * 256), right, piece, (rows, last - first, n), (n, 1), keep, T::ONE);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fill(n: usize, seed: u64) -> Vec<f64> {
        let mut s = clinpeft_rng::Seed(seed).stream("matmul");
        (0..n).map(|_| clinpeft_rng::normal(&mut s)).collect()
    }

    fn naive(a: &[f64], b: &[f64], (m, k, n): (usize, usize, usize), layout: Layout) -> Vec<f64> {
        let (sa, sb) = strides(layout, m, k, n);
        let mut y = vec![0.0; m * n];
        for i in 0..m {
            for j in 0..n {
                y[i * n + j] = (0..k).map(|p| a[i * sa.0 + p * sa.1] * b[p * sb.0 + j * sb.1]).sum();
            }
        }
        y
    }

    fn dims(layout: Layout, m: usize, k: usize, n: usize) -> ([usize; 2], [usize; 2]) {
        (
            if layout == Layout::LeftTransposed { [k, m] } else { [m, k] },
            if layout == Layout::RightTransposed { [n, k] } else { [k, n] },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn equals_the_triple_loop(m in 1usize..40, k in 1usize..40, n in 1usize..40, t in 0usize..3) {
            let layout = [Layout::Normal, Layout::RightTransposed, Layout::LeftTransposed][t];
            let (a, b) = (fill(m * k, 1), fill(k * n, 2));
            let want = naive(&a, &b, (m, k, n), layout);
            let (da, db) = dims(layout, m, k, n);
            let y = matmul(&Tensor::from_vec(a, &da).unwrap(), &Tensor::from_vec(b, &db).unwrap(), layout).unwrap();
            for (x, w) in y.as_slice::<f64>().unwrap().iter().zip(&want) {
                prop_assert!((x - w).abs() < 1e-11);
            }
        }
    }

    #[test]
    fn large_products_in_pieces_are_the_same() {
        for (m, k, n) in [(300, 70, 33), (3, 40, 1100), (600, 1, 1), (1, 1100, 5)] {
            for layout in [Layout::Normal, Layout::RightTransposed, Layout::LeftTransposed] {
                let (a, b) = (fill(m * k, 3), fill(k * n, 4));
                let want = naive(&a, &b, (m, k, n), layout);
                let (da, db) = dims(layout, m, k, n);
                let (ta, tb) = (Tensor::from_vec(a, &da).unwrap(), Tensor::from_vec(b, &db).unwrap());
                let y = matmul(&ta, &tb, layout).unwrap();
                for (x, w) in y.as_slice::<f64>().unwrap().iter().zip(&want) {
                    assert!((x - w).abs() < 1e-10);
                }
                let narrow = tb.cast(DType::Bf16).unwrap();
                let y = matmul(&ta, &narrow, layout).unwrap();
                let same = matmul(&ta, &narrow.cast(DType::F64).unwrap(), layout).unwrap();
                for (x, w) in y.as_slice::<f64>().unwrap().iter().zip(same.as_slice::<f64>().unwrap()) {
                    assert!((x - w).abs() < 1e-10);
                }
            }
        }
    }

    #[test]
    fn wrong_inner_length_is_an_error() {
        let a = Tensor::zeros(&[2, 3], DType::F32);
        assert!(matmul(&a, &Tensor::zeros(&[4, 2], DType::F32), Layout::Normal).is_err());
        assert!(matmul(&a, &Tensor::zeros(&[3, 2], DType::F64), Layout::Normal).is_err());
    }
}
