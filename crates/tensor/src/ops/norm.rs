//! Euclidean (Frobenius) norm of all elements.
//!
//! ```text
//! y = sqrt(sum x^2)        dx = g * x / y, and 0 where y = 0        x: any shape    y: [1]
//! ```

use super::{require, same_device, scale};
use crate::real::dot;
use crate::{Device, Result, Tensor};

/// Returns the norm, `[1]`.
pub fn norm(x: &Tensor) -> Result<Tensor> {
    upcast!(x);
    match x.device() {
        Device::Other(backend) => backend.norm(x),
        Device::Cpu => by_float!("norm", x, T => {
            let values = x.as_slice::<T>()?;
            Tensor::from_vec(vec![<T as crate::real::Real>::sqrt(dot(values, values))], &[1])
        }),
    }
}

/// Returns dx from the gradient `g` of y, `[1]`, and the y that [`norm`] returned.
pub fn norm_backward(g: &Tensor, x: &Tensor, y: &Tensor) -> Result<Tensor> {
    upcast!(g, x, y);
    require(g.count() == 1 && y.count() == 1, "norm_backward", "one norm", &[g, y])?;
    match same_device("norm_backward", &[g, x, y])? {
        Device::Other(backend) => backend.norm_backward(g, x, y),
        Device::Cpu => {
            let length = y.item()?;
            scale(x, if length == 0.0 { 0.0 } else { g.item()? / length })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_and_four_make_five() {
        let x = Tensor::from_vec(vec![3.0f32, 0.0, -4.0], &[1, 3]).unwrap();
        assert_eq!(norm(&x).unwrap().item().unwrap(), 5.0);
    }

    #[test]
    fn nothing_has_no_direction() {
        let x = Tensor::from_vec(vec![0.0f32; 3], &[3]).unwrap();
        let g = Tensor::from_vec(vec![2.0f32], &[1]).unwrap();
        let dx = norm_backward(&g, &x, &norm(&x).unwrap()).unwrap();
        assert_eq!(dx.to_f64_vec().unwrap(), [0.0; 3]);
    }
}
