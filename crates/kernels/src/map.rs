//! Element by element: one kernel for all functions of one or two values and a number.

use crate::context::DeviceContext;
use crate::launch::{cube, units};
use clinpeft_tensor::{Result, Tensor};
use cubecl::prelude::*;

/// A function of the values at one place.
#[cube]
pub(crate) trait Map: Send + Sync + 'static {
    fn at(a: f32, b: f32, number: f32) -> f32;
}

/// Which element of the second operand stands beside an element of the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Beside {
    /// The one at the same place.
    Same,
    /// The one in the same column: the operand is one row.
    Row,
    /// The only one.
    One,
}

/// `y[i] = f(a[i], b[..], number)`, in the shape of `a`.
pub(crate) fn map<M: Map, R: Runtime>(
    device: &DeviceContext<R>,
    op: &'static str,
    [a, b]: [&Tensor; 2],
    beside: Beside,
    number: f64,
) -> Result<Tensor> {
    let work = device.begin(op)?;
    let (left, right) = (work.input(a)?, work.input(b)?);
    let (y, out) = work.output(a.dims())?;
    let width = a.rows_and_width().1.max(1);
    work.run(|compute| {
        let (grid, arrays) = (units(a.count()), (left.array(), right.array(), out.array()));
        element::launch::<M, R>(compute, grid, cube(), arrays.0, arrays.1, arrays.2, width, number as f32, beside);
    })?;
    Ok(y)
}

#[cube(launch)]
pub(crate) fn element<M: Map>(
    a: &Array<f32>,
    b: &Array<f32>,
    y: &mut Array<f32>,
    width: usize,
    number: f32,
    #[comptime] beside: Beside,
) {
    if ABSOLUTE_POS < y.len() {
        let mut at = ABSOLUTE_POS;
        if comptime!(beside == Beside::Row) {
            at = ABSOLUTE_POS % width;
        }
        if comptime!(beside == Beside::One) {
            at = 0usize.runtime();
        }
        y[ABSOLUTE_POS] = M::at(a[ABSOLUTE_POS], b[at], number);
    }
}
