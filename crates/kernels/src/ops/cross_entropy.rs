//! Weighted cross-entropy over classes, summed over rows; and the same fused with a language-model head.
//!
//! ```text
//! loss = sum_i w_i (ln sum_j exp z_ij - z_i,target)        dz_ij = w_i (softmax(z_i)_j - [j = target_i])
//! ```
//! With a head, the logits of [`ROWS`] rows exist at a time, and go when their gradients have been multiplied. A head that
//! lies in several buffers gives its columns of them one after another.

use crate::context::DeviceContext;
use crate::launch::{Launch, Operand, Part, cube, grid, row_units, units};
use crate::ops::elementwise;
use crate::ops::matmul::{Sizes, product};
use crate::reduce::{Fold, Term, over_cube, total};
use clinpeft_tensor::ops::Layout;
use clinpeft_tensor::{Result, Tensor};
use cubecl::prelude::*;

/// Rows of logits that exist at once. Rows of any width begin at a multiple of 1 KiB then, where every device lets a buffer
/// begin.
const ROWS: usize = 256;

/// Returns (loss `[1]`, dz for g = 1).
pub(crate) fn cross_entropy<R: Runtime>(
    device: &DeviceContext<R>,
    logits: &Tensor,
    targets: &Tensor,
    weights: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let (rows, classes) = logits.rows_and_width();
    let work = device.begin("cross_entropy")?;
    work.can_sum(classes)?;
    let batch = Batch { targets: work.ids(targets, classes)?.values, weights: work.input(weights)?, classes };
    let z = work.input(logits)?;
    let (dz, slopes) = work.output(logits.dims())?;
    let losses = work.scratch(&[rows])?;
    batch.rows(&work, &z, &slopes, &losses, 0, rows)?;
    Ok((loss(&work, &losses)?, dz))
}

/// Returns (loss `[1]`, dx, dhead), the last two for g = 1 and only where `want` (x, head) asks.
pub(crate) fn linear_cross_entropy<R: Runtime>(
    device: &DeviceContext<R>,
    x: &Tensor,
    head: &Tensor,
    targets: &Tensor,
    weights: &Tensor,
    want: [bool; 2],
) -> Result<(Tensor, Option<Tensor>, Option<Tensor>)> {
    let ((rows, width), classes) = (x.rows_and_width(), head.dims()[0]);
    let work = device.begin("linear_cross_entropy")?;
    work.can_sum(classes)?;
    let batch = Batch { targets: work.ids(targets, classes)?.values, weights: work.input(weights)?, classes };
    let xs = work.input(x)?;
    let parts = work.parts(head)?;
    let losses = work.scratch(&[rows])?;
    let dx = if want[0] { Some(work.output(x.dims())?) } else { None };
    let mut dhead = None;
    for first in (0..rows).step_by(ROWS) {
        let some = ROWS.min(rows - first);
        let x = xs.rows(first, some, width);
        let (z, dz) = (work.scratch(&[some, classes])?, work.scratch(&[some, classes])?);
        for part in &parts {
            let sizes = Sizes::plain(Layout::RightTransposed, some, width, part.rows);
            product(&work, [&x, &part.values], &columns(&z, part), &sizes.with_row(2, classes))?;
        }
        batch.rows(&work, &z, &dz, &losses, first, some)?;
        if let Some((_, out)) = &dx {
            back(&work, &dz, &parts, &out.rows(first, some, width), classes, width)?;
        }
        if want[1] {
            let (more, out) = work.output(&[classes, width])?;
            product(&work, [&dz, &x], &out, &Sizes::plain(Layout::LeftTransposed, classes, some, width))?;
            dhead = Some(match dhead {
                Some(before) => elementwise::add(device, &before, &more)?,
                None => more,
            });
        }
    }
    if want[1] && dhead.is_none() {
        dhead = Some(device.upload(&Tensor::zeros(&[classes, width], x.dtype()))?);
    }
    Ok((loss(&work, &losses)?, dx.map(|(dx, _)| dx), dhead))
}

/// The columns of the logits that a part of the head gives. Parts begin at rows where a buffer may begin.
fn columns(z: &Operand, part: &Part) -> Operand {
    z.rows(part.first, z.count() - part.first, 1)
}

/// dx = dz H for some rows, summed over the parts of H.
fn back<R: Runtime>(
    work: &Launch<'_, R>,
    dz: &Operand,
    parts: &[Part],
    dx: &Operand,
    classes: usize,
    width: usize,
) -> Result<()> {
    let rows = dz.count() / classes.max(1);
    for (i, part) in parts.iter().enumerate() {
        let sizes = Sizes::plain(Layout::Normal, rows, part.rows, width).with_row(0, classes);
        let operands = [&columns(dz, part), &part.values];
        if i == 0 {
            product(work, operands, dx, &sizes)?;
        } else {
            let more = work.scratch(&[rows, width])?;
            product(work, operands, &more, &sizes)?;
            work.run(|compute| {
                let (grid, to) = (units(dx.count()), dx.array());
                more_of::launch::<R>(compute, grid, cube(), more.array(), to);
            })?;
        }
    }
    Ok(())
}

#[cube(launch)]
pub(crate) fn more_of(more: &Array<f32>, sum: &mut Array<f32>) {
    if ABSOLUTE_POS < sum.len() {
        sum[ABSOLUTE_POS] += more[ABSOLUTE_POS];
    }
}

fn loss<R: Runtime>(work: &Launch<'_, R>, losses: &Operand) -> Result<Tensor> {
    let sum = total(work, losses, Term::Value)?;
    Ok(work.made(&sum, &[1]))
}

struct Batch {
    targets: Operand,
    weights: Operand,
    classes: usize,
}

impl Batch {
    /// Losses and gradients of `some` rows of logits, which stand from row `first` on in the batch.
    fn rows<R: Runtime>(
        &self,
        work: &Launch<'_, R>,
        z: &Operand,
        dz: &Operand,
        losses: &Operand,
        first: usize,
        some: usize,
    ) -> Result<()> {
        if some == 0 {
            return Ok(());
        }
        work.run(|compute| {
            let (targets, weights) = (self.targets.array(), self.weights.array());
            let of_row = row_units(self.classes);
            row::launch::<R>(
                compute,
                grid(some),
                CubeDim::new_1d(of_row),
                z.array(),
                targets,
                weights,
                dz.array(),
                losses.array(),
                self.classes,
                first,
                some,
                of_row,
            );
        })
    }
}

/// A cube to a row.
#[cube(launch)]
pub(crate) fn row(
    z: &Array<f32>,
    targets: &Array<u32>,
    weights: &Array<f32>,
    dz: &mut Array<f32>,
    losses: &mut Array<f32>,
    classes: usize,
    first: usize,
    rows: usize,
    #[comptime] units: u32,
) {
    // The same for all units of a cube, so none waits for one that is gone.
    if CUBE_POS < rows {
        let (start, unit) = (CUBE_POS * classes, UNIT_POS as usize);
        let mut top = f32::new(-3.0e38);
        let mut i = unit;
        while i < classes {
            top = max(top, z[start + i]);
            i += units as usize;
        }
        let top = over_cube(top, Fold::Largest, units);
        let mut part = 0.0f32;
        let mut i = unit;
        while i < classes {
            part += (z[start + i] - top).exp();
            i += units as usize;
        }
        let all = over_cube(part, Fold::Sum, units);
        let (target, weight) = (targets[first + CUBE_POS] as usize, weights[first + CUBE_POS]);
        let mut i = unit;
        while i < classes {
            let mut slope = (z[start + i] - top).exp() * (weight / all);
            if i == target {
                slope -= weight;
            }
            dz[start + i] = slope;
            i += units as usize;
        }
        if unit == 0 {
            losses[first + CUBE_POS] = weight * (all.ln() - (z[start + target] - top));
        }
    }
}
