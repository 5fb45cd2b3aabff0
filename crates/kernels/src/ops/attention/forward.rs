//! The forward pass.

use super::tile::{add_weighted, dot, load, mask, tile_size, visible};
use super::{Heads, Kind, RECORD, SIDE};
use crate::ops::dropout::Chances;
use crate::work::UNITS;
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
        let (i, j) = (unit / SIDE, unit % SIDE);

        let mut own = SharedMemory::<f32>::new(comptime!(tile_size(kind.padded)));
        let mut other = SharedMemory::<f32>::new(comptime!(tile_size(kind.padded)));
        let mut scores = SharedMemory::<f32>::new(comptime!(UNITS as usize));
        let mut weights = SharedMemory::<f32>::new(comptime!(UNITS as usize));
        let mut sums = Array::<f32>::new(comptime!(kind.padded / SIDE));
        #[unroll]
        for a in 0..comptime!(kind.padded / SIDE) {
            sums[a] = 0.0;
        }
        load(q, &mut own, first * wide + head * heads.width, wide, rows, heads.width, kind.padded);
        let mine = visible(place + i, queries, keys, kind);
        let seen = visible(place + rows - 1, queries, keys, kind);
        let mut top = f32::new(-3.0e38);
        let mut all = 0.0f32;
        let mut key = 0usize;
        while key < seen {
            let start = (first_key + key) * narrow + head / heads.group * heads.width;
            load(k, &mut other, start, narrow, keys - key, heads.width, kind.padded);
            sync_cube();
            let score = dot(&own, &other, i, j, kind.padded) * heads.scale;
            let allowed = i < rows && key + j < mine;
            let mut shown = f32::new(-3.0e38);
            if allowed {
                shown = score;
            }
            scores[unit] = shown;
            sync_cube();
            load(v, &mut other, start, narrow, keys - key, heads.width, kind.padded);
            let mut higher = top;
            #[unroll]
            for place in 0..SIDE {
                higher = max(higher, scores[i * SIDE + place]);
            }
            let shrink = (top - higher).exp();
            let mut weight = f32::new(0.0);
            if allowed {
                weight = (score - higher).exp();
            }
            all = all * shrink + weight;
            weights[unit] = weight * mask(&chances, (first + i) * heads.count + head, key + j, kind);
            #[unroll]
            for a in 0..comptime!(kind.padded / SIDE) {
                sums[a] *= shrink;
            }
            top = higher;
            sync_cube();
            add_weighted(&mut sums, &weights, &other, false, kind.padded);
            sync_cube();
            key += SIDE;
        }
        scores[unit] = all;
        sync_cube();
        let mut total = 0.0f32;
        #[unroll]
        for part in 0..SIDE {
            total += scores[i * SIDE + part];
        }
        // A query without a key gives zeros; its log-sum-exp is that of nothing, minus infinity.
        let mut inverse = f32::new(0.0);
        if total > 0.0 {
            inverse = 1.0 / total;
        }
        #[unroll]
        for a in 0..comptime!(kind.padded / SIDE) {
            if i < rows && a * SIDE + j < heads.width {
                o[(first + i) * wide + head * heads.width + a * SIDE + j] = sums[a] * inverse;
            }
        }
        if i < rows && j == 0 {
            lse[(first + i) * heads.count + head] = top + total.ln();
        }
    }
}
