//! Scaled dot-product attention over ragged sequences, grouped heads, any number of keys before the queries.
//!
//! ```text
//! s_ij = scale * q_i . k_j,   P = softmax over the allowed j,   o_i = sum_j P_ij v_j      (Vaswani et al. 2017, eq. 1)
//! dV = P^T g    dP = g V^T    dS = P * (dP - rowsum(g * o))    dq = scale * dS k    dk = scale * dS^T q
//! ```
//! A cube takes [`SIDE`] queries of one head through their keys, [`SIDE`] at a time, with the softmax computed on the way
//! (Milakov & Gimelshein 2018); a unit owns four scores of a row and a quarter of a row of the result. The backward pass computes
//! P again from the log-sum-exp (Dao et al. 2022), once by queries for dq and once by keys for dk and dv, each in a fixed
//! order: nothing of t x t values is kept, and no sum depends on who comes first.

mod backward;
mod forward;
mod tile;

use crate::context::DeviceContext;
use crate::launch::{LAVAPIPE_LOOP_LIMIT, Launch, LoopBudget, Operand, cube, grid, units};
use crate::ops::dropout::{ChancesLaunch, chances};
use clinpeft_tensor::ops::{AttentionShape, CuSeqlens, Mask};
use clinpeft_tensor::rng::Key;
use clinpeft_tensor::{Result, Tensor};
use cubecl::prelude::*;

use backward::{deltas, keys_backward, queries_backward};
use tile::{HeadsLaunch, Kind, RECORD, SIDE, UNITS};

/// Widest head: three tiles of it lie in shared memory.
const WIDEST: usize = 128;

/// Which queries and keys a cube takes.
struct Plan<'a> {
    shape: &'a AttentionShape,
    cu_seqlens: &'a CuSeqlens,
    kind: Kind,
}

impl<'a> Plan<'a> {
    /// Errors if a head is too wide, or a sequence too long for the loops of the device.
    fn new<R: Runtime>(work: &Launch<'_, R>, shape: &'a AttentionShape, cu_seqlens: &'a CuSeqlens) -> Result<Plan<'a>> {
        let padded = shape.head_width.next_multiple_of(SIDE).max(SIDE);
        if padded > WIDEST {
            let what = format!(
                "{}: heads of width {} are wider than {WIDEST}\nhint: use `--device cpu`",
                work.op, shape.head_width
            );
            return Err(work.device.error(what));
        }
        let length = |o: &[usize]| o.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0);
        let longest = length(&cu_seqlens.queries).max(length(&cu_seqlens.keys));
        let group = shape.heads / shape.kv_heads;
        // Two products of rows and two weighted sums to a tile, and the tile itself.
        let iterations = group * longest.div_ceil(SIDE) * (2 * padded / SIDE + 2 * SIDE / 4 + 1) + group;
        if work.device.loops == LoopBudget::Limited && iterations > LAVAPIPE_LOOP_LIMIT {
            let what = format!("{}: sequences of {longest} tokens are too long\nhint: use `--device cpu`", work.op);
            return Err(work.device.error(what));
        }
        let kind = Kind {
            padded,
            causal: shape.mask != Mask::Full,
            windowed: matches!(shape.mask, Mask::SlidingWindow(_)),
            dropout: shape.dropout.is_some(),
        };
        Ok(Plan { shape, cu_seqlens, kind })
    }

    /// A record for each block of rows of `own`, with the rows of `other` beside it.
    fn blocks(own: &[usize], other: &[usize]) -> Vec<u32> {
        let mut all = Vec::new();
        for (own, other) in own.windows(2).zip(other.windows(2)) {
            let rows = own[1] - own[0];
            for place in (0..rows).step_by(SIDE) {
                let record = [own[0] + place, place, rows, other[0], other[1] - other[0]];
                all.extend(record.map(|n| n as u32));
            }
        }
        all
    }

    fn heads<R: Runtime>(&self) -> HeadsLaunch<R> {
        let s = self.shape;
        // More than all keys is all keys, and adds up within 32 bits.
        let all = self.cu_seqlens.keys.last().copied().unwrap_or_default();
        let window = if let Mask::SlidingWindow(window) = s.mask { window.min(all) } else { all };
        HeadsLaunch::new(s.heads, s.heads / s.kv_heads, s.head_width, window, s.scale as f32)
    }

    fn chances<R: Runtime>(&self) -> ChancesLaunch<R> {
        let (rate, key) = self.shape.dropout.map_or((0.0, Key([0, 0])), |d| (d.rate, d.key));
        chances(rate, key)
    }
}

/// Returns (o, log-sum-exp).
pub(crate) fn attention<R: Runtime>(
    device: &DeviceContext<R>,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    shape: &AttentionShape,
    cu_seqlens: &CuSeqlens,
) -> Result<(Tensor, Tensor)> {
    let work = device.begin("attention")?;
    let plan = Plan::new(&work, shape, cu_seqlens)?;
    let (qs, ks, vs) = (work.input(q)?, work.input(k)?, work.input(v)?);
    let ((o, os), (lse, ls)) = (work.output(q.dims())?, work.output(&[q.dims()[0], shape.heads])?);
    let blocks = Plan::blocks(&cu_seqlens.queries, &cu_seqlens.keys);
    let cubes = blocks.len() / RECORD * shape.heads;
    if cubes > 0 {
        let blocks = work.numbers(&blocks)?;
        work.run(|compute| {
            let (q, k, v) = (qs.array(), ks.array(), vs.array());
            let (b, o, l, heads) = (blocks.array(), os.array(), ls.array(), plan.heads());
            forward::forward::launch::<R>(
                compute,
                grid(cubes),
                CubeDim::new_1d(UNITS),
                q,
                k,
                v,
                b,
                o,
                l,
                heads,
                plan.chances(),
                plan.kind,
            );
        })?;
    }
    Ok((o, lse))
}

/// Returns (dq, dk, dv). `saved` is `[q, k, v, o, log-sum-exp]` of the forward pass.
pub(crate) fn attention_backward<R: Runtime>(
    device: &DeviceContext<R>,
    g: &Tensor,
    saved: [&Tensor; 5],
    shape: &AttentionShape,
    cu_seqlens: &CuSeqlens,
) -> Result<(Tensor, Tensor, Tensor)> {
    let [q, k, v, o, lse] = saved;
    let work = device.begin("attention_backward")?;
    let plan = Plan::new(&work, shape, cu_seqlens)?;
    let of = Saved {
        q: work.input(q)?,
        k: work.input(k)?,
        v: work.input(v)?,
        g: work.input(g)?,
        lse: work.input(lse)?,
        delta: work.scratch(lse.dims())?,
    };
    let os = work.input(o)?;
    let (dq, dqs) = work.output(q.dims())?;
    let ((dk, dks), (dv, dvs)) = (work.output(k.dims())?, work.output(v.dims())?);
    work.run(|compute| {
        let (g, o, delta) = (of.g.array(), os.array(), of.delta.array());
        deltas::launch::<R>(compute, units(lse.count()), cube(), g, o, delta, shape.head_width);
    })?;
    by_queries(&work, &plan, &of, &dqs)?;
    by_keys(&work, &plan, &of, [&dks, &dvs])?;
    Ok((dq, dk, dv))
}

/// What both kernels of the backward pass read.
struct Saved {
    q: Operand,
    k: Operand,
    v: Operand,
    g: Operand,
    lse: Operand,
    delta: Operand,
}

fn by_queries<R: Runtime>(work: &Launch<'_, R>, plan: &Plan<'_>, of: &Saved, dq: &Operand) -> Result<()> {
    let blocks = Plan::blocks(&plan.cu_seqlens.queries, &plan.cu_seqlens.keys);
    let cubes = blocks.len() / RECORD * plan.shape.heads;
    if cubes == 0 {
        return Ok(());
    }
    let blocks = work.numbers(&blocks)?;
    work.run(|compute| {
        let (q, k, v, g) = (of.q.array(), of.k.array(), of.v.array(), of.g.array());
        let (l, d, b, to) = (of.lse.array(), of.delta.array(), blocks.array(), dq.array());
        let (heads, chances) = (plan.heads(), plan.chances());
        let units = CubeDim::new_1d(UNITS);
        queries_backward::launch::<R>(compute, grid(cubes), units, q, k, v, g, l, d, b, to, heads, chances, plan.kind);
    })
}

fn by_keys<R: Runtime>(work: &Launch<'_, R>, plan: &Plan<'_>, of: &Saved, [dk, dv]: [&Operand; 2]) -> Result<()> {
    let blocks = Plan::blocks(&plan.cu_seqlens.keys, &plan.cu_seqlens.queries);
    let cubes = blocks.len() / RECORD * plan.shape.kv_heads;
    if cubes == 0 {
        return Ok(());
    }
    let blocks = work.numbers(&blocks)?;
    work.run(|compute| {
        let (q, k, v, g) = (of.q.array(), of.k.array(), of.v.array(), of.g.array());
        let (l, d, b) = (of.lse.array(), of.delta.array(), blocks.array());
        let (dk, dv, heads, chances) = (dk.array(), dv.array(), plan.heads(), plan.chances());
        keys_backward::launch::<R>(
            compute,
            grid(cubes),
            CubeDim::new_1d(UNITS),
            q,
            k,
            v,
            g,
            l,
            d,
            b,
            dk,
            dv,
            heads,
            chances,
            plan.kind,
        );
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_every_row_once_and_know_their_sequence() {
        let blocks = Plan::blocks(&[0, 0, 17, 20], &[0, 3, 30, 40]);
        let records: Vec<&[u32]> = blocks.chunks(RECORD).collect();
        assert_eq!(records, [&[0, 0, 17, 3, 27][..], &[16, 16, 17, 3, 27], &[17, 0, 3, 30, 10]]);
    }
}
