//! Inverse square root.
//!
//! ```text
//! y = 1 / sqrt(x), and 0 where x <= 0        dx = -g * y^3 / 2
//! ```

use crate::context::DeviceContext;
use crate::map::{Beside, Map, map};
use clinpeft_tensor::{Result, Tensor};
use cubecl::prelude::*;

pub(crate) struct InverseSqrt;
pub(crate) struct InverseSqrtSlope;

#[cube]
impl Map for InverseSqrt {
    fn at(a: f32, _b: f32, _number: f32) -> f32 {
        let mut y = 1.0 / a.sqrt();
        if a <= 0.0 {
            y = f32::new(0.0);
        }
        y
    }
}

#[cube]
impl Map for InverseSqrtSlope {
    fn at(a: f32, b: f32, _number: f32) -> f32 {
        a * (-0.5 * b * b * b)
    }
}

/// Returns y.
pub(crate) fn inverse_sqrt<R: Runtime>(device: &DeviceContext<R>, x: &Tensor) -> Result<Tensor> {
    map::<InverseSqrt, R>(device, "inverse_sqrt", [x, x], Beside::Same, 0.0)
}

/// Returns dx from the result `y` of the forward pass.
pub(crate) fn inverse_sqrt_backward<R: Runtime>(device: &DeviceContext<R>, g: &Tensor, y: &Tensor) -> Result<Tensor> {
    map::<InverseSqrtSlope, R>(device, "inverse_sqrt_backward", [g, y], Beside::Same, 0.0)
}
