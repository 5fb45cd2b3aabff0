//! Rotary position embedding (Su et al. 2021, eq. 34), first half of a head against its second half.
//!
//! ```text
//! y[i] = x[i] c - x[i + d/2] s       y[i + d/2] = x[i + d/2] c + x[i] s       c = cos[p, i], s = sin[p, i]
//! ```
//! The backward pass rotates by the negative angle.

use crate::context::DeviceContext;
use crate::launch::{cube, units};
use clinpeft_tensor::ops::Direction;
use clinpeft_tensor::{Result, Tensor};
use cubecl::prelude::*;

/// Returns y.
pub(crate) fn rotary<R: Runtime>(
    device: &DeviceContext<R>,
    x: &Tensor,
    cos: &Tensor,
    sin: &Tensor,
    positions: &Tensor,
    direction: Direction,
) -> Result<Tensor> {
    let (width, half) = (x.dims()[1], cos.dims()[1]);
    let work = device.begin("rotary")?;
    let (xs, c, s) = (work.input(x)?, work.input(cos)?, work.input(sin)?);
    let at = work.ids(positions, cos.dims()[0])?.values;
    let (y, out) = work.output(x.dims())?;
    let sign = if direction == Direction::Forward { 1.0f32 } else { -1.0 };
    work.run(|compute| {
        let (grid, tables) = (units(x.count() / 2), (c.array(), s.array(), at.array()));
        rotate::launch::<R>(
            compute,
            grid,
            cube(),
            xs.array(),
            tables.0,
            tables.1,
            tables.2,
            out.array(),
            width.max(1),
            half,
            sign,
        );
    })?;
    Ok(y)
}

/// A unit rotates one pair.
#[cube(launch)]
pub(crate) fn rotate(
    x: &Array<f32>,
    cos: &Array<f32>,
    sin: &Array<f32>,
    positions: &Array<u32>,
    y: &mut Array<f32>,
    width: usize,
    half: usize,
    sign: f32,
) {
    if ABSOLUTE_POS < y.len() / 2 {
        let row = ABSOLUTE_POS / (width / 2);
        let pair = ABSOLUTE_POS % (width / 2);
        let first = row * width + pair / half * half * 2 + pair % half;
        let angle = positions[row] as usize * half + pair % half;
        let (c, s) = (cos[angle], sin[angle] * sign);
        let (a, b) = (x[first], x[first + half]);
        y[first] = a * c - b * s;
        y[first + half] = b * c + a * s;
    }
}
