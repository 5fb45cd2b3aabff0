//! The gated unit of LLaMA's MLP (Shazeer 2020, eq. 6, without the products).
//!
//! ```text
//! y = silu(a) * u,  silu(a) = a * sigma(a)
//! da = g * u * sigma(a) * (1 + a * (1 - sigma(a)))        du = g * silu(a)
//! ```

use crate::context::DeviceContext;
use crate::launch::{cube, units};
use crate::map::{Beside, Map, map};
use clinpeft_tensor::{Result, Tensor};
use cubecl::prelude::*;

pub(crate) struct SiluMul;

#[cube]
pub(crate) fn sigma(x: f32) -> f32 {
    1.0 / (1.0 + (0.0 - x).exp())
}

#[cube]
impl Map for SiluMul {
    fn at(a: f32, b: f32, _number: f32) -> f32 {
        a * sigma(a) * b
    }
}

/// Returns y.
pub(crate) fn silu_mul<R: Runtime>(device: &DeviceContext<R>, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    map::<SiluMul, R>(device, "silu_mul", [gate, up], Beside::Same, 0.0)
}

/// Returns (da, du).
pub(crate) fn silu_mul_backward<R: Runtime>(
    device: &DeviceContext<R>,
    g: &Tensor,
    gate: &Tensor,
    up: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let work = device.begin("silu_mul_backward")?;
    let (gs, a, u) = (work.input(g)?, work.input(gate)?, work.input(up)?);
    let ((da, das), (du, dus)) = (work.output(gate.dims())?, work.output(gate.dims())?);
    work.run(|compute| {
        let (grid, out) = (units(g.count()), (das.array(), dus.array()));
        slopes::launch::<R>(compute, grid, cube(), gs.array(), a.array(), u.array(), out.0, out.1);
    })?;
    Ok((da, du))
}

#[cube(launch)]
pub(crate) fn slopes(g: &Array<f32>, a: &Array<f32>, u: &Array<f32>, da: &mut Array<f32>, du: &mut Array<f32>) {
    if ABSOLUTE_POS < da.len() {
        let (g, a) = (g[ABSOLUTE_POS], a[ABSOLUTE_POS]);
        let s = sigma(a);
        da[ABSOLUTE_POS] = g * u[ABSOLUTE_POS] * s * (1.0 + a * (1.0 - s));
        du[ABSOLUTE_POS] = g * (a * s);
    }
}
