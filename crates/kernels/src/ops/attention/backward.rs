//! The way back, by queries and by keys.

use super::tile::{add_weighted, dot, load, mask, store, tile_size, visible};
use super::{Heads, Kind, RECORD, SIDE};
use crate::ops::dropout::Chances;
use crate::work::UNITS;
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
        let unit = UNIT_POS as usize;
        let (i, j) = (unit / SIDE, unit % SIDE);

        let mut own = SharedMemory::<f32>::new(comptime!(tile_size(kind.padded)));
        let mut arriving = SharedMemory::<f32>::new(comptime!(tile_size(kind.padded)));
        let mut other = SharedMemory::<f32>::new(comptime!(tile_size(kind.padded)));
        let mut slopes = SharedMemory::<f32>::new(comptime!(UNITS as usize));
        let mut sums = Array::<f32>::new(comptime!(kind.padded / SIDE));
        #[unroll]
        for a in 0..comptime!(kind.padded / SIDE) {
            sums[a] = 0.0;
        }
        let start = first * wide + head * heads.width;
        load(q, &mut own, start, wide, rows, heads.width, kind.padded);
        load(g, &mut arriving, start, wide, rows, heads.width, kind.padded);
        let mut row = first * heads.count + head;
        if i < rows {
            row = (first + i) * heads.count + head;
        }
        let (level, less) = (lse[row], delta[row]);
        let mine = visible(place + i, queries, keys, kind);
        let seen = visible(place + rows - 1, queries, keys, kind);
        let mut key = 0usize;
        while key < seen {
            let from = (first_key + key) * narrow + head / heads.group * heads.width;
            load(v, &mut other, from, narrow, keys - key, heads.width, kind.padded);
            sync_cube();
            let slope = dot(&arriving, &other, i, j, kind.padded);
            sync_cube();
            load(k, &mut other, from, narrow, keys - key, heads.width, kind.padded);
            sync_cube();
            let score = dot(&own, &other, i, j, kind.padded) * heads.scale;
            let mut value = f32::new(0.0);
            if i < rows && key + j < mine {
                value = (score - level).exp() * (slope * mask(&chances, row, key + j, kind) - less);
            }
            slopes[unit] = value;
            sync_cube();
            add_weighted(&mut sums, &slopes, &other, false, kind.padded);
            sync_cube();
            key += SIDE;
        }
        store(&sums, dq, start, wide, rows, heads.width, heads.scale, kind.padded);
    }
}

/// dk and dv: a cube to a block of keys and a key-value head, through all queries of its heads.
#[cube(launch)]
#[expect(clippy::too_many_arguments, reason = "the operands of attention")]
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
        let unit = UNIT_POS as usize;
        // Of a score: i counts queries of the tile, j keys of the block.
        let (i, j) = (unit / SIDE, unit % SIDE);

        let mut own_keys = SharedMemory::<f32>::new(comptime!(tile_size(kind.padded)));
        let mut own_values = SharedMemory::<f32>::new(comptime!(tile_size(kind.padded)));
        let mut other = SharedMemory::<f32>::new(comptime!(tile_size(kind.padded)));
        let mut weights = SharedMemory::<f32>::new(comptime!(UNITS as usize));
        let mut slopes = SharedMemory::<f32>::new(comptime!(UNITS as usize));
        let mut key_sums = Array::<f32>::new(comptime!(kind.padded / SIDE));
        let mut value_sums = Array::<f32>::new(comptime!(kind.padded / SIDE));
        #[unroll]
        for a in 0..comptime!(kind.padded / SIDE) {
            key_sums[a] = 0.0;
            value_sums[a] = 0.0;
        }
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
        for of_group in 0..heads.group {
            let head = kv * heads.group + of_group;
            let mut query = earliest;
            while query < queries {
                let from = (first_query + query) * wide + head * heads.width;
                let left = min(queries - query, SIDE);
                load(q, &mut other, from, wide, left, heads.width, kind.padded);
                sync_cube();
                let allowed = i < left && j < rows && place + j < visible(query + i, queries, keys, kind);
                let mut row = first_query * heads.count + head;
                if i < left {
                    row = (first_query + query + i) * heads.count + head;
                }
                let score = dot(&other, &own_keys, i, j, kind.padded) * heads.scale;
                let mut weight = f32::new(0.0);
                if allowed {
                    weight = (score - lse[row]).exp();
                }
                let factor = mask(&chances, row, place + j, kind);
                weights[unit] = weight * factor;
                sync_cube();
                load(g, &mut other, from, wide, left, heads.width, kind.padded);
                sync_cube();
                let slope = dot(&other, &own_values, i, j, kind.padded) * factor;
                add_weighted(&mut value_sums, &weights, &other, true, kind.padded);
                slopes[unit] = weight * (slope - delta[row]);
                sync_cube();
                load(q, &mut other, from, wide, left, heads.width, kind.padded);
                sync_cube();
                add_weighted(&mut key_sums, &slopes, &other, true, kind.padded);
                sync_cube();
                query += SIDE;
            }
        }
        store(&key_sums, dk, start, narrow, rows, heads.width, heads.scale, kind.padded);
        store(&value_sums, dv, start, narrow, rows, heads.width, 1.0, kind.padded);
    }
}
