//! The forward pass.

use super::tile::{
    Heads, Kind, QUARTERS, RECORD, SIDE, add_weighted, dots, load, mask, own_column, own_row, scores, store, tile,
    visible, window_start, zeros,
};
use crate::launch::Float4;
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
        let row = own_row();

        let mut own = tile(kind.padded);
        let mut other = tile(kind.padded);
        let mut shown = scores();
        let mut weights = scores();
        let mut sums = zeros(kind.padded);
        // The largest score of the row so far, and the unit's share of the sum of its weights.
        let mut top = f32::new(-3.0e38);
        let mut all = 0.0f32;
        let start = first * wide + head * heads.width;
        load(q, &mut own, start, wide, rows, heads.width, kind.padded);
        let seen = visible(place + rows - 1, queries, keys, kind);
        // What the unit's own query sees.
        let mut limit = 0usize.runtime();
        if row < rows {
            limit = visible(place + row, queries, keys, kind);
        }
        let begin = window_start(limit, heads.window, kind);
        let mut key = window_start(visible(place, queries, keys, kind), heads.window, kind);
        while key < seen {
            let from = (first_key + key) * narrow + head / heads.group * heads.width;
            load(k, &mut other, from, narrow, keys - key, heads.width, kind.padded);
            sync_cube();
            let mut score = dots(&own, &other, kind.padded);
            #[unroll]
            for n in 0..4usize {
                let mut value = f32::new(-3.0e38);
                let column = key + own_column(n);
                if column >= begin && column < limit {
                    value = score[n] * heads.scale;
                }
                score[n] = value;
            }
            shown[UNIT_POS as usize] = score;
            sync_cube();
            load(v, &mut other, from, narrow, keys - key, heads.width, kind.padded);
            let mut higher = top;
            #[unroll]
            for part in 0..QUARTERS {
                let four = shown[row * QUARTERS + part];
                #[unroll]
                for n in 0..4usize {
                    higher = max(higher, four[n]);
                }
            }
            let shrink = (top - higher).exp();
            all *= shrink;
            #[unroll]
            for a in 0..comptime!(kind.padded / SIDE) {
                sums[a] *= Float4::new(shrink);
            }
            top = higher;
            #[unroll]
            for n in 0..4usize {
                let column = key + own_column(n);
                let mut weight = f32::new(0.0);
                if column >= begin && column < limit {
                    weight = (score[n] - top).exp();
                }
                all += weight;
                score[n] = weight * mask(&chances, (first + row) * heads.count + head, column, kind);
            }
            weights[UNIT_POS as usize] = score;
            sync_cube();
            add_weighted(&mut sums, &weights, &other, kind.padded);
            sync_cube();
            key += SIDE;
        }
        shown[UNIT_POS as usize] = Float4::new(all);
        sync_cube();
        // A query without a key gives zeros; its log-sum-exp is that of nothing, minus infinity.
        let mut total = 0.0f32;
        #[unroll]
        for part in 0..QUARTERS {
            total += shown[row * QUARTERS + part][0];
        }
        let mut inverse = 0.0f32;
        if total > 0.0 {
            inverse = 1.0 / total;
        }
        if row < rows && own_column(0usize) == 0 {
            lse[(first + row) * heads.count + head] = top + total.ln();
        }
        store(&sums, o, start, wide, rows, heads.width, inverse, kind.padded);
    }
}
