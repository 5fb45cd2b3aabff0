//! Rectifier (Glorot et al. 2011).
//!
//! ```text
//! y = max(x, 0)        dx = g where y > 0, else 0        x, y: same shape
//! ```

use super::{by_float, require, same_device, same_dtype, tensor, upcast};
use crate::real::Real;
use crate::{Device, Result, Tensor};

/// Returns y.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    upcast!(x);
    match x.device() {
        Device::Other(backend) => backend.relu(x),
        Device::Cpu => by_float!("relu", x, T => {
            let zero = <T as Real>::ZERO;
            tensor(x.as_slice::<T>()?.iter().map(|v| if *v < zero { zero } else { *v }).collect(), x.shape())
        }),
    }
}

/// Returns dx from the result `y` of the forward pass.
pub fn relu_backward(g: &Tensor, y: &Tensor) -> Result<Tensor> {
    upcast!(g, y);
    require(g.dims() == y.dims(), "relu_backward", "equal shapes", &[g, y])?;
    same_dtype("relu_backward", &[g, y])?;
    match same_device("relu_backward", &[g, y])? {
        Device::Other(backend) => backend.relu_backward(g, y),
        Device::Cpu => by_float!("relu_backward", y, T => {
            let zero = <T as Real>::ZERO;
            let pairs = g.as_slice::<T>()?.iter().zip(y.as_slice::<T>()?);
            tensor(pairs.map(|(g, y)| if *y > zero { *g } else { zero }).collect(), y.shape())
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_values_and_their_gradients_vanish() {
        let x = Tensor::from_vec(vec![-1.0f32, 0.0, 2.0], &[3]).unwrap();
        let y = relu(&x).unwrap();
        assert_eq!(y.as_slice::<f32>().unwrap(), [0.0, 0.0, 2.0]);
        assert_eq!(relu_backward(&x, &y).unwrap().as_slice::<f32>().unwrap(), [0.0, 0.0, 2.0]);
    }
}
