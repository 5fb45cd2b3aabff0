//! Sum of two tensors, and a tensor times a number.
//!
//! ```text
//! add:    y = a + b
//! scale:  y = f * x
//! ```

use crate::client::{Client, UNITS, grid};
use clinpeft_tensor::{Result, Tensor};
use cubecl::prelude::*;

/// Returns a + b.
pub(crate) fn add<R: Runtime>(device: &Client<R>, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let work = device.begin("add")?;
    let (left, right) = (work.input(a)?, work.input(b)?);
    let (y, out) = work.output(a.dims())?;
    work.run(|compute| {
        let cubes = grid(a.count().div_ceil(UNITS as usize));
        sum::launch::<R>(compute, cubes, CubeDim::new_1d(UNITS), left.array(), right.array(), out.array());
    })?;
    Ok(y)
}

/// Returns `factor` times `x`.
pub(crate) fn scale<R: Runtime>(device: &Client<R>, x: &Tensor, factor: f64) -> Result<Tensor> {
    let work = device.begin("scale")?;
    let values = work.input(x)?;
    let (y, out) = work.output(x.dims())?;
    work.run(|compute| {
        let cubes = grid(x.count().div_ceil(UNITS as usize));
        multiple::launch::<R>(compute, cubes, CubeDim::new_1d(UNITS), values.array(), out.array(), factor as f32);
    })?;
    Ok(y)
}

#[cube(launch)]
pub(crate) fn sum(a: &Array<f32>, b: &Array<f32>, y: &mut Array<f32>) {
    if ABSOLUTE_POS < y.len() {
        y[ABSOLUTE_POS] = a[ABSOLUTE_POS] + b[ABSOLUTE_POS];
    }
}

#[cube(launch)]
pub(crate) fn multiple(x: &Array<f32>, y: &mut Array<f32>, factor: f32) {
    if ABSOLUTE_POS < y.len() {
        y[ABSOLUTE_POS] = x[ABSOLUTE_POS] * factor;
    }
}
