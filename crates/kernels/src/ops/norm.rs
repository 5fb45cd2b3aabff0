//! Euclidean (Frobenius) norm of all elements.
//!
//! ```text
//! y = sqrt(sum x^2)        dx = g * x / y, and 0 where y = 0
//! ```

use crate::context::DeviceContext;
use crate::launch::{cube, grid, units};
use crate::map::element;
use crate::map::{Beside, Map};
use crate::reduce::{Term, total};
use clinpeft_tensor::{Result, Tensor};
use cubecl::prelude::*;

pub(crate) struct Root;

#[cube]
impl Map for Root {
    fn at(a: f32, _b: f32, _number: f32) -> f32 {
        a.sqrt()
    }
}

/// Returns the norm, `[1]`.
pub(crate) fn norm<R: Runtime>(device: &DeviceContext<R>, x: &Tensor) -> Result<Tensor> {
    let work = device.begin("norm")?;
    let squares = total(&work, &work.input(x)?, Term::Square)?;
    let (y, out) = work.output(&[1])?;
    work.run(|compute| {
        let (a, b) = (squares.array(), squares.array());
        element::launch::<Root, R>(compute, grid(1), cube(), a, b, out.array(), 1, 0.0, Beside::Same);
    })?;
    Ok(y)
}

/// Returns dx from the gradient `g` of y, `[1]`, and the y that [`norm`] returned.
pub(crate) fn norm_backward<R: Runtime>(
    device: &DeviceContext<R>,
    g: &Tensor,
    x: &Tensor,
    y: &Tensor,
) -> Result<Tensor> {
    let work = device.begin("norm_backward")?;
    let (g, xs, y) = (work.input(g)?, work.input(x)?, work.input(y)?);
    let (dx, out) = work.output(x.dims())?;
    work.run(|compute| {
        direction::launch::<R>(compute, units(x.count()), cube(), g.array(), xs.array(), y.array(), out.array());
    })?;
    Ok(dx)
}

#[cube(launch)]
pub(crate) fn direction(g: &Array<f32>, x: &Array<f32>, y: &Array<f32>, dx: &mut Array<f32>) {
    if ABSOLUTE_POS < dx.len() {
        let mut factor = f32::new(0.0);
        if y[0] != 0.0 {
            factor = g[0] / y[0];
        }
        dx[ABSOLUTE_POS] = x[ABSOLUTE_POS] * factor;
    }
}
