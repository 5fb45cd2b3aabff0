//! Root-mean-square normalisation (Zhang & Sennrich 2019, eq. 4).
//!
//! ```text
//! y = w * n,  n = x / r,  r = sqrt(mean(x^2) + eps)              x: [.., d]   w: [d]
//! dx = (w*g - n * mean(w*g*n)) / r        dw = sum over rows of g * n
//! ```
//! One cube to a row, whose units sum strided parts and then halve through shared memory.

use crate::context::DeviceContext;
use crate::launch::{cube, grid, row_units, units};
use crate::reduce::{Fold, add_rows, over_cube};
use clinpeft_tensor::{Result, Tensor};
use cubecl::prelude::*;

/// Returns (y, 1/r for each row).
pub(crate) fn rms_norm<R: Runtime>(
    device: &DeviceContext<R>,
    x: &Tensor,
    weight: &Tensor,
    eps: f64,
) -> Result<(Tensor, Tensor)> {
    let (rows, width) = x.rows_and_width();
    let work = device.begin("rms_norm")?;
    work.can_sum(width)?;
    let (xs, w) = (work.input(x)?, work.input(weight)?);
    let of_row = row_units(width);
    let ((y, ys), (inv_rms, inv)) = (work.output(x.dims())?, work.output(&[rows])?);
    if rows > 0 {
        work.run(|compute| {
            forward::launch::<R>(
                compute,
                grid(rows),
                CubeDim::new_1d(of_row),
                xs.array(),
                w.array(),
                ys.array(),
                inv.array(),
                width,
                eps as f32,
                of_row,
            );
        })?;
    }
    Ok((y, inv_rms))
}

/// Returns (dx, dw) from the gradient `g` of y and the 1/r that [`rms_norm`] returned.
pub(crate) fn rms_norm_backward<R: Runtime>(
    device: &DeviceContext<R>,
    g: &Tensor,
    x: &Tensor,
    weight: &Tensor,
    inv_rms: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let (rows, width) = x.rows_and_width();
    let work = device.begin("rms_norm_backward")?;
    work.can_sum(width)?;
    let (gs, xs) = (work.input(g)?, work.input(x)?);
    let (w, inv) = (work.input(weight)?, work.input(inv_rms)?);
    let (dx, dxs) = work.output(x.dims())?;
    if x.count() > 0 {
        work.run(|compute| {
            let (g, x, w) = (gs.array(), xs.array(), w.array());
            let (of_row, to) = (row_units(width), dxs.array());
            backward_x::launch::<R>(
                compute,
                grid(rows),
                CubeDim::new_1d(of_row),
                g,
                x,
                w,
                inv.array(),
                to,
                width,
                of_row,
            );
        })?;
    }
    let (dw, dws) = work.output(weight.dims())?;
    let products = work.scratch(x.dims())?;
    work.run(|compute| {
        let (g, x, to) = (gs.array(), xs.array(), products.array());
        normal::launch::<R>(compute, units(products.count()), cube(), g, x, inv.array(), to, width.max(1));
    })?;
    add_rows(&work, &products, &dws, rows, width)?;
    Ok((dx, dw))
}

#[cube(launch)]
pub(crate) fn forward(
    x: &Array<f32>,
    w: &Array<f32>,
    y: &mut Array<f32>,
    inv_rms: &mut Array<f32>,
    width: usize,
    eps: f32,
    #[comptime] units: u32,
) {
    let row = CUBE_POS;
    // The same for all units of a cube, so none waits for one that is gone.
    if row < inv_rms.len() {
        let first = row * width;
        let mut squares = 0.0f32;
        let mut i = UNIT_POS as usize;
        while i < width {
            squares += x[first + i] * x[first + i];
            i += units as usize;
        }
        let inv = (over_cube(squares, Fold::Sum, units) / f32::cast_from(width) + eps).inverse_sqrt();
        if UNIT_POS == 0 {
            inv_rms[row] = inv;
        }
        let mut i = UNIT_POS as usize;
        while i < width {
            y[first + i] = w[i] * (x[first + i] * inv);
            i += units as usize;
        }
    }
}

#[cube(launch)]
pub(crate) fn backward_x(
    g: &Array<f32>,
    x: &Array<f32>,
    w: &Array<f32>,
    inv_rms: &Array<f32>,
    dx: &mut Array<f32>,
    width: usize,
    #[comptime] units: u32,
) {
    let row = CUBE_POS;
    if row < inv_rms.len() {
        let first = row * width;
        let inv = inv_rms[row];
        let mut products = 0.0f32;
        let mut i = UNIT_POS as usize;
        while i < width {
            products += w[i] * g[first + i] * (x[first + i] * inv);
            i += units as usize;
        }
        let mean = over_cube(products, Fold::Sum, units) / f32::cast_from(width);
        let mut i = UNIT_POS as usize;
        while i < width {
            dx[first + i] = (w[i] * g[first + i] - x[first + i] * inv * mean) * inv;
            i += units as usize;
        }
    }
}

/// g * n
#[cube(launch)]
pub(crate) fn normal(g: &Array<f32>, x: &Array<f32>, inv_rms: &Array<f32>, y: &mut Array<f32>, width: usize) {
    if ABSOLUTE_POS < y.len() {
        y[ABSOLUTE_POS] = g[ABSOLUTE_POS] * (x[ABSOLUTE_POS] * inv_rms[ABSOLUTE_POS / width]);
    }
}
