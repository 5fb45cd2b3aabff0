//! Inverse square root; of the squared length of a row it is what scales the row to one.
//!
//! ```text
//! y = 1 / sqrt(x), and 0 where x <= 0        dx = -g * y^3 / 2        x, y: same shape
//! ```

use super::{by_float, require, same_device, same_dtype, tensor, upcast};
use crate::real::Real;
use crate::{Device, Element, Result, Tensor};

/// Returns y.
pub fn inverse_sqrt(x: &Tensor) -> Result<Tensor> {
    upcast!(x);
    match x.device() {
        Device::Other(backend) => backend.inverse_sqrt(x),
        Device::Cpu => by_float!("inverse_sqrt", x, T => {
            let (zero, one) = (<T as Real>::ZERO, T::from_f64(1.0));
            let y = |x: &T| if *x <= zero { zero } else { one / Real::sqrt(*x) };
            tensor(x.as_slice::<T>()?.iter().map(y).collect(), x.shape())
        }),
    }
}

/// Returns dx from the result `y` of the forward pass.
pub fn inverse_sqrt_backward(g: &Tensor, y: &Tensor) -> Result<Tensor> {
    upcast!(g, y);
    require(g.dims() == y.dims(), "inverse_sqrt_backward", "equal shapes", &[g, y])?;
    same_dtype("inverse_sqrt_backward", &[g, y])?;
    match same_device("inverse_sqrt_backward", &[g, y])? {
        Device::Other(backend) => backend.inverse_sqrt_backward(g, y),
        Device::Cpu => by_float!("inverse_sqrt_backward", y, T => {
            let slope = T::from_f64(-0.5);
            let pairs = g.as_slice::<T>()?.iter().zip(y.as_slice::<T>()?);
            tensor(pairs.map(|(g, y)| *g * (slope * *y * *y * *y)).collect(), y.shape())
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_root_gives_nothing_and_what_is_no_number_stays_so() {
        let x = Tensor::from_vec(vec![4.0f32, 0.0, -1.0, f32::NAN], &[4]).unwrap();
        let y = inverse_sqrt(&x).unwrap().to_f64_vec().unwrap();
        assert!(y[..3] == [0.5, 0.0, 0.0] && y[3].is_nan(), "{y:?}");
    }
}
