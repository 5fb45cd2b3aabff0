//! Hyperbolic tangent.
//!
//! ```text
//! y = tanh(x)        dx = g * (1 - y^2)
//! ```

use crate::context::DeviceContext;
use crate::map::{Beside, Map, map};
use clinpeft_tensor::{Result, Tensor};
use cubecl::prelude::*;

pub(crate) struct Tanh;
pub(crate) struct TanhSlope;

/// By one exponential that cannot overflow; the absolute error is that of a rounding of 1.
#[cube]
pub(crate) fn squashed(x: f32) -> f32 {
    let small = (0.0 - 2.0 * x.abs()).exp();
    let size = (1.0 - small) / (1.0 + small);
    let mut y = size;
    if x < 0.0 {
        y = 0.0 - size;
    }
    y
}

#[cube]
impl Map for Tanh {
    fn at(a: f32, _b: f32, _number: f32) -> f32 {
        squashed(a)
    }
}

#[cube]
impl Map for TanhSlope {
    fn at(a: f32, b: f32, _number: f32) -> f32 {
        a * (1.0 - b * b)
    }
}

/// Returns y.
pub(crate) fn tanh<R: Runtime>(device: &DeviceContext<R>, x: &Tensor) -> Result<Tensor> {
    map::<Tanh, R>(device, "tanh", [x, x], Beside::Same, 0.0)
}

/// Returns dx from the result `y` of the forward pass.
pub(crate) fn tanh_backward<R: Runtime>(device: &DeviceContext<R>, g: &Tensor, y: &Tensor) -> Result<Tensor> {
    map::<TanhSlope, R>(device, "tanh_backward", [g, y], Beside::Same, 0.0)
}
