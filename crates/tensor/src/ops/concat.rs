//! Rows of one tensor after the rows of another, and the cut that undoes it.
//!
//! ```text
//! y = [a; b]        a: [m, d]   b: [n, d]   y: [m + n, d]        da = first m rows of g    db = the other n
//! ```

use super::{operands, require};
use crate::{Device, Result, Tensor};

/// Returns the rows of `a`, then those of `b`. Errors if widths, dtypes or devices differ.
pub fn concat(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    upcast!(a, b);
    let fits = matches!((a.dims(), b.dims()), (&[_, da], &[_, db]) if da == db);
    match operands("concat", fits, "a [m, d] and b [n, d]", &[a, b])? {
        Device::Other(backend) => backend.concat(a, b),
        Device::Cpu => by_float!("concat", a, T => {
            let both = [a.as_slice::<T>()?, b.as_slice::<T>()?].concat();
            Tensor::from_vec(both, &[a.dims()[0] + b.dims()[0], a.dims()[1]])
        }),
    }
}

/// Returns the first `rows` rows and the others. Errors if there are fewer.
pub fn cut(x: &Tensor, rows: usize) -> Result<(Tensor, Tensor)> {
    upcast!(x);
    require(x.dims().len() == 2 && x.dims()[0] >= rows, "cut", &format!("at least {rows} rows"), &[x])?;
    match x.device() {
        Device::Other(backend) => backend.cut(x, rows),
        Device::Cpu => by_float!("cut", x, T => {
            let (n, d) = (x.dims()[0], x.dims()[1]);
            let (first, second) = x.as_slice::<T>()?.split_at(rows * d);
            Ok((Tensor::from_vec(first.to_vec(), &[rows, d])?, Tensor::from_vec(second.to_vec(), &[n - rows, d])?))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_undoes_concat() {
        let a = Tensor::from_vec(vec![1.0f32, 2.0], &[1, 2]).unwrap();
        let b = Tensor::from_vec(vec![3.0f32, 4.0, 5.0, 6.0], &[2, 2]).unwrap();
        let (x, y) = cut(&concat(&a, &b).unwrap(), 1).unwrap();
        assert_eq!(x.as_slice::<f32>().unwrap(), a.as_slice::<f32>().unwrap());
        assert_eq!(y.as_slice::<f32>().unwrap(), b.as_slice::<f32>().unwrap());
        assert!(cut(&a, 2).is_err());
    }
}
