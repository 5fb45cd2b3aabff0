//! The way back, by queries and by keys.

use super::tile::{HALF, add_weighted, dots, load, mask, place_of, store, tile_size, visible, zeros};
use super::{Heads, Kind, RECORD, SIDE};
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

        let mut own = SharedMemory::<f32>::new(comptime!(tile_size(kind.padded)));
        let mut arriving = SharedMemory::<f32>::new(comptime!(tile_size(kind.padded)));
        let mut other = SharedMemory::<f32>::new(comptime!(tile_size(kind.padded)));
        let mut slopes = SharedMemory::<f32>::new(comptime!(SIDE * SIDE));
        let mut sums = zeros(kind.padded);
        let start = first * wide + head * heads.width;
        load(q, &mut own, start, wide, rows, heads.width, kind.padded);
        load(g, &mut arriving, start, wide, rows, heads.width, kind.padded);
        // Of the two rows of the unit.
        let mut level = Array::<f32>::new(2usize);
        let mut less = Array::<f32>::new(2usize);
        #[unroll]
        for half in 0..2usize {
            let i = min(UNIT_POS as usize / HALF + half * HALF, rows - 1);
            level[half] = lse[(first + i) * heads.count + head];
            less[half] = delta[(first + i) * heads.count + head];
        }
        let seen = visible(place + rows - 1, queries, keys, kind);
        let mut key = 0usize;
        while key < seen {
            let from = (first_key + key) * narrow + head / heads.group * heads.width;
            load(v, &mut other, from, narrow, keys - key, heads.width, kind.padded);
            sync_cube();
            let slope = dots(&arriving, &other, kind.padded);
            sync_cube();
            load(k, &mut other, from, narrow, keys - key, heads.width, kind.padded);
            sync_cube();
            let score = dots(&own, &other, kind.padded);
            #[unroll]
            for n in 0..4usize {
                let (i, j) = place_of(n);
                let mut value = f32::new(0.0);
                if i < rows && key + j < visible(place + i, queries, keys, kind) {
                    let factor = mask(&chances, (first + i) * heads.count + head, key + j, kind);
                    value = (score[n] * heads.scale - level[n / 2]).exp() * (slope[n] * factor - less[n / 2]);
                }
                slopes[i * SIDE + j] = value;
            }
            sync_cube();
            add_weighted(&mut sums, &slopes, &other, false, kind.padded);
            sync_cube();
            key += SIDE;
        }
        store(&sums, dq, start, wide, rows, heads.width, (heads.scale, heads.scale), kind.padded);
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

        let mut own_keys = SharedMemory::<f32>::new(comptime!(tile_size(kind.padded)));
        let mut own_values = SharedMemory::<f32>::new(comptime!(tile_size(kind.padded)));
        let mut other = SharedMemory::<f32>::new(comptime!(tile_size(kind.padded)));
        let mut weights = SharedMemory::<f32>::new(comptime!(SIDE * SIDE));
        let mut slopes = SharedMemory::<f32>::new(comptime!(SIDE * SIDE));
        let mut key_sums = zeros(kind.padded);
        let mut value_sums = zeros(kind.padded);
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
                // Of a score: i counts queries of the tile, j keys of the block.
                let mut weight = dots(&other, &own_keys, kind.padded);
                let mut factor = Array::<f32>::new(4usize);
                #[unroll]
                for n in 0..4usize {
                    let (i, j) = place_of(n);
                    let row = (first_query + query + min(i, left - 1)) * heads.count + head;
                    let mut value = f32::new(0.0);
                    if i < left && j < rows && place + j < visible(query + i, queries, keys, kind) {
                        value = (weight[n] * heads.scale - lse[row]).exp();
                    }
                    weight[n] = value;
                    factor[n] = mask(&chances, row, place + j, kind);
                    weights[i * SIDE + j] = value * factor[n];
                }
                sync_cube();
                load(g, &mut other, from, wide, left, heads.width, kind.padded);
                sync_cube();
                let slope = dots(&other, &own_values, kind.padded);
                add_weighted(&mut value_sums, &weights, &other, true, kind.padded);
                #[unroll]
                for n in 0..4usize {
                    let (i, j) = place_of(n);
                    let row = (first_query + query + min(i, left - 1)) * heads.count + head;
                    slopes[i * SIDE + j] = weight[n] * (slope[n] * factor[n] - delta[row]);
                }
                sync_cube();
                load(q, &mut other, from, wide, left, heads.width, kind.padded);
                sync_cube();
                add_weighted(&mut key_sums, &slopes, &other, true, kind.padded);
                sync_cube();
                query += SIDE;
            }
        }
        store(&key_sums, dk, start, narrow, rows, heads.width, (heads.scale, heads.scale), kind.padded);
        store(&value_sums, dv, start, narrow, rows, heads.width, (f32::new(1.0), f32::new(1.0)), kind.padded);
    }
}
