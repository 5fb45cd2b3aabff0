//! The forward pass.

use super::tile::{HALF, add_weighted, dots, load, mask, place_of, store, tile_size, visible, zeros};
use super::{Heads, Kind, RECORD, SIDE};
use crate::ops::dropout::Chances;
use cubecl::prelude::*;

/// A cube to a block of queries and a head.
#[cube(launch)]
#[expect(clippy::too_many_arguments, reason = "the operands of attention")]
pub(crate) fn forward(
    q: &Array<f32>,
    k: &Array<f32>,
    v: &Array<f32>,
    blocks: &Array<u32>,
    o: &mut Array<f32>,
    lse: &mut Array<f32>,
    heads: Heads,
    chances: Chances,
    #[comptime] kind: Kind,
) {
    let (block, head) = (CUBE_POS / heads.count * RECORD, CUBE_POS % heads.count);
    // The same for all units of a cube, so none waits for one that is gone.
    if block < blocks.len() {
        let (first, place) = (blocks[block] as usize, blocks[block + 1] as usize);
        let (queries, first_key) = (blocks[block + 2] as usize, blocks[block + 3] as usize);
        let keys = blocks[block + 4] as usize;
        let rows = min(queries - place, SIDE);
        let (wide, narrow) = (heads.count * heads.width, heads.count / heads.group * heads.width);
        let unit = UNIT_POS as usize;

        let mut own = SharedMemory::<f32>::new(comptime!(tile_size(kind.padded)));
        let mut other = SharedMemory::<f32>::new(comptime!(tile_size(kind.padded)));
        let mut scores = SharedMemory::<f32>::new(comptime!(SIDE * SIDE));
        let mut weights = SharedMemory::<f32>::new(comptime!(SIDE * SIDE));
        let mut sums = zeros(kind.padded);
        // Of the two rows of the unit: the largest score so far, and its share of the sum of weights.
        let mut top = Array::<f32>::new(2usize);
        let mut all = Array::<f32>::new(2usize);
        #[unroll]
        for half in 0..2usize {
            top[half] = f32::new(-3.0e38);
            all[half] = 0.0;
        }
        let start = first * wide + head * heads.width;
        load(q, &mut own, start, wide, rows, heads.width, kind.padded);
        let seen = visible(place + rows - 1, queries, keys, kind);
        let mut key = 0usize;
        while key < seen {
            let from = (first_key + key) * narrow + head / heads.group * heads.width;
            load(k, &mut other, from, narrow, keys - key, heads.width, kind.padded);
            sync_cube();
            let mut score = dots(&own, &other, kind.padded);
            #[unroll]
            for n in 0..4usize {
                let (i, j) = place_of(n);
                let mut shown = f32::new(-3.0e38);
                if i < rows && key + j < visible(place + i, queries, keys, kind) {
                    shown = score[n] * heads.scale;
                }
                score[n] = shown;
                scores[i * SIDE + j] = shown;
            }
            sync_cube();
            load(v, &mut other, from, narrow, keys - key, heads.width, kind.padded);
            #[unroll]
            for half in 0..2usize {
                let row = unit / HALF + half * HALF;
                let mut higher = top[half];
                #[unroll]
                for place in 0..SIDE {
                    higher = max(higher, scores[row * SIDE + place]);
                }
                let shrink = (top[half] - higher).exp();
                all[half] *= shrink;
                #[unroll]
                for a in 0..comptime!(kind.padded / HALF) {
                    sums[half * comptime!(kind.padded / HALF) + a] *= shrink;
                }
                top[half] = higher;
            }
            #[unroll]
            for n in 0..4usize {
                let (i, j) = place_of(n);
                let mut weight = f32::new(0.0);
                if i < rows && key + j < visible(place + i, queries, keys, kind) {
                    weight = (score[n] - top[n / 2]).exp();
                }
                all[n / 2] += weight;
                weights[i * SIDE + j] = weight * mask(&chances, (first + i) * heads.count + head, key + j, kind);
            }
            sync_cube();
            add_weighted(&mut sums, &weights, &other, false, kind.padded);
            sync_cube();
            key += SIDE;
        }
        #[unroll]
        for half in 0..2usize {
            scores[(unit / HALF + half * HALF) * SIDE + unit % HALF] = all[half];
        }
        sync_cube();
        // A query without a key gives zeros; its log-sum-exp is that of nothing, minus infinity.
        let mut inverse = Array::<f32>::new(2usize);
        #[unroll]
        for half in 0..2usize {
            let row = unit / HALF + half * HALF;
            let mut total = 0.0f32;
            #[unroll]
            for part in 0..HALF {
                total += scores[row * SIDE + part];
            }
            inverse[half] = 0.0;
            if total > 0.0 {
                inverse[half] = 1.0 / total;
            }
            if row < rows && unit % HALF == 0 {
                lse[(first + row) * heads.count + head] = top[half] + total.ln();
            }
        }
        store(&sums, o, start, wide, rows, heads.width, (inverse[0], inverse[1]), kind.padded);
    }
}
