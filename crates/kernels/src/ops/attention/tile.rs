//! What the kernels of attention share: tiles in shared memory, scores, who sees whom.

use super::{Kind, SIDE};
use crate::ops::dropout::{Chances, philox};
use cubecl::prelude::*;

/// A unit owns two rows and two columns of a tile of scores, one in each half: what it reads of a row serves two scores.
pub(super) const HALF: usize = SIDE / 2;

/// Units of a cube.
pub(super) const UNITS: u32 = (HALF * HALF) as u32;

/// Values of a tile of rows; one more to a row, so that a column lies in different banks.
pub(super) fn tile_size(padded: usize) -> usize {
    SIDE * (padded + 1)
}

/// Copies `rows` rows of one head into a tile, zeros behind them and beside them. `start` is the head's first value in the
/// first row, `stride` the distance of two rows.
#[cube]
pub(super) fn load(
    from: &Array<f32>,
    to: &mut SharedMemory<f32>,
    start: usize,
    stride: usize,
    rows: usize,
    width: usize,
    #[comptime] padded: usize,
) {
    #[unroll]
    for part in 0..comptime!(SIDE * padded / UNITS as usize) {
        let i = UNIT_POS as usize + part * comptime!(UNITS as usize);
        let (row, column) = (i / padded, i % padded);
        let mut value = f32::new(0.0);
        if row < rows && column < width {
            value = from[start + row * stride + column];
        }
        to[row * comptime!(padded + 1) + column] = value;
    }
}

/// Row and column of score `n` of the four that a unit owns; `n / 2` is the half of the row.
#[cube]
pub(super) fn place_of(#[comptime] n: usize) -> (usize, usize) {
    let unit = UNIT_POS as usize;
    (unit / HALF + comptime!(n / 2 * HALF), unit % HALF + comptime!(n % 2 * HALF))
}

/// Products of the rows of two tiles for the four scores of the unit.
#[cube]
pub(super) fn dots(a: &SharedMemory<f32>, b: &SharedMemory<f32>, #[comptime] padded: usize) -> Array<f32> {
    let unit = UNIT_POS as usize;
    let stride = comptime!(padded + 1);
    let (first, second) = (unit / HALF * stride, unit % HALF * stride);
    let mut sums = Array::<f32>::new(4usize);
    #[unroll]
    for n in 0..4usize {
        sums[n] = 0.0;
    }
    for part in 0..comptime!(padded / SIDE) {
        #[unroll]
        for k in 0..SIDE {
            let at = part * SIDE + k;
            let (a0, a1) = (a[first + at], a[first + comptime!(HALF * (padded + 1)) + at]);
            let (b0, b1) = (b[second + at], b[second + comptime!(HALF * (padded + 1)) + at]);
            sums[0] += a0 * b0;
            sums[1] += a0 * b1;
            sums[2] += a1 * b0;
            sums[3] += a1 * b1;
        }
    }
    sums
}

/// Length of the sums of [`add_weighted`]: every [`HALF`]th column of two rows.
pub(super) fn shares(padded: usize) -> usize {
    2 * padded / HALF
}

/// Room for the sums of [`add_weighted`].
#[cube]
pub(super) fn zeros(#[comptime] padded: usize) -> Array<f32> {
    let mut sums = Array::<f32>::new(comptime!(shares(padded)));
    #[unroll]
    for a in 0..comptime!(shares(padded)) {
        sums[a] = 0.0;
    }
    sums
}

/// Adds the two rows of (weights times tile) that the unit owns to `sums`: the columns `unit % HALF`, and every [`HALF`]th
/// behind it. The weights are one tile of scores, read by rows or, for a sum over queries, by columns.
#[cube]
pub(super) fn add_weighted(
    sums: &mut Array<f32>,
    weights: &SharedMemory<f32>,
    values: &SharedMemory<f32>,
    #[comptime] by_columns: bool,
    #[comptime] padded: usize,
) {
    let unit = UNIT_POS as usize;
    let (row, column) = (unit / HALF, unit % HALF);
    for j in 0..SIDE {
        let mut at = row * SIDE + j;
        if comptime!(by_columns) {
            at = j * SIDE + row;
        }
        let other = if comptime!(by_columns) { at + HALF } else { at + comptime!(HALF * SIDE) };
        let (upper, lower) = (weights[at], weights[other]);
        #[unroll]
        for a in 0..comptime!(padded / HALF) {
            let value = values[j * comptime!(padded + 1) + a * HALF + column];
            sums[a] += upper * value;
            sums[a + comptime!(padded / HALF)] += lower * value;
        }
    }
}

/// Writes the sums of [`add_weighted`], times a factor for each half, to `rows` rows of one head.
#[cube]
pub(super) fn store(
    sums: &Array<f32>,
    to: &mut Array<f32>,
    start: usize,
    stride: usize,
    rows: usize,
    width: usize,
    factors: (f32, f32),
    #[comptime] padded: usize,
) {
    let unit = UNIT_POS as usize;
    let (row, column) = (unit / HALF, unit % HALF);
    #[unroll]
    for a in 0..comptime!(padded / HALF) {
        let place = a * HALF + column;
        if place < width {
            if row < rows {
                to[start + row * stride + place] = sums[a] * factors.0;
            }
            if row + HALF < rows {
                to[start + (row + HALF) * stride + place] = sums[a + comptime!(padded / HALF)] * factors.1;
            }
        }
    }
}

/// How many keys a query sees, which are always the first ones. `place` is the query's in its sequence.
#[cube]
pub(super) fn visible(place: usize, queries: usize, keys: usize, #[comptime] kind: Kind) -> usize {
    let mut seen = keys;
    if comptime!(kind.causal) {
        // The last query sees the last key.
        seen = keys - keys;
        if keys + place + 1 > queries {
            seen = min(keys + place + 1 - queries, keys);
        }
    }
    seen
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
