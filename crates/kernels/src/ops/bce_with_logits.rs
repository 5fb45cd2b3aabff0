//! Binary cross-entropy on logits, summed over all cells.
//!
//! ```text
//! loss = sum of max(z, 0) - z y + ln(1 + exp(-|z|))        dz = sigma(z) - y
//! ```

use crate::context::DeviceContext;
use crate::launch::{cube, units};
use crate::reduce::{Term, total};
use clinpeft_tensor::{Result, Tensor};
use cubecl::prelude::*;

/// Returns (loss `[1]`, sigma(z) - y).
pub(crate) fn bce_with_logits<R: Runtime>(
    device: &DeviceContext<R>,
    logits: &Tensor,
    targets: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let work = device.begin("bce_with_logits")?;
    let (z, y) = (work.input(logits)?, work.input(targets)?);
    let (dz, slopes) = work.output(logits.dims())?;
    let losses = work.scratch(logits.dims())?;
    work.run(|compute| {
        let (grid, out) = (units(z.count()), (slopes.array(), losses.array()));
        cells::launch::<R>(compute, grid, cube(), z.array(), y.array(), out.0, out.1);
    })?;
    let sum = total(&work, &losses, Term::Value)?;
    Ok((work.made(&sum, &[1]), dz))
}

#[cube(launch)]
pub(crate) fn cells(z: &Array<f32>, y: &Array<f32>, dz: &mut Array<f32>, losses: &mut Array<f32>) {
    if ABSOLUTE_POS < dz.len() {
        let (z, y) = (z[ABSOLUTE_POS], y[ABSOLUTE_POS]);
        let small = (0.0 - z.abs()).exp();
        let mut sigma = small / (1.0 + small);
        if z > 0.0 {
            sigma = 1.0 / (1.0 + small);
        }
        dz[ABSOLUTE_POS] = sigma - y;
        losses[ABSOLUTE_POS] = max(z, 0.0) - z * y + (1.0 + small).ln();
    }
}
