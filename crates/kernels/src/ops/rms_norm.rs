//! Root-mean-square normalisation (Zhang & Sennrich 2019, eq. 4).
//!
//! ```text
//! y = w * n,  n = x / r,  r = sqrt(mean(x^2) + eps)              x: [.., d]   w: [d]
//! dx = (w*g - n * mean(w*g*n)) / r        dw = sum over rows of g * n
//! ```
//! y and dx: one cube to a row, whose units sum strided parts and then halve through shared memory. dw: one unit to a
//! column, so neighbours read neighbours. Sums have a fixed order: the same numbers every time.

use crate::client::{Client, UNITS, grid};
use clinpeft_tensor::{Result, Tensor};
use cubecl::prelude::*;

/// Returns (y, 1/r for each row).
pub(crate) fn rms_norm<R: Runtime>(
    device: &Client<R>,
    x: &Tensor,
    weight: &Tensor,
    eps: f64,
) -> Result<(Tensor, Tensor)> {
    let (rows, width) = x.rows_and_width();
    let work = device.begin("rms_norm")?;
    let (xs, w) = (work.input(x)?, work.input(weight)?);
    let ((y, ys), (inv_rms, inv)) = (work.output(x.dims())?, work.output(&[rows])?);
    if rows > 0 {
        work.run(|compute| {
            forward::launch::<R>(
                compute,
                grid(rows),
                CubeDim::new_1d(UNITS),
                xs.array(),
                w.array(),
                ys.array(),
                inv.array(),
                width,
                eps as f32,
                UNITS,
            );
        })?;
    }
    Ok((y, inv_rms))
}

/// Returns (dx, dw) from the gradient `g` of y and the 1/r that [`rms_norm`] returned.
pub(crate) fn rms_norm_backward<R: Runtime>(
    device: &Client<R>,
    g: &Tensor,
    x: &Tensor,
    weight: &Tensor,
    inv_rms: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let (rows, width) = x.rows_and_width();
    let work = device.begin("rms_norm_backward")?;
    let (gs, xs) = (work.input(g)?, work.input(x)?);
    let (w, inv) = (work.input(weight)?, work.input(inv_rms)?);
    let ((dx, dxs), (dw, dws)) = (work.output(x.dims())?, work.output(weight.dims())?);
    work.run(|compute| {
        let units = CubeDim::new_1d(UNITS);
        if x.count() > 0 {
            let (g, x, w) = (gs.array(), xs.array(), w.array());
            backward_x::launch::<R>(
                compute,
                grid(rows),
                units,
                g,
                x,
                w,
                inv.array(),
                dxs.array(),
                width,
                UNITS,
            );
        }
        let cubes = grid(width.div_ceil(UNITS as usize));
        backward_weight::launch::<R>(
            compute,
            cubes,
            units,
            gs.array(),
            xs.array(),
            inv.array(),
            dws.array(),
            rows,
        );
    })?;
    Ok((dx, dw))
}

/// Sum over the units of a cube; `units` is their number, a power of two.
#[cube]
fn cube_sum(part: f32, #[comptime] units: u32) -> f32 {
    let mut parts = SharedMemory::<f32>::new(units as usize);
    parts[UNIT_POS as usize] = part;
    sync_cube();
    let mut half = (units / 2).runtime();
    while half > 0 {
        if UNIT_POS < half {
            let other = parts[(UNIT_POS + half) as usize];
            parts[UNIT_POS as usize] += other;
        }
        sync_cube();
        half /= 2;
    }
    let total = parts[0];
    sync_cube();
    total
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
        let inv = (cube_sum(squares, units) / f32::cast_from(width) + eps).inverse_sqrt();
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
        let mean = cube_sum(products, units) / f32::cast_from(width);
        let mut i = UNIT_POS as usize;
        while i < width {
            dx[first + i] = (w[i] * g[first + i] - x[first + i] * inv * mean) * inv;
            i += units as usize;
        }
    }
}

#[cube(launch)]
pub(crate) fn backward_weight(g: &Array<f32>, x: &Array<f32>, inv_rms: &Array<f32>, dw: &mut Array<f32>, rows: usize) {
    let column = ABSOLUTE_POS;
    let width = dw.len();
    if column < width {
        let mut sum = 0.0f32;
        for row in 0..rows {
            sum += g[row * width + column] * (x[row * width + column] * inv_rms[row]);
        }
        dw[column] = sum;
    }
}
