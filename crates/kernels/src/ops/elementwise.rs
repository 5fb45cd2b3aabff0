//! Sum and product of two tensors, and a tensor times a number.
//!
//! ```text
//! add:    y = a + b
//! mul:    y = a * b
//! scale:  y = f * x
//! ```

use crate::context::DeviceContext;
use crate::map::{Beside, Map, map};
use clinpeft_tensor::{Result, Tensor};
use cubecl::prelude::*;

/// a + b
pub(crate) struct Sum;
/// a * b
pub(crate) struct Product;
/// a * number
pub(crate) struct Multiple;

#[cube]
impl Map for Sum {
    fn at(a: f32, b: f32, _number: f32) -> f32 {
        a + b
    }
}

#[cube]
impl Map for Product {
    fn at(a: f32, b: f32, _number: f32) -> f32 {
        a * b
    }
}

#[cube]
impl Map for Multiple {
    fn at(a: f32, _b: f32, number: f32) -> f32 {
        a * number
    }
}

/// Returns a + b.
pub(crate) fn add<R: Runtime>(device: &DeviceContext<R>, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    map::<Sum, R>(device, "add", [a, b], Beside::Same, 0.0)
}

/// Returns a * b.
pub(crate) fn mul<R: Runtime>(device: &DeviceContext<R>, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    map::<Product, R>(device, "mul", [a, b], Beside::Same, 0.0)
}

/// Returns `factor` times `x`.
pub(crate) fn scale<R: Runtime>(device: &DeviceContext<R>, x: &Tensor, factor: f64) -> Result<Tensor> {
    map::<Multiple, R>(device, "scale", [x, x], Beside::Same, factor)
}
