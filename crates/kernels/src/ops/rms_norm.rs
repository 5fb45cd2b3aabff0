//! Root-mean-square normalisation (Zhang & Sennrich 2019, eq. 4).
//!
//! ```text
//! y = w * n,  n = x / r,  r = sqrt(mean(x^2) + eps)              x: [.., d]   w: [d]
//! dx = (w*g - n * mean(w*g*n)) / r        dw = sum over rows of g * n
//! ```
//! y and dx: one cube to a row, whose units sum strided parts and then halve through shared memory. dw: sums over strips of
//! rows, then over those sums. The order is fixed: the same numbers every time.

use crate::client::{Client, UNITS, grid};
use clinpeft_tensor::{Result, Tensor};
use cubecl::prelude::*;

/// Rows that a unit sums for dw.
const STRIP: usize = 128;

/// Returns (y, 1/r for each row).
pub(crate) fn rms_norm<R: Runtime>(
    device: &Client<R>,
    x: &Tensor,
    weight: &Tensor,
    eps: f64,
) -> Result<(Tensor, Tensor)> {
    let (rows, width) = x.rows_and_width();
    let work = device.begin("rms_norm")?;
    work.can_sum(width)?;
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
    work.can_sum(width)?;
    let (gs, xs) = (work.input(g)?, work.input(x)?);
    let (w, inv) = (work.input(weight)?, work.input(inv_rms)?);
    let (dx, dxs) = work.output(x.dims())?;
    let units = CubeDim::new_1d(UNITS);
    if x.count() > 0 {
        work.run(|compute| {
            let (g, x, w) = (gs.array(), xs.array(), w.array());
            backward_x::launch::<R>(compute, grid(rows), units, g, x, w, inv.array(), dxs.array(), width, UNITS);
        })?;
    }
    // A strip of rows to a unit, and its sum to a row of its own, until one row is left.
    let mut left = rows.div_ceil(STRIP).max(1);
    let (mut dw, mut sums) = work.output(&[left, width])?;
    work.run(|compute| {
        let (g, x, to) = (gs.array(), xs.array(), sums.array());
        backward_weight::launch::<R>(compute, strips(left, width), units, g, x, inv.array(), to, width, STRIP);
    })?;
    while left > 1 {
        left = left.div_ceil(STRIP);
        let from = sums.array();
        (dw, sums) = work.output(&[left, width])?;
        work.run(|compute| {
            add_rows::launch::<R>(compute, strips(left, width), units, from, sums.array(), width, STRIP)
        })?;
    }
    Ok((dx, dw.reshape(weight.dims())?))
}

/// A grid with a unit for every column of every strip.
fn strips(count: usize, width: usize) -> CubeCount {
    grid((count * width).div_ceil(UNITS as usize))
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
pub(crate) fn backward_weight(
    g: &Array<f32>,
    x: &Array<f32>,
    inv_rms: &Array<f32>,
    sums: &mut Array<f32>,
    width: usize,
    #[comptime] strip: usize,
) {
    if ABSOLUTE_POS < sums.len() {
        let (first, column) = (ABSOLUTE_POS / width * strip, ABSOLUTE_POS % width);
        let mut sum = 0.0f32;
        for i in 0..strip {
            let row = first + i;
            if row < inv_rms.len() {
                sum += g[row * width + column] * (x[row * width + column] * inv_rms[row]);
            }
        }
        sums[ABSOLUTE_POS] = sum;
    }
}

#[cube(launch)]
pub(crate) fn add_rows(rows: &Array<f32>, sums: &mut Array<f32>, width: usize, #[comptime] strip: usize) {
    if ABSOLUTE_POS < sums.len() {
        let (first, column) = (ABSOLUTE_POS / width * strip, ABSOLUTE_POS % width);
        let mut sum = 0.0f32;
        for i in 0..strip {
            let at = (first + i) * width + column;
            if at < rows.len() {
                sum += rows[at];
            }
        }
        sums[ABSOLUTE_POS] = sum;
    }
}
