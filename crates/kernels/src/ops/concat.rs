//! Rows of one tensor after the rows of another, and the cut that undoes it.
//!
//! ```text
//! y = [a; b]        a: [m, d]   b: [n, d]   y: [m + n, d]
//! ```

use crate::context::DeviceContext;
use crate::launch::{Launch, Operand, cube, units};
use clinpeft_tensor::{Result, Tensor};
use cubecl::prelude::*;

/// Returns the rows of `a`, then those of `b`.
pub(crate) fn concat<R: Runtime>(device: &DeviceContext<R>, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let work = device.begin("concat")?;
    let (first, second) = (work.input(a)?, work.input(b)?);
    let (y, out) = work.output(&[a.dims()[0] + b.dims()[0], a.dims()[1]])?;
    copy(&work, (&first, 0), (&out, 0), a.count())?;
    copy(&work, (&second, 0), (&out, a.count()), b.count())?;
    Ok(y)
}

/// Returns the first `rows` rows and the others.
pub(crate) fn cut<R: Runtime>(device: &DeviceContext<R>, x: &Tensor, rows: usize) -> Result<(Tensor, Tensor)> {
    let (all, width) = (x.dims()[0], x.dims()[1]);
    let work = device.begin("cut")?;
    let xs = work.input(x)?;
    let ((first, firsts), (second, seconds)) = (work.output(&[rows, width])?, work.output(&[all - rows, width])?);
    copy(&work, (&xs, 0), (&firsts, 0), first.count())?;
    copy(&work, (&xs, rows * width), (&seconds, 0), second.count())?;
    Ok((first, second))
}

/// Copies `count` values, from a place to a place.
pub(crate) fn copy<R: Runtime>(
    work: &Launch<'_, R>,
    (from, start): (&Operand, usize),
    (to, place): (&Operand, usize),
    count: usize,
) -> Result<()> {
    if count == 0 {
        return Ok(());
    }
    work.run(|compute| {
        copied::launch::<R>(compute, units(count), cube(), from.array(), to.array(), start, place, count)
    })
}

#[cube(launch)]
pub(crate) fn copied(from: &Array<f32>, to: &mut Array<f32>, start: usize, place: usize, count: usize) {
    if ABSOLUTE_POS < count {
        to[place + ABSOLUTE_POS] = from[start + ABSOLUTE_POS];
    }
}
