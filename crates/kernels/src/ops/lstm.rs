//! Long short-term memory over one sequence, from its input products (Hochreiter & Schmidhuber 1997; gates as in PyTorch).
//!
//! ```text
//! a_t = x_t + U h_{t-1}    i, f, o = sigma(a), c~ = tanh(a)    c_t = f * c_{t-1} + i * c~    h_t = o * tanh(c_t)
//! backward, last step first: see `clinpeft_tensor::ops::lstm`
//! ```
//! A step is a product with U and one pass over its cells.

use crate::context::DeviceContext;
use crate::launch::{Operand, cube, units};
use crate::ops::concat::copy;
use crate::ops::matmul::{Sizes, product};
use crate::ops::silu_mul::sigma;
use crate::ops::tanh::squashed;
use clinpeft_tensor::ops::Layout;
use clinpeft_tensor::{Result, Tensor};
use cubecl::prelude::*;

/// Returns (h, gates after their functions `[n, 4e]`, c `[n, e]`).
pub(crate) fn lstm<R: Runtime>(
    device: &DeviceContext<R>,
    x: &Tensor,
    recurrent: &Tensor,
) -> Result<(Tensor, Tensor, Tensor)> {
    let (steps, width) = (x.dims()[0], recurrent.dims()[1]);
    let work = device.begin("lstm")?;
    work.can_sum(width)?;
    let (xs, u) = (work.input(x)?, work.input(recurrent)?);
    let ((h, hs), (gates, gs)) = (work.output(&[steps, width])?, work.output(&[steps, 4 * width])?);
    let (c, cs) = work.output(&[steps, width])?;
    let mut before = work.zeros(width)?;
    for step in 0..steps {
        let from_before = work.scratch(&[4 * width])?;
        product(&work, [&before, &u], &from_before, &Sizes::plain(Layout::RightTransposed, 1, width, 4 * width))?;
        before = work.scratch(&[width])?;
        work.run(|compute| {
            let (x, r, g) = (xs.array(), from_before.array(), gs.array());
            let (c, h, last) = (cs.array(), hs.array(), before.array());
            cells::launch::<R>(compute, units(width), cube(), x, r, g, c, h, last, width, step);
        })?;
    }
    Ok((h, gates, c))
}

/// Returns (dx, dU). `saved` is `[U, h, gates, c]` of the forward pass.
pub(crate) fn lstm_backward<R: Runtime>(
    device: &DeviceContext<R>,
    g: &Tensor,
    saved: [&Tensor; 4],
) -> Result<(Tensor, Tensor)> {
    let [recurrent, h, gates, c] = saved;
    let (steps, width) = (h.dims()[0], recurrent.dims()[1]);
    let work = device.begin("lstm_backward")?;
    work.can_sum(4 * width.max(steps))?;
    let (gs, u, hs) = (work.input(g)?, work.input(recurrent)?, work.input(h)?);
    let (gates_of, cs) = (work.input(gates)?, work.input(c)?);
    let ((dx, dxs), (du, dus)) = (work.output(gates.dims())?, work.output(recurrent.dims())?);
    let (mut dh, mut dc) = (work.zeros(width)?, work.zeros(width)?);
    for step in (0..steps).rev() {
        let (da, less) = (work.scratch(&[4 * width])?, work.scratch(&[width])?);
        work.run(|compute| {
            let saved = (gs.array(), gates_of.array(), cs.array());
            let (dh, dc, dx) = (dh.array(), dc.array(), dxs.array());
            let (da, less) = (da.array(), less.array());
            slopes::launch::<R>(
                compute,
                units(width),
                cube(),
                saved.0,
                saved.1,
                saved.2,
                dh,
                dc,
                dx,
                da,
                less,
                width,
                step,
            );
        })?;
        dc = less;
        dh = work.scratch(&[width])?;
        product(&work, [&da, &u], &dh, &Sizes::plain(Layout::Normal, 1, 4 * width, width))?;
    }
    // dU = sum over t of da_t h_{t-1}^T: both without the row that has no partner.
    let before = shifted(&work, &hs, steps, width)?;
    product(&work, [&dxs, &before], &dus, &Sizes::plain(Layout::LeftTransposed, 4 * width, steps, width))?;
    Ok((dx, du))
}

/// Row t of the result is row t - 1, and row 0 is zero.
fn shifted<R: Runtime>(
    work: &crate::launch::Launch<'_, R>,
    h: &Operand,
    steps: usize,
    width: usize,
) -> Result<Operand> {
    let rows = work.scratch(&[steps, width])?;
    let zeros = work.zeros(width)?;
    copy(work, (&zeros, 0), (&rows, 0), width.min(steps * width))?;
    copy(work, (h, 0), (&rows, width), steps.saturating_sub(1) * width)?;
    Ok(rows)
}

#[cube(launch)]
#[expect(clippy::too_many_arguments, reason = "what a step reads, what it writes")]
pub(crate) fn cells(
    x: &Array<f32>,
    from_before: &Array<f32>,
    gates: &mut Array<f32>,
    c: &mut Array<f32>,
    h: &mut Array<f32>,
    last: &mut Array<f32>,
    width: usize,
    step: usize,
) {
    if ABSOLUTE_POS < width {
        let (j, row) = (ABSOLUTE_POS, step * 4 * width);
        let input = sigma(x[row + j] + from_before[j]);
        let forget = sigma(x[row + width + j] + from_before[width + j]);
        let cell = squashed(x[row + 2 * width + j] + from_before[2 * width + j]);
        let output = sigma(x[row + 3 * width + j] + from_before[3 * width + j]);
        let mut state = input * cell;
        if step > 0 {
            state += forget * c[(step - 1) * width + j];
        }
        let value = output * squashed(state);
        gates[row + j] = input;
        gates[row + width + j] = forget;
        gates[row + 2 * width + j] = cell;
        gates[row + 3 * width + j] = output;
        c[step * width + j] = state;
        h[step * width + j] = value;
        last[j] = value;
    }
}

#[cube(launch)]
#[expect(clippy::too_many_arguments, reason = "what a step reads, what it writes")]
pub(crate) fn slopes(
    g: &Array<f32>,
    gates: &Array<f32>,
    c: &Array<f32>,
    dh: &Array<f32>,
    dc: &Array<f32>,
    dx: &mut Array<f32>,
    da: &mut Array<f32>,
    less: &mut Array<f32>,
    width: usize,
    step: usize,
) {
    if ABSOLUTE_POS < width {
        let (j, row) = (ABSOLUTE_POS, step * 4 * width);
        let (input, forget) = (gates[row + j], gates[row + width + j]);
        let (cell, output) = (gates[row + 2 * width + j], gates[row + 3 * width + j]);
        let mut before = f32::new(0.0);
        if step > 0 {
            before = c[(step - 1) * width + j];
        }
        let tanh = squashed(c[step * width + j]);
        let dh = g[step * width + j] + dh[j];
        let dc = dc[j] + dh * output * (1.0 - tanh * tanh);
        let di = dc * cell * input * (1.0 - input);
        let df = dc * before * forget * (1.0 - forget);
        let dcell = dc * input * (1.0 - cell * cell);
        let d_out = dh * tanh * output * (1.0 - output);
        dx[row + j] = di;
        dx[row + width + j] = df;
        dx[row + 2 * width + j] = dcell;
        dx[row + 3 * width + j] = d_out;
        da[j] = di;
        da[width + j] = df;
        da[2 * width + j] = dcell;
        da[3 * width + j] = d_out;
        less[j] = dc * forget;
    }
}
