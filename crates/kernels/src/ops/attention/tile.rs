//! What the kernels of attention share: tiles in shared memory, scores, who sees whom.

use crate::launch::Float4;
use crate::ops::dropout::{Chances, philox};
use cubecl::prelude::*;

/// Queries and keys of a tile.
pub(crate) const SIDE: usize = 16;

/// Numbers that describe a block of rows: its first row, that row's place in its sequence, the rows of the sequence; then
/// the first row and the number of rows on the other side.
pub(crate) const RECORD: usize = 5;

/// What a kernel is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Kind {
    /// Width of a head, rounded up to a multiple of [`SIDE`].
    pub(crate) padded: usize,
    pub(crate) causal: bool,
    pub(crate) windowed: bool,
    pub(crate) dropout: bool,
}

/// Heads, as a kernel needs them.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(crate) struct Heads {
    pub(crate) count: usize,
    /// Query heads to a key-value head.
    pub(crate) group: usize,
    pub(crate) width: usize,
    /// Keys that a query sees, itself included, where [`Kind::windowed`].
    pub(crate) window: usize,
    pub(crate) scale: f32,
}

/// Units of a row of scores. A unit owns four scores of one row, and every [`QUARTERS`]th four columns of that row of a result.
pub(super) const QUARTERS: usize = SIDE / 4;

/// Units of a cube.
pub(super) const UNITS: u32 = (SIDE * QUARTERS) as u32;

/// Fours from one row of a tile to the next; one more than the row has, so that a column lies in different banks.
pub(super) fn stride(padded: usize) -> usize {
    padded / 4 + 1
}

/// The row of the unit.
#[cube]
pub(super) fn own_row() -> usize {
    UNIT_POS as usize / QUARTERS
}

/// The column of score `n` of the four of the unit.
#[cube]
pub(super) fn own_column(#[comptime] n: usize) -> usize {
    UNIT_POS as usize % QUARTERS * 4 + n
}

/// Shared memory for a tile of rows.
#[cube]
pub(super) fn tile(#[comptime] padded: usize) -> SharedMemory<Float4> {
    SharedMemory::<Float4>::new(comptime!(SIDE * stride(padded)))
}

/// Shared memory for a tile of scores; the unit's own four are at `UNIT_POS`.
#[cube]
pub(super) fn scores() -> SharedMemory<Float4> {
    SharedMemory::<Float4>::new(comptime!(SIDE * QUARTERS))
}

/// Copies `rows` rows of one head into a tile, zeros behind them and beside them. `start` is the head's first value in the
/// first row, `distance` that of two rows.
#[cube]
pub(super) fn load(
    from: &Array<f32>,
    to: &mut SharedMemory<Float4>,
    start: usize,
    distance: usize,
    rows: usize,
    width: usize,
    #[comptime] padded: usize,
) {
    #[unroll]
    for part in 0..comptime!(SIDE * padded / 4 / UNITS as usize) {
        let i = UNIT_POS as usize + part * comptime!(UNITS as usize);
        let (row, four) = (i / comptime!(padded / 4), i % comptime!(padded / 4));
        let mut values = Float4::new(0.0);
        #[unroll]
        for n in 0..4usize {
            if row < rows && four * 4 + n < width {
                values[n] = from[start + row * distance + four * 4 + n];
            }
        }
        to[row * comptime!(stride(padded)) + four] = values;
    }
}

/// Products of a row of one tile with four rows of another: the four scores of the unit.
#[cube]
pub(super) fn dots(a: &SharedMemory<Float4>, b: &SharedMemory<Float4>, #[comptime] padded: usize) -> Float4 {
    let row = own_row() * comptime!(stride(padded));
    let mut sums = Float4::new(0.0);
    for part in 0..comptime!(padded / SIDE) {
        #[unroll]
        for k in 0..QUARTERS {
            let at = part * QUARTERS + k;
            let left = a[row + at];
            #[unroll]
            for n in 0..4usize {
                let products = left * b[own_column(n) * comptime!(stride(padded)) + at];
                sums[n] += (products[0] + products[1]) + (products[2] + products[3]);
            }
        }
    }
    sums
}

/// Registers for the sums of [`add_weighted`].
#[cube]
pub(super) fn zeros(#[comptime] padded: usize) -> Array<Float4> {
    let mut sums = Array::<Float4>::new(comptime!(padded / SIDE));
    #[unroll]
    for a in 0..comptime!(padded / SIDE) {
        sums[a] = Float4::new(0.0);
    }
    sums
}

/// Adds the unit's part of its row of (weights times tile) to `sums`.
#[cube]
pub(super) fn add_weighted(
    sums: &mut Array<Float4>,
    weights: &SharedMemory<Float4>,
    values: &SharedMemory<Float4>,
    #[comptime] padded: usize,
) {
    let (row, quarter) = (own_row(), UNIT_POS as usize % QUARTERS);
    for part in 0..QUARTERS {
        let four = weights[row * QUARTERS + part];
        #[unroll]
        for n in 0..4usize {
            let first = (part * 4 + n) * comptime!(stride(padded)) + quarter;
            #[unroll]
            for a in 0..comptime!(padded / SIDE) {
                sums[a] += Float4::new(four[n]) * values[first + a * QUARTERS];
            }
        }
    }
}

/// Writes the sums of [`add_weighted`], times a factor, to `rows` rows of one head.
#[cube]
pub(super) fn store(
    sums: &Array<Float4>,
    to: &mut Array<f32>,
    start: usize,
    distance: usize,
    rows: usize,
    width: usize,
    factor: f32,
    #[comptime] padded: usize,
) {
    let row = own_row();
    #[unroll]
    for a in 0..comptime!(padded / SIDE) {
        #[unroll]
        for n in 0..4usize {
            let column = a * SIDE + own_column(n);
            if row < rows && column < width {
                to[start + row * distance + column] = sums[a][n] * factor;
            }
        }
    }
}

/// How many keys a query sees but for a window, the first ones. `place` is the query's in its sequence.
#[cube]
pub(super) fn visible(place: usize, queries: usize, keys: usize, #[comptime] kind: Kind) -> usize {
    let mut seen = keys;
    if comptime!(kind.causal) {
        // The last query sees the last key.
        seen = 0usize.runtime();
        if keys + place + 1 > queries {
            seen = min(keys + place + 1 - queries, keys);
        }
    }
    seen
}

/// The first key of a window whose last is the one before `end`.
#[cube]
pub(super) fn window_start(end: usize, window: usize, #[comptime] kind: Kind) -> usize {
    let mut start = 0usize.runtime();
    if comptime!(kind.windowed) {
        start = end - min(end, window);
    }
    start
}

/// What the dropout multiplies a weight with. `row` counts queries and heads of the whole batch.
#[cube]
pub(super) fn mask(chances: &Chances, row: usize, key: usize, #[comptime] kind: Kind) -> f32 {
    let mut factor = f32::new(1.0);
    if comptime!(kind.dropout) {
        let words = philox(chances.key0, chances.key1, (key / 4) as u32, row as u32);
        if words[key % 4] < chances.threshold {
            factor = 0.0;
        } else {
            factor = chances.keep;
        }
    }
    factor
}
