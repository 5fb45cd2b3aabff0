//! Rectifier (Glorot et al. 2011).
//!
//! ```text
//! y = max(x, 0)        dx = g where y > 0, else 0
//! ```

use crate::context::DeviceContext;
use crate::map::{Beside, Map, map};
use clinpeft_tensor::{Result, Tensor};
use cubecl::prelude::*;

pub(crate) struct Relu;
pub(crate) struct ReluSlope;

#[cube]
impl Map for Relu {
    fn at(a: f32, _b: f32, _number: f32) -> f32 {
        // Not `max`: a NaN must stay one.
        let mut y = a;
        if a < 0.0 {
            y = f32::new(0.0);
        }
        y
    }
}

#[cube]
impl Map for ReluSlope {
    fn at(a: f32, b: f32, _number: f32) -> f32 {
        let mut dx = f32::new(0.0);
        if b > 0.0 {
            dx = a;
        }
        dx
    }
}

/// Returns y.
pub(crate) fn relu<R: Runtime>(device: &DeviceContext<R>, x: &Tensor) -> Result<Tensor> {
    map::<Relu, R>(device, "relu", [x, x], Beside::Same, 0.0)
}

/// Returns dx from the result `y` of the forward pass.
pub(crate) fn relu_backward<R: Runtime>(device: &DeviceContext<R>, g: &Tensor, y: &Tensor) -> Result<Tensor> {
    map::<ReluSlope, R>(device, "relu_backward", [g, y], Beside::Same, 0.0)
}
