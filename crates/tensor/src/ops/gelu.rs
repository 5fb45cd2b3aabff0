//! Gaussian error linear unit, exact (Hendrycks & Gimpel 2016, section 2).
//!
//! ```text
//! y = x * P(x),  P(x) = (1 + erf(x / sqrt(2))) / 2        dx = g * (P(x) + x * p(x)),  p(x) = exp(-x^2 / 2) / sqrt(2 pi)
//! x, y: same shape
//! ```

use crate::real::Real;

elementwise! {
    /// Returns y.
    gelu(x), T => x * below::<T>(x)
}

elementwise! {
    /// Returns dx from the gradient `g` of y.
    gelu_backward(g, x), T => g * (below::<T>(x) + x * density(x))
}

/// Share of a standard normal below x.
#[inline(always)]
fn below<T: Real>(x: T) -> T {
    let half = T::from_f64(0.5);
    half + half * (x * T::from_f64(std::f64::consts::FRAC_1_SQRT_2)).erf()
}

/// Density of a standard normal at x.
#[inline(always)]
fn density<T: Real>(x: T) -> T {
    let factor = 0.5 * std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
    T::from_f64(factor) * (x * x * T::from_f64(-0.5)).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tensor;

    #[test]
    fn far_values_pass_or_vanish() {
        let x = Tensor::from_vec(vec![0.0f32, 30.0, -30.0], &[3]).unwrap();
        assert_eq!(gelu(&x).unwrap().as_slice::<f32>().unwrap(), [0.0, 30.0, 0.0]);
        let g = Tensor::from_vec(vec![1.0f32; 3], &[3]).unwrap();
        assert_eq!(gelu_backward(&g, &x).unwrap().as_slice::<f32>().unwrap(), [0.5, 1.0, 0.0]);
    }

    #[test]
    fn a_value_and_its_mirror_differ_by_the_value() {
        let y = |x: f64| gelu(&Tensor::from_vec(vec![x], &[1]).unwrap()).unwrap().item().unwrap();
        for x in [0.1, 0.7, 1.9, 4.2] {
            assert!((y(x) - y(-x) - x).abs() < 1e-14, "{x}");
        }
    }
}
