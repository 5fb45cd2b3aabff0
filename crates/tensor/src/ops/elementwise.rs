//! Sum and product of two tensors, and a tensor times a number.
//!
//! ```text
//! add:    y = a + b        da = g    db = g          a, b, y: same shape
//! mul:    y = a * b        da = g b  db = g a        element by element
//! scale:  y = f * x        dx = f * g
//! ```

use super::each;
use crate::{Device, Element, Result, Tensor};

elementwise! {
    /// Returns a * b, element by element. Errors if shapes, dtypes or devices differ.
    mul(a, b), T => a * b
}

elementwise! {
    /// Returns a + b. Errors if shapes, dtypes or devices differ.
    add(a, b), T => a + b
}

/// Returns `factor` times `x`.
pub fn scale(x: &Tensor, factor: f64) -> Result<Tensor> {
    upcast!(x);
    match x.device() {
        Device::Other(backend) => backend.scale(x, factor),
        Device::Cpu => by_float!("scale", x, T => {
            let factor = T::from_f64(factor);
            each::<T>(x, x, #[inline(always)] |x, _| x * factor)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_and_scales() {
        let a = Tensor::from_vec(vec![1.0f64, 2.0], &[2]).unwrap();
        let y = scale(&add(&a, &a).unwrap(), 0.5).unwrap();
        assert_eq!(y.as_slice::<f64>().unwrap(), a.as_slice::<f64>().unwrap());
        assert_eq!(mul(&a, &a).unwrap().as_slice::<f64>().unwrap(), [1.0, 4.0]);
    }
}
