//! One row added to every row of a matrix, or multiplied with every row.
//!
//! ```text
//! add_row:  y[i, j] = x[i, j] + w[j]      dx = g            dw = sum over rows of g
//! mul_row:  y[i, j] = x[i, j] * w[j]      dx = g * w        dw = sum over rows of g * x
//! x, y: [t, d]    w: [d]
//! ```

use super::{by_float, require, same_device, same_dtype, upcast};
use crate::real::Real;
use crate::{Device, Result, Tensor};

/// Returns x with `row` added to every row. Errors if widths, dtypes or devices differ.
pub fn add_row(x: &Tensor, row: &Tensor) -> Result<Tensor> {
    upcast!(x, row);
    check("add_row", x, row)?;
    match same_device("add_row", &[x, row])? {
        Device::Other(backend) => backend.add_row(x, row),
        Device::Cpu => by_float!("add_row", x, T => each::<T>(x, row, |a, b| a + b)),
    }
}

/// Returns x with every row multiplied by `row`, element by element.
pub fn mul_row(x: &Tensor, row: &Tensor) -> Result<Tensor> {
    upcast!(x, row);
    check("mul_row", x, row)?;
    match same_device("mul_row", &[x, row])? {
        Device::Other(backend) => backend.mul_row(x, row),
        Device::Cpu => by_float!("mul_row", x, T => each::<T>(x, row, |a, b| a * b)),
    }
}

/// Returns the sum over rows, `[d]`.
pub fn sum_rows(x: &Tensor) -> Result<Tensor> {
    upcast!(x);
    require(x.dims().len() == 2, "sum_rows", "x [t, d]", &[x])?;
    match x.device() {
        Device::Other(backend) => backend.sum_rows(x),
        Device::Cpu => by_float!("sum_rows", x, T => {
            let d = x.dims()[1];
            let mut sums = vec![<T as Real>::ZERO; d];
            for row in x.as_slice::<T>()?.chunks_exact(d.max(1)) {
                for (s, v) in sums.iter_mut().zip(row) {
                    *s += *v;
                }
            }
            Tensor::from_vec(sums, &[d])
        }),
    }
}

fn check(op: &'static str, x: &Tensor, row: &Tensor) -> Result<()> {
    let fits = matches!((x.dims(), row.dims()), (&[_, d], &[w]) if d == w);
    require(fits, op, "x [t, d] and a row [d]", &[x, row])?;
    same_dtype(op, &[x, row])
}

fn each<T: Real>(x: &Tensor, row: &Tensor, f: impl Fn(T, T) -> T) -> Result<Tensor> {
    let (values, row) = (x.as_slice::<T>()?, row.as_slice::<T>()?);
    let mut y = Vec::with_capacity(values.len());
    for line in values.chunks_exact(row.len().max(1)) {
        y.extend(line.iter().zip(row).map(|(a, b)| f(*a, *b)));
    }
    Tensor::from_vec(y, x.dims())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_meets_the_same_row() {
        let x = Tensor::from_vec(vec![1.0f64, 2.0, 3.0, 4.0], &[2, 2]).unwrap();
        let w = Tensor::from_vec(vec![10.0f64, -1.0], &[2]).unwrap();
        let y = |t: Result<Tensor>| t.unwrap().to_f64_vec().unwrap();
        assert_eq!(y(add_row(&x, &w)), [11.0, 1.0, 13.0, 3.0]);
        assert_eq!(y(mul_row(&x, &w)), [10.0, -2.0, 30.0, -4.0]);
        assert_eq!(y(sum_rows(&x)), [4.0, 6.0]);
        assert!(add_row(&w, &w).is_err());
    }
}
