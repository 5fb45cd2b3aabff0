//! Hyperbolic tangent.
//!
//! ```text
//! y = tanh(x)        dx = g * (1 - y^2)        x, y: same shape
//! ```

use super::{by_float, require, same_device, same_dtype, tensor, upcast};
use crate::{Device, Element, Result, Tensor};

/// Returns y.
pub fn tanh(x: &Tensor) -> Result<Tensor> {
    upcast!(x);
    match x.device() {
        Device::Other(backend) => backend.tanh(x),
        Device::Cpu => by_float!("tanh", x, T => {
            // Through f64: the saving of a faster formula would not be seen beside the products around it.
            let y = x.as_slice::<T>()?.iter().map(|v| T::from_f64(v.to_f64().tanh())).collect();
            tensor(y, x.shape())
        }),
    }
}

/// Returns dx from the result `y` of the forward pass.
pub fn tanh_backward(g: &Tensor, y: &Tensor) -> Result<Tensor> {
    upcast!(g, y);
    require(g.dims() == y.dims(), "tanh_backward", "equal shapes", &[g, y])?;
    same_dtype("tanh_backward", &[g, y])?;
    match same_device("tanh_backward", &[g, y])? {
        Device::Other(backend) => backend.tanh_backward(g, y),
        Device::Cpu => by_float!("tanh_backward", y, T => {
            let one = T::from_f64(1.0);
            let pairs = g.as_slice::<T>()?.iter().zip(y.as_slice::<T>()?);
            tensor(pairs.map(|(g, y)| *g * (one - *y * *y)).collect(), y.shape())
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_values_saturate() {
        let x = Tensor::from_vec(vec![0.0f32, 100.0, -100.0], &[3]).unwrap();
        assert_eq!(tanh(&x).unwrap().as_slice::<f32>().unwrap(), [0.0, 1.0, -1.0]);
    }
}
