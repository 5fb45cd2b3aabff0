//! Rectifier (Glorot et al. 2011).
//!
//! ```text
//! y = max(x, 0)        dx = g where y > 0, else 0        x, y: same shape
//! ```

use crate::real::Real;

elementwise! {
    /// Returns y.
    relu(x), T => if x < T::ZERO { T::ZERO } else { x }
}

elementwise! {
    /// Returns dx from the result `y` of the forward pass.
    relu_backward(g, y), T => if y > T::ZERO { g } else { T::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tensor;

    #[test]
    fn negative_values_and_their_gradients_vanish() {
        let x = Tensor::from_vec(vec![-1.0f32, 0.0, 2.0], &[3]).unwrap();
        let y = relu(&x).unwrap();
        assert_eq!(y.as_slice::<f32>().unwrap(), [0.0, 0.0, 2.0]);
        assert_eq!(relu_backward(&x, &y).unwrap().as_slice::<f32>().unwrap(), [0.0, 0.0, 2.0]);
    }
}
