//! Hyperbolic tangent.
//!
//! ```text
//! y = tanh(x)        dx = g * (1 - y^2)        x, y: same shape
//! ```

use crate::Element;
use crate::real::Real;

elementwise! {
    /// Returns y.
    // Through f64: the saving of a faster formula would not be seen beside the products around it.
    tanh(x), T => T::from_f64(x.to_f64().tanh())
}

elementwise! {
    /// Returns dx from the result `y` of the forward pass.
    tanh_backward(g, y), T => g * (T::ONE - y * y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tensor;

    #[test]
    fn large_values_saturate() {
        let x = Tensor::from_vec(vec![0.0f32, 100.0, -100.0], &[3]).unwrap();
        assert_eq!(tanh(&x).unwrap().as_slice::<f32>().unwrap(), [0.0, 1.0, -1.0]);
    }
}
