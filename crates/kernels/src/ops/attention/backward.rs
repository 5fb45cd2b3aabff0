//! The backward pass, by queries and by keys.

use super::tile::{
    Heads, Kind, RECORD, SIDE, add_weighted, dots, load, mask, own_column, own_row, scores, store, tile, visible,
    window_start, zeros,
};
use crate::launch::Float4;
use crate::ops::dropout::Chances;
use cubecl::prelude::*;

/// rowsum(g * o) of every query and head; a unit to each.
#[cube(launch)]
pub(crate) fn deltas(g: &Array<f32>, o: &Array<f32>, delta: &mut Array<f32>, width: usize) {
    if ABSOLUTE_POS < delta.len() {
        let first = ABSOLUTE_POS * width;
        let mut sum = 0.0f32;
        for i in 0..width {
            sum += g[first + i] * o[first + i];
        }
        delta[ABSOLUTE_POS] = sum;
    }
}

/// dq: a cube to a block of queries and a head.
#[cube(launch)]
#[expect(clippy::too_many_arguments, reason = "the operands of attention")]
pub(crate) fn queries_backward(
    q: &Array<f32>,
    k: &Array<f32>,
    v: &Array<f32>,
    g: &Array<f32>,
    lse: &Array<f32>,
    delta: &Array<f32>,
    blocks: &Array<u32>,
    dq: &mut Array<f32>,
    heads: Heads,
    chances: Chances,
    #[comptime] kind: Kind,
) {
    let (block, head) = (CUBE_POS / heads.count * RECORD, CUBE_POS % heads.count);
    if block < blocks.len() {
        let (first, place) = (blocks[block] as usize, blocks[block + 1] as usize);
        let (queries, first_key) = (blocks[block + 2] as usize, blocks[block + 3] as usize);
        let keys = blocks[block + 4] as usize;
        let rows = min(queries - place, SIDE);
        let (wide, narrow) = (heads.count * heads.width, heads.count / heads.group * heads.width);

        let mut own = tile(kind.padded);
        let mut arriving = tile(kind.padded);
        let mut other = tile(kind.padded);
        let mut slopes = scores();
        let mut sums = zeros(kind.padded);
        let start = first * wide + head * heads.width;
        load(q, &mut own, start, wide, rows, heads.width, kind.padded);
        load(g, &mut arriving, start, wide, rows, heads.width, kind.padded);
        let row = min(own_row(), rows - 1);
        let of_row = (first + row) * heads.count + head;
        let (level, less) = (lse[of_row], delta[of_row]);
        let seen = visible(place + rows - 1, queries, keys, kind);
        // What the unit's own query sees.
        let limit = visible(place + row, queries, keys, kind);
        let begin = window_start(limit, heads.window, kind);
        let mut key = window_start(visible(place, queries, keys, kind), heads.window, kind);
        while key < seen {
            let from = (first_key + key) * narrow + head / heads.group * heads.width;
            load(v, &mut other, from, narrow, keys - key, heads.width, kind.padded);
            sync_cube();
            let slope = dots(&arriving, &other, kind.padded);
            sync_cube();
            load(k, &mut other, from, narrow, keys - key, heads.width, kind.padded);
            sync_cube();
            let score = dots(&own, &other, kind.padded);
            let mut values = Float4::new(0.0);
            #[unroll]
            for n in 0..4usize {
                let column = key + own_column(n);
                if column >= begin && column < limit {
                    let factor = mask(&chances, of_row, column, kind);
                    values[n] = (score[n] * heads.scale - level).exp() * (slope[n] * factor - less);
                }
            }
            slopes[UNIT_POS as usize] = values;
            sync_cube();
            add_weighted(&mut sums, &slopes, &other, kind.padded);
            sync_cube();
            key += SIDE;
        }
        store(&sums, dq, start, wide, rows, heads.width, heads.scale, kind.padded);
    }
}

/// dk and dv: a cube to a block of keys and a key-value head, through all queries of its heads.
#[cube(launch)]
#[expect(clippy::too_many_arguments, reason = "the operands of attention")]
#[expect(clippy::collapsible_if, reason = "the outer condition is one of the compilation")]
pub(crate) fn keys_backward(
    q: &Array<f32>,
    k: &Array<f32>,
    v: &Array<f32>,
    g: &Array<f32>,
    lse: &Array<f32>,
    delta: &Array<f32>,
    blocks: &Array<u32>,
    dk: &mut Array<f32>,
    dv: &mut Array<f32>,
    heads: Heads,
    chances: Chances,
    #[comptime] kind: Kind,
) {
    let narrow_heads = heads.count / heads.group;
    let (block, kv) = (CUBE_POS / narrow_heads * RECORD, CUBE_POS % narrow_heads);
    if block < blocks.len() {
        let (first, place) = (blocks[block] as usize, blocks[block + 1] as usize);
        let (keys, first_query) = (blocks[block + 2] as usize, blocks[block + 3] as usize);
        let queries = blocks[block + 4] as usize;
        let rows = min(keys - place, SIDE);
        let (wide, narrow) = (heads.count * heads.width, narrow_heads * heads.width);

        let mut own_keys = tile(kind.padded);
        let mut own_values = tile(kind.padded);
        let mut other = tile(kind.padded);
        let mut weights = scores();
        let mut slopes = scores();
        let mut key_sums = zeros(kind.padded);
        let mut value_sums = zeros(kind.padded);
        // The unit's own key; its four scores are those of four queries.
        let key = place + own_row();
        let start = first * narrow + kv * heads.width;
        load(k, &mut own_keys, start, narrow, rows, heads.width, kind.padded);
        load(v, &mut own_values, start, narrow, rows, heads.width, kind.padded);
        // The first query that sees a key of the block, down to the beginning of a tile.
        let mut earliest = 0usize;
        if comptime!(kind.causal) {
            if place + queries > keys {
                earliest = (place + queries - keys) / SIDE * SIDE;
            }
        }
        // One behind the last query that sees a key of the block.
        let mut latest = queries;
        if comptime!(kind.windowed) {
            latest = 0usize.runtime();
            if place + rows - 1 + heads.window + queries > keys {
                latest = min(place + rows - 1 + heads.window + queries - keys, queries);
            }
        }
        for of_group in 0..heads.group {
            let head = kv * heads.group + of_group;
            let mut query = earliest;
            while query < latest {
                let from = (first_query + query) * wide + head * heads.width;
                let left = min(queries - query, SIDE);
                load(q, &mut other, from, wide, left, heads.width, kind.padded);
                sync_cube();
                let mut weight = dots(&own_keys, &other, kind.padded);
                let mut factor = Float4::new(0.0);
                #[unroll]
                for n in 0..4usize {
                    let i = own_column(n);
                    let of_row = (first_query + query + min(i, left - 1)) * heads.count + head;
                    let mut value = f32::new(0.0);
                    let end = visible(query + i, queries, keys, kind);
                    let seen = key < end && key >= window_start(end, heads.window, kind);
                    if i < left && key < keys && seen {
                        value = (weight[n] * heads.scale - lse[of_row]).exp();
                    }
                    weight[n] = value;
                    factor[n] = mask(&chances, of_row, key, kind);
                }
                weights[UNIT_POS as usize] = weight * factor;
                sync_cube();
                load(g, &mut other, from, wide, left, heads.width, kind.padded);
                sync_cube();
                let mut slope = dots(&own_values, &other, kind.padded);
                add_weighted(&mut value_sums, &weights, &other, kind.padded);
                #[unroll]
                for n in 0..4usize {
                    let of_row = (first_query + query + min(own_column(n), left - 1)) * heads.count + head;
                    slope[n] = weight[n] * (slope[n] * factor[n] - delta[of_row]);
                }
                slopes[UNIT_POS as usize] = slope;
                sync_cube();
                load(q, &mut other, from, wide, left, heads.width, kind.padded);
                sync_cube();
                add_weighted(&mut key_sums, &slopes, &other, kind.padded);
                sync_cube();
                query += SIDE;
            }
        }
        store(&key_sums, dk, start, narrow, rows, heads.width, heads.scale, kind.padded);
        store(&value_sums, dv, start, narrow, rows, heads.width, f32::new(1.0), kind.padded);
    }
}
