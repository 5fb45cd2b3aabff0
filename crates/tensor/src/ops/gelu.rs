//! Gaussian error linear unit, exact (Hendrycks & Gimpel 2016, section 2).
//!
//! ```text
//! y = x * P(x),  P(x) = (1 + erf(x / sqrt(2))) / 2        dx = g * (P(x) + x * p(x)),  p(x) = exp(-x^2 / 2) / sqrt(2 pi)
//! x, y: same shape
//! ```

use super::{by_float, require, same_device, same_dtype, tensor, upcast};
use crate::parallel::for_rows;
use crate::real::Real;
use crate::{Device, Result, Tensor};

/// Returns y.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    upcast!(x);
    match x.device() {
        Device::Other(backend) => backend.gelu(x),
        Device::Cpu => by_float!("gelu", x, T => {
            let values = x.as_slice::<T>()?;
            let mut y = vec![<T as Real>::ZERO; values.len()];
            for_rows(&mut y, 1, #[inline(always)] |first, y| {
                for (y, x) in y.iter_mut().zip(&values[first..]) {
                    *y = *x * below(*x);
                }
            });
            tensor(y, x.shape())
        }),
    }
}

/// Returns dx from the gradient `g` of y.
pub fn gelu_backward(g: &Tensor, x: &Tensor) -> Result<Tensor> {
    upcast!(g, x);
    require(g.dims() == x.dims(), "gelu_backward", "equal shapes", &[g, x])?;
    same_dtype("gelu_backward", &[g, x])?;
    match same_device("gelu_backward", &[g, x])? {
        Device::Other(backend) => backend.gelu_backward(g, x),
        Device::Cpu => by_float!("gelu_backward", x, T => {
            let (gs, values) = (g.as_slice::<T>()?, x.as_slice::<T>()?);
            let mut dx = vec![<T as Real>::ZERO; values.len()];
            for_rows(&mut dx, 1, #[inline(always)] |first, dx| {
                for ((dx, x), g) in dx.iter_mut().zip(&values[first..]).zip(&gs[first..]) {
                    *dx = *g * (below(*x) + *x * density(*x));
                }
            });
            tensor(dx, x.shape())
        }),
    }
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
