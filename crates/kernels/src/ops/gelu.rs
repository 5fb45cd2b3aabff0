//! Gaussian error linear unit, exact (Hendrycks & Gimpel 2016, section 2).
//!
//! ```text
//! y = x * P(x),  P(x) = (1 + erf(x / sqrt(2))) / 2        dx = g * (P(x) + x * p(x)),  p(x) = exp(-x^2 / 2) / sqrt(2 pi)
//! ```

use crate::context::DeviceContext;
use crate::map::{Beside, Map, map};
use clinpeft_tensor::{Result, Tensor};
use cubecl::prelude::*;

pub(crate) struct Gelu;
pub(crate) struct GeluSlope;

/// The error function, by the two polynomials of `clinpeft_tensor`: `erf(x) / x - 1` in x^2 for |x| <= 1, and
/// `ln(1 - erf(x))` in x - 1 up to 4, behind which 1 - erf is below half a unit in the last place.
#[cube]
fn erf(x: f32) -> f32 {
    let size = x.abs();
    let z = x * x;
    let mut near = f32::new(7.882_497_4e-5);
    near = near * z - 8.018_855e-4;
    near = near * z + 5.189_312e-3;
    near = near * z - 2.685_432_9e-2;
    near = near * z + 1.128_359_7e-1;
    near = near * z - 3.761_262_6e-1;
    near = near * z + 1.283_791_7e-1;
    let z = min(size, 4.0) - 1.0;
    let mut far = f32::new(-6.582_861e-8);
    far = far * z + 2.502_747_7e-6;
    far = far * z - 3.767_699e-5;
    far = far * z + 3.339_921_2e-4;
    far = far * z - 2.077_427_2e-3;
    far = far * z + 1.010_029_9e-2;
    far = far * z - 4.158_773_3e-2;
    far = far * z - 8.431_017e-1;
    far = far * z - 2.638_968;
    far = far * z - 1.849_605_6;
    let mut y = x + x * near;
    if size > 1.0 {
        y = 1.0 - far.exp();
        if x < 0.0 {
            y = far.exp() - 1.0;
        }
    }
    y
}

/// Share of a standard normal below x.
#[cube]
fn below(x: f32) -> f32 {
    0.5 + 0.5 * erf(x * comptime!(std::f32::consts::FRAC_1_SQRT_2))
}

#[cube]
impl Map for Gelu {
    fn at(a: f32, _b: f32, _number: f32) -> f32 {
        a * below(a)
    }
}

#[cube]
impl Map for GeluSlope {
    fn at(a: f32, b: f32, _number: f32) -> f32 {
        // 1 / sqrt(2 pi)
        let density = (0.0 - 0.5 * b * b).exp() * 0.398_942_3;
        a * (below(b) + b * density)
    }
}

/// Returns y.
pub(crate) fn gelu<R: Runtime>(device: &DeviceContext<R>, x: &Tensor) -> Result<Tensor> {
    map::<Gelu, R>(device, "gelu", [x, x], Beside::Same, 0.0)
}

/// Returns dx from the gradient `g` of y.
pub(crate) fn gelu_backward<R: Runtime>(device: &DeviceContext<R>, g: &Tensor, x: &Tensor) -> Result<Tensor> {
    map::<GeluSlope, R>(device, "gelu_backward", [g, x], Beside::Same, 0.0)
}
