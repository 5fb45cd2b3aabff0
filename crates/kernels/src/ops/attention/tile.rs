//! What the kernels of attention share: tiles in shared memory, scores, who sees whom.

use super::{Kind, SIDE};
use crate::ops::dropout::{Chances, philox};
use crate::work::UNITS;
use cubecl::prelude::*;

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

/// Product of row `i` of one tile and row `j` of another.
#[cube]
pub(super) fn dot(a: &SharedMemory<f32>, b: &SharedMemory<f32>, i: usize, j: usize, #[comptime] padded: usize) -> f32 {
    let (first, second) = (i * comptime!(padded + 1), j * comptime!(padded + 1));
    let mut sum = 0.0f32;
    for part in 0..comptime!(padded / SIDE) {
        #[unroll]
        for k in 0..SIDE {
            sum += a[first + part * SIDE + k] * b[second + part * SIDE + k];
        }
    }
    sum
}

/// Adds row `unit / SIDE` of (weights times tile) to `sums`: the columns `unit % SIDE`, and every [`SIDE`]th behind it.
/// The weights are one tile of scores, read by rows or, for a sum over queries, by columns.
#[cube]
pub(super) fn add_weighted(
    sums: &mut Array<f32>,
    weights: &SharedMemory<f32>,
    values: &SharedMemory<f32>,
    #[comptime] by_columns: bool,
    #[comptime] padded: usize,
) {
    let unit = UNIT_POS as usize;
    let (row, column) = (unit / SIDE, unit % SIDE);
    for j in 0..SIDE {
        let mut at = row * SIDE + j;
        if comptime!(by_columns) {
            at = j * SIDE + row;
        }
        let weight = weights[at];
        #[unroll]
        for a in 0..comptime!(padded / SIDE) {
            sums[a] += weight * values[j * comptime!(padded + 1) + a * SIDE + column];
        }
    }
}

/// Writes the sums of [`add_weighted`], times a factor, to `rows` rows of one head.
#[cube]
pub(super) fn store(
    sums: &Array<f32>,
    to: &mut Array<f32>,
    start: usize,
    stride: usize,
    rows: usize,
    width: usize,
    factor: f32,
    #[comptime] padded: usize,
) {
    let unit = UNIT_POS as usize;
    let (row, column) = (unit / SIDE, unit % SIDE);
    #[unroll]
    for a in 0..comptime!(padded / SIDE) {
        if row < rows && a * SIDE + column < width {
            to[start + row * stride + a * SIDE + column] = sums[a] * factor;
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
