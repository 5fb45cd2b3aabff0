//! Inverse square root; of the squared length of a row it is what scales the row to one.
//!
//! ```text
//! y = 1 / sqrt(x), and 0 where x <= 0        dx = -g * y^3 / 2        x, y: same shape
//! ```

use crate::Element;
use crate::real::Real;

elementwise! {
    /// Returns y.
    inverse_sqrt(x), T => if x <= T::ZERO { T::ZERO } else { T::ONE / Real::sqrt(x) }
}

elementwise! {
    /// Returns dx from the result `y` of the forward pass.
    inverse_sqrt_backward(g, y), T => g * (T::from_f64(-0.5) * y * y * y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tensor;

    #[test]
    fn what_has_no_root_gives_nothing_and_what_is_no_number_stays_so() {
        let x = Tensor::from_vec(vec![4.0f32, 0.0, -1.0, f32::NAN], &[4]).unwrap();
        let y = inverse_sqrt(&x).unwrap().to_f64_vec().unwrap();
        assert!(y[..3] == [0.5, 0.0, 0.0] && y[3].is_nan(), "{y:?}");
    }
}
