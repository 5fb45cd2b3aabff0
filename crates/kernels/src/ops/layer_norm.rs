//! Layer normalisation (Ba, Kiros & Hinton 2016, eq. 4).
//!
//! ```text
//! y = w * n + b,  n = (x - m) / r,  m = mean(x),  r = sqrt(mean((x - m)^2) + eps)
//! dx = (u - mean(u) - n * mean(u*n)) / r,  u = w*g        dw = sum over rows of g * n        db = sum over rows of g
//! ```

use crate::context::DeviceContext;
use crate::launch::{cube, grid, row_units, units};
use crate::reduce::{Fold, add_rows, over_cube};
use clinpeft_tensor::{Result, Tensor};
use cubecl::prelude::*;

/// Returns (y, m and 1/r for each row as `[rows, 2]`).
pub(crate) fn layer_norm<R: Runtime>(
    device: &DeviceContext<R>,
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
) -> Result<(Tensor, Tensor)> {
    let (rows, width) = x.rows_and_width();
    let work = device.begin("layer_norm")?;
    work.can_sum(width)?;
    let (xs, w, b) = (work.input(x)?, work.input(weight)?, work.input(bias)?);
    let ((y, ys), (moments, ms)) = (work.output(x.dims())?, work.output(&[rows, 2])?);
    if x.count() > 0 {
        work.run(|compute| {
            let (x, w, b, y) = (xs.array(), w.array(), b.array(), ys.array());
            let (of_row, eps) = (row_units(width), eps as f32);
            let row = CubeDim::new_1d(of_row);
            forward::launch::<R>(compute, grid(rows), row, x, w, b, y, ms.array(), width, eps, of_row);
        })?;
    }
    Ok((y, moments))
}

/// Returns (dx, dw, db) from the gradient `g` of y and the moments that [`layer_norm`] returned.
pub(crate) fn layer_norm_backward<R: Runtime>(
    device: &DeviceContext<R>,
    g: &Tensor,
    x: &Tensor,
    weight: &Tensor,
    moments: &Tensor,
) -> Result<(Tensor, Tensor, Tensor)> {
    let (rows, width) = x.rows_and_width();
    let work = device.begin("layer_norm_backward")?;
    work.can_sum(width)?;
    let (gs, xs) = (work.input(g)?, work.input(x)?);
    let (w, ms) = (work.input(weight)?, work.input(moments)?);
    let (dx, dxs) = work.output(x.dims())?;
    let ((dw, dws), (db, dbs)) = (work.output(&[width])?, work.output(&[width])?);
    let products = work.scratch(x.dims())?;
    if x.count() > 0 {
        work.run(|compute| {
            let (g, x, w, m) = (gs.array(), xs.array(), w.array(), ms.array());
            let of_row = row_units(width);
            let row = CubeDim::new_1d(of_row);
            backward_x::launch::<R>(compute, grid(rows), row, g, x, w, m, dxs.array(), width, of_row);
        })?;
        work.run(|compute| {
            let (g, x, m) = (gs.array(), xs.array(), ms.array());
            normal::launch::<R>(compute, units(products.count()), cube(), g, x, m, products.array(), width);
        })?;
    }
    add_rows(&work, &products, &dws, rows, width)?;
    add_rows(&work, &gs, &dbs, rows, width)?;
    Ok((dx, dw, db))
}

#[cube(launch)]
pub(crate) fn forward(
    x: &Array<f32>,
    w: &Array<f32>,
    b: &Array<f32>,
    y: &mut Array<f32>,
    moments: &mut Array<f32>,
    width: usize,
    eps: f32,
    #[comptime] units: u32,
) {
    let row = CUBE_POS;
    // The same for all units of a cube, so none waits for one that is gone.
    if row < moments.len() / 2 {
        let first = row * width;
        let mut part = 0.0f32;
        let mut i = UNIT_POS as usize;
        while i < width {
            part += x[first + i];
            i += units as usize;
        }
        let mean = over_cube(part, Fold::Sum, units) / f32::cast_from(width);
        // Around the mean, not as a difference of squares, which cancels.
        let mut squares = 0.0f32;
        let mut i = UNIT_POS as usize;
        while i < width {
            let away = x[first + i] - mean;
            squares += away * away;
            i += units as usize;
        }
        let inv = (over_cube(squares, Fold::Sum, units) / f32::cast_from(width) + eps).inverse_sqrt();
        let mut i = UNIT_POS as usize;
        while i < width {
            y[first + i] = w[i] * ((x[first + i] - mean) * inv) + b[i];
            i += units as usize;
        }
        if UNIT_POS == 0 {
            moments[row * 2] = mean;
            moments[row * 2 + 1] = inv;
        }
    }
}

#[cube(launch)]
pub(crate) fn backward_x(
    g: &Array<f32>,
    x: &Array<f32>,
    w: &Array<f32>,
    moments: &Array<f32>,
    dx: &mut Array<f32>,
    width: usize,
    #[comptime] units: u32,
) {
    let row = CUBE_POS;
    if row < moments.len() / 2 {
        let first = row * width;
        let (mean, inv) = (moments[row * 2], moments[row * 2 + 1]);
        let mut plain = 0.0f32;
        let mut along = 0.0f32;
        let mut i = UNIT_POS as usize;
        while i < width {
            let u = w[i] * g[first + i];
            // Kept rounded: a compiler would fuse u into the difference below and leave the rounding of u where zero is due.
            dx[first + i] = u;
            plain += u;
            along += u * ((x[first + i] - mean) * inv);
            i += units as usize;
        }
        let level = over_cube(plain, Fold::Sum, units) / f32::cast_from(width);
        let slope = over_cube(along, Fold::Sum, units) / f32::cast_from(width);
        let mut i = UNIT_POS as usize;
        while i < width {
            let n = (x[first + i] - mean) * inv;
            dx[first + i] = (dx[first + i] - level - n * slope) * inv;
            i += units as usize;
        }
    }
}

/// g * n
#[cube(launch)]
pub(crate) fn normal(g: &Array<f32>, x: &Array<f32>, moments: &Array<f32>, y: &mut Array<f32>, width: usize) {
    if ABSOLUTE_POS < y.len() {
        let row = ABSOLUTE_POS / width;
        y[ABSOLUTE_POS] = g[ABSOLUTE_POS] * ((x[ABSOLUTE_POS] - moments[row * 2]) * moments[row * 2 + 1]);
    }
}
