//! One row added to every row of a matrix, or multiplied with every row.
//!
//! ```text
//! add_row:  y[i, j] = x[i, j] + w[j]      dx = g            dw = sum over rows of g
//! mul_row:  y[i, j] = x[i, j] * w[j]      dx = g * w        dw = sum over rows of g * x
//! x, y: [t, d]    w: [d]
//! ```

use super::{operands, require};
use crate::real::Real;
use crate::{Device, Result, Tensor};

/// An operation of each row of `x` with the same row. Errors if widths, dtypes or devices differ.
macro_rules! rowwise {
    ($(#[$doc:meta])* $op:ident, |$a:ident, $b:ident| $y:expr) => {
        $(#[$doc])*
        pub fn $op(x: &Tensor, row: &Tensor) -> Result<Tensor> {
            upcast!(x, row);
            let fits = matches!((x.dims(), row.dims()), (&[_, d], &[w]) if d == w);
            match operands(stringify!($op), fits, "x [t, d] and a row [d]", &[x, row])? {
                Device::Other(backend) => backend.$op(x, row),
                Device::Cpu => by_float!(stringify!($op), x, T => {
                    let (values, row) = (x.as_slice::<T>()?, row.as_slice::<T>()?);
                    let rows = values.chunks_exact(row.len().max(1));
                    let y = rows.flat_map(|line| line.iter().zip(row).map(|($a, $b)| $y));
                    Tensor::from_vec(y.collect(), x.dims())
                }),
            }
        }
    };
}

rowwise! {
    /// Returns x with `row` added to every row. Errors if widths, dtypes or devices differ.
    add_row, |a, b| *a + *b
}

rowwise! {
    /// Returns x with every row multiplied by `row`, element by element. Errors if widths, dtypes or devices differ.
    mul_row, |a, b| *a * *b
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
