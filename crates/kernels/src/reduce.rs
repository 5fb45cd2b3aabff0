//! Sums and maxima, always in the same order, so that the same device gives the same bits.

use crate::launch::{Launch, Operand, UNITS, cube, grid, units};
use clinpeft_tensor::Result;
use cubecl::prelude::*;

/// Rows that a unit sums.
const STRIP: usize = 128;

/// Values that a unit sums.
const SHARE: usize = 16;

/// What is summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Term {
    /// The values.
    Value,
    /// Their squares.
    Square,
}

/// The sum of all `values`, as an operand of one value.
pub(crate) fn total<R: Runtime>(work: &Launch<'_, R>, values: &Operand, term: Term) -> Result<Operand> {
    let (mut values, mut term) = (values.clone(), term);
    loop {
        let parts = values.count().div_ceil(UNITS as usize * SHARE).max(1);
        let sums = work.scratch(&[parts])?;
        work.run(|compute| {
            shares::launch::<R>(compute, grid(parts), cube(), values.array(), sums.array(), term, UNITS);
        })?;
        if parts == 1 {
            return Ok(sums);
        }
        (values, term) = (sums, Term::Value);
    }
}

/// The sum over rows of `[rows, width]`: strips of rows, then the sums of strips, until one row is left in `to`.
pub(crate) fn add_rows<R: Runtime>(
    work: &Launch<'_, R>,
    from: &Operand,
    to: &Operand,
    rows: usize,
    width: usize,
) -> Result<()> {
    let (mut from, mut left) = (from.clone(), rows);
    loop {
        left = left.div_ceil(STRIP).max(1);
        let sums = if left == 1 { to.clone() } else { work.scratch(&[left, width])? };
        work.run(|compute| {
            strips::launch::<R>(compute, units(left * width), cube(), from.array(), sums.array(), width.max(1), STRIP);
        })?;
        if left == 1 {
            return Ok(());
        }
        from = sums;
    }
}

/// How the parts of a cube become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Fold {
    Sum,
    Largest,
}

/// One number of the `part`s of all units of a cube; `units` is their number, a power of two.
#[cube]
pub(crate) fn over_cube(part: f32, #[comptime] fold: Fold, #[comptime] units: u32) -> f32 {
    let mut parts = SharedMemory::<f32>::new(units as usize);
    parts[UNIT_POS as usize] = part;
    sync_cube();
    let mut half = (units / 2).runtime();
    while half > 0 {
        if UNIT_POS < half {
            let other = parts[(UNIT_POS + half) as usize];
            let own = parts[UNIT_POS as usize];
            if comptime!(fold == Fold::Sum) {
                parts[UNIT_POS as usize] = own + other;
            } else {
                parts[UNIT_POS as usize] = max(own, other);
            }
        }
        sync_cube();
        half /= 2;
    }
    let all = parts[0];
    sync_cube();
    all
}

#[cube(launch)]
pub(crate) fn shares(values: &Array<f32>, sums: &mut Array<f32>, #[comptime] term: Term, #[comptime] units: u32) {
    // The same for all units of a cube, so none waits for one that is gone.
    if CUBE_POS < sums.len() {
        let first = CUBE_POS * comptime!(units as usize * SHARE) + UNIT_POS as usize;
        let mut part = 0.0f32;
        #[unroll]
        for i in 0..SHARE {
            let at = first + i * comptime!(units as usize);
            if at < values.len() {
                if comptime!(term == Term::Square) {
                    part += values[at] * values[at];
                } else {
                    part += values[at];
                }
            }
        }
        let sum = over_cube(part, Fold::Sum, units);
        if UNIT_POS == 0 {
            sums[CUBE_POS] = sum;
        }
    }
}

#[cube(launch)]
pub(crate) fn strips(rows: &Array<f32>, sums: &mut Array<f32>, width: usize, #[comptime] strip: usize) {
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
