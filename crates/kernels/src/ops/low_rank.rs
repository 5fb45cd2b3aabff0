//! Low-rank update of a linear layer (Hu et al. 2021, eq. 3).
//!
//! ```text
//! u = x A^T,   y = base + scale * u B^T        x: [t, in]  A: [r, in]  B: [out, r]  base, y: [t, out]  u: [t, r]
//! ```
//! The second product, the factor and the sum are one pass over `base`: it reads each value once, where a product of its own
//! would write and read as many again.

use crate::context::DeviceContext;
use crate::launch::{cube, units};
use crate::ops::matmul::{Sizes, product};
use clinpeft_tensor::ops::Layout;
use clinpeft_tensor::{Result, Tensor};
use cubecl::prelude::*;

/// Returns (y, u).
pub(crate) fn low_rank<R: Runtime>(
    device: &DeviceContext<R>,
    base: &Tensor,
    x: &Tensor,
    a: &Tensor,
    b: &Tensor,
    scale: f64,
) -> Result<(Tensor, Tensor)> {
    let ((rows, width), rank) = (x.rows_and_width(), a.dims()[0]);
    let work = device.begin("low_rank")?;
    // A term of the second product is an iteration.
    work.can_sum(width.max(rank * 16))?;
    let (bases, xs) = (work.input(base)?, work.input(x)?);
    let (down, up) = (work.input(a)?, work.input(b)?);
    let ((y, ys), (u, us)) = (work.output(base.dims())?, work.output(&[rows, rank])?);
    product(&work, [&xs, &down], &us, &Sizes::plain(Layout::RightTransposed, rows, width, rank))?;
    work.run(|compute| {
        let (grid, factors) = (units(y.count()), (us.array(), up.array()));
        let (out, columns) = (ys.array(), base.dims()[1].max(1));
        update::launch::<R>(
            compute,
            grid,
            cube(),
            bases.array(),
            factors.0,
            factors.1,
            out,
            columns,
            rank,
            scale as f32,
        );
    })?;
    Ok((y, u))
}

#[cube(launch)]
pub(crate) fn update(
    base: &Array<f32>,
    u: &Array<f32>,
    b: &Array<f32>,
    y: &mut Array<f32>,
    columns: usize,
    rank: usize,
    scale: f32,
) {
    if ABSOLUTE_POS < y.len() {
        let (left, right) = (ABSOLUTE_POS / columns * rank, ABSOLUTE_POS % columns * rank);
        let mut sum = 0.0f32;
        for k in 0..rank {
            sum += u[left + k] * b[right + k];
        }
        y[ABSOLUTE_POS] = base[ABSOLUTE_POS] + scale * sum;
    }
}
