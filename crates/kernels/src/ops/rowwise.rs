//! One row added to every row of a matrix, or multiplied with every row; the sum over rows.
//!
//! ```text
//! add_row:  y[i, j] = x[i, j] + w[j]      mul_row:  y[i, j] = x[i, j] * w[j]      sum_rows:  y[j] = sum over i of x[i, j]
//! ```

use crate::context::DeviceContext;
use crate::map::{Beside, map};
use crate::ops::elementwise::{Product, Sum};
use crate::reduce;
use clinpeft_tensor::{Result, Tensor};
use cubecl::Runtime;

/// Returns x with `row` added to every row.
pub(crate) fn add_row<R: Runtime>(device: &DeviceContext<R>, x: &Tensor, row: &Tensor) -> Result<Tensor> {
    map::<Sum, R>(device, "add_row", [x, row], beside(row), 0.0)
}

/// Returns x with every row multiplied by `row`.
pub(crate) fn mul_row<R: Runtime>(device: &DeviceContext<R>, x: &Tensor, row: &Tensor) -> Result<Tensor> {
    map::<Product, R>(device, "mul_row", [x, row], beside(row), 0.0)
}

/// Returns the sum over rows.
pub(crate) fn sum_rows<R: Runtime>(device: &DeviceContext<R>, x: &Tensor) -> Result<Tensor> {
    let (rows, width) = x.rows_and_width();
    let work = device.begin("sum_rows")?;
    let from = work.input(x)?;
    let (sums, to) = work.output(&[width])?;
    reduce::add_rows(&work, &from, &to, rows, width)?;
    Ok(sums)
}

fn beside(row: &Tensor) -> Beside {
    if row.count() == 1 { Beside::One } else { Beside::Row }
}
