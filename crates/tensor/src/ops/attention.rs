//! Scaled dot-product attention over ragged sequences, grouped heads, any number of keys before the queries.
//!
//! ```text
//! s_ij = scale * q_i . k_j,   P = softmax over the allowed j,   o_i = sum_j P_ij v_j      (Vaswani et al. 2017, eq. 1)
//! dV = P^T g    dP = g V^T    dS = P * (dP - rowsum(g * o))    dq = scale * dS k    dk = scale * dS^T q
//! q, o, g: [tq, h*d]    k, v: [tk, kv*d]    log-sum-exp: [tq, h]
//! ```
//! Sequences lie one after another; [`CuSeqlens`] says where each begins, for queries and keys apart. With [`Mask::Causal`]
//! the last query of a sequence sees its last key, so keys in excess (a prefix) are seen by every query; with
//! [`Mask::SlidingWindow`] the window may end behind them. The backward pass computes P again from the log-sum-exp (Dao et
//! al. 2022), so no t x t matrix is kept. A query without any allowed key gives zeros.
//!
//! With dropout (section 5.4) P is multiplied, element by element, with a mask Z of zeros and 1 / (1 - rate) behind the
//! softmax; then dV = (P Z)^T g, and dP = Z * (g V^T), while rowsum(g * o) = rowsum(P * dP) as before.

use super::{require, same_device, same_dtype};
use crate::buffer::Buffer;
use crate::gemm::{AlphaBeta, MatrixView, RhsPanels, Sizes};
use crate::parallel::vectorised;
use crate::params::{AttentionDropout, AttentionShape, CuSeqlens, Mask};
use crate::real::{Real, dot, largest, sum};
use crate::{Device, Result, Tensor};
use clinpeft_rng::philox;
use rayon::prelude::*;
use std::ops::Range;

impl AttentionDropout {
    /// Multiplies the weights of one query row with their mask.
    #[inline(always)]
    fn apply<T: Real>(&self, weights: &mut [T], row: u64) {
        let threshold = (self.rate * 4_294_967_296.0) as u32;
        let keep = T::from_f64(1.0 / (1.0 - self.rate));
        for (block, four) in weights.chunks_mut(4).enumerate() {
            let words = philox(self.key, (row << 32) | block as u64);
            for (w, word) in four.iter_mut().zip(words) {
                *w = if word >= threshold { *w * keep } else { T::ZERO };
            }
        }
    }
}

impl CuSeqlens {
    /// Whether these are offsets of so many queries and keys.
    fn fit(&self, tq: usize, tk: usize) -> bool {
        let grows = |o: &[usize], end: usize| {
            o.first() == Some(&0) && o.last() == Some(&end) && o.windows(2).all(|w| w[0] <= w[1])
        };
        self.queries.len() == self.keys.len() && grows(&self.queries, tq) && grows(&self.keys, tk)
    }
}

/// Returns (o, log-sum-exp). Errors if shapes or segments do not fit.
pub fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    shape: &AttentionShape,
    cu_seqlens: &CuSeqlens,
) -> Result<(Tensor, Tensor)> {
    upcast!(q, k, v);
    check("attention", q, k, v, shape, cu_seqlens)?;
    match same_device("attention", &[q, k, v])? {
        Device::Other(backend) => backend.attention(q, k, v, shape, cu_seqlens),
        Device::Cpu => by_float!("attention", q, T => {
            let (qs, ks, vs) = (q.as_slice::<T>()?, k.as_slice::<T>()?, v.as_slice::<T>()?);
            let (tq, wide) = (q.dims()[0], q.dims()[1]);
            let (mut out, mut lse) = (Buffer::<T>::zeros(tq * wide), vec![T::ZERO; tq * shape.heads]);
            let outs = split(&mut out, &cu_seqlens.queries, wide);
            let lses = split(&mut lse, &cu_seqlens.queries, shape.heads);
            let narrow = k.dims()[1];
            outs.into_par_iter().zip(lses).enumerate().for_each(|(s, (out, lse))| {
                let one = Sequence::new(s, cu_seqlens, qs, ks, vs, (wide, narrow), shape);
                for kv in 0..shape.kv_heads {
                    one.forward(kv, out, lse);
                }
            });
            Ok((Tensor::from_buffer(out, q.dims())?, Tensor::from_vec(lse, &[tq, shape.heads])?))
        }),
    }
}

/// Returns (dq, dk, dv). `saved` is `[q, k, v, o, log-sum-exp]` of the forward pass.
pub fn attention_backward(
    g: &Tensor,
    saved: [&Tensor; 5],
    shape: &AttentionShape,
    cu_seqlens: &CuSeqlens,
) -> Result<(Tensor, Tensor, Tensor)> {
    upcast!(g);
    let [q, k, v, o, lse] = saved;
    upcast!(q, k, v, o, lse);
    let saved = [q, k, v, o, lse];
    check("attention_backward", q, k, v, shape, cu_seqlens)?;
    let fits = g.dims() == q.dims() && o.dims() == q.dims() && lse.dims() == [q.dims()[0], shape.heads];
    require(fits, "attention_backward", "g and o like q, lse [tq, h]", &[g, q, o, lse])?;
    match same_device("attention_backward", &[g, q, k, v, o, lse])? {
        Device::Other(backend) => backend.attention_backward(g, saved, shape, cu_seqlens),
        Device::Cpu => by_float!("attention_backward", q, T => {
            let (qs, ks, vs) = (q.as_slice::<T>()?, k.as_slice::<T>()?, v.as_slice::<T>()?);
            let (gs, os, ls) = (g.as_slice::<T>()?, o.as_slice::<T>()?, lse.as_slice::<T>()?);
            let (wide, narrow) = (q.dims()[1], k.dims()[1]);
            let (mut dq, mut dk, mut dv) = (Buffer::<T>::zeros(qs.len()), Buffer::<T>::zeros(ks.len()), Buffer::<T>::zeros(vs.len()));
            let parts = split(&mut dq, &cu_seqlens.queries, wide)
                .into_par_iter()
                .zip(split(&mut dk, &cu_seqlens.keys, narrow))
                .zip(split(&mut dv, &cu_seqlens.keys, narrow));
            parts.enumerate().for_each(|(s, ((dq, dk), dv))| {
                let one = Sequence::new(s, cu_seqlens, qs, ks, vs, (wide, narrow), shape);
                let rows = cu_seqlens.queries[s]..cu_seqlens.queries[s + 1];
                let (g, o) = (&gs[rows.start * wide..rows.end * wide], &os[rows.start * wide..rows.end * wide]);
                let lse = &ls[rows.start * shape.heads..rows.end * shape.heads];
                for kv in 0..shape.kv_heads {
                    one.backward(kv, (g, o, lse), dq, dk, dv);
                }
            });
            Ok((Tensor::from_buffer(dq, q.dims())?, Tensor::from_buffer(dk, k.dims())?, Tensor::from_buffer(dv, v.dims())?))
        }),
    }
}

fn check(
    op: &'static str,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    s: &AttentionShape,
    cu_seqlens: &CuSeqlens,
) -> Result<()> {
    let fits = match (q.dims(), k.dims()) {
        (&[tq, wide], &[tk, narrow]) => {
            wide == s.heads * s.head_width
                && narrow == s.kv_heads * s.head_width
                && s.kv_heads > 0
                && s.heads.is_multiple_of(s.kv_heads)
                && v.dims() == k.dims()
                && cu_seqlens.fit(tq, tk)
                && s.mask != Mask::SlidingWindow(0)
                && s.dropout.is_none_or(|d| (0.0..1.0).contains(&d.rate))
        }
        _ => false,
    };
    require(
        fits,
        op,
        "q [tq, h*d], k and v [tk, kv*d], h a multiple of kv, cu_seqlens that cover them, a window above 0, a dropout in [0, 1)",
        &[q, k, v],
    )?;
    same_dtype(op, &[q, k, v])
}

/// Cuts `values` at `offsets` rows.
fn split<'a, T>(mut values: &'a mut [T], offsets: &[usize], width: usize) -> Vec<&'a mut [T]> {
    let mut parts = Vec::with_capacity(offsets.len());
    for w in offsets.windows(2) {
        let (head, tail) = values.split_at_mut((w[1] - w[0]) * width);
        parts.push(head);
        values = tail;
    }
    parts
}

/// Query rows handled at once: with a causal mask, keys behind the block are skipped.
const BLOCK: usize = 24;

/// One sequence of the batch.
struct Sequence<'a, T> {
    q: &'a [T],
    k: &'a [T],
    v: &'a [T],
    /// Row of the first query in the batch.
    origin: usize,
    queries: usize,
    keys: usize,
    wide: usize,
    narrow: usize,
    shape: &'a AttentionShape,
}

impl<'a, T: Real> Sequence<'a, T> {
    fn new(
        s: usize,
        cu_seqlens: &CuSeqlens,
        q: &'a [T],
        k: &'a [T],
        v: &'a [T],
        (wide, narrow): (usize, usize),
        shape: &'a AttentionShape,
    ) -> Self {
        let (a, b) = (cu_seqlens.queries[s], cu_seqlens.queries[s + 1]);
        let (c, d) = (cu_seqlens.keys[s], cu_seqlens.keys[s + 1]);
        Sequence {
            q: &q[a * wide..b * wide],
            k: &k[c * narrow..d * narrow],
            v: &v[c * narrow..d * narrow],
            origin: a,
            queries: b - a,
            keys: d - c,
            wide,
            narrow,
            shape,
        }
    }

    /// Keys that query `i` sees.
    fn visible(&self, i: usize) -> Range<usize> {
        let causal = (self.keys + i + 1).saturating_sub(self.queries).min(self.keys);
        match self.shape.mask {
            Mask::Full => 0..self.keys,
            Mask::Causal => 0..causal,
            Mask::SlidingWindow(window) => causal.saturating_sub(window)..causal,
        }
    }

    /// The weights of query `i` through the mask of their dropout.
    #[inline(always)]
    fn drop(&self, weights: &mut [T], i: usize, head: usize) {
        if let Some(dropout) = &self.shape.dropout {
            dropout.apply(weights, ((self.origin + i) * self.shape.heads + head) as u64);
        }
    }

    /// Rows of one head from row `first`.
    fn head<'b>(&self, values: &'b [T], first: usize, head: usize, width: usize) -> MatrixView<'b, T> {
        let start = (first * width + head * self.shape.head_width).min(values.len());
        MatrixView { values: &values[start..], stride: width, k_stride: 1 }
    }

    /// Keys or values of a head, as columns.
    fn columns<'b>(&self, values: &'b [T], kv: usize) -> RhsPanels<'b, T> {
        T::rhs_panels(self.head(values, 0, kv, self.narrow), self.shape.head_width, self.keys)
    }

    /// Keys or values of a head, by rows.
    fn rows<'b>(&self, values: &'b [T], kv: usize) -> RhsPanels<'b, T> {
        T::rhs_panels(self.head(values, 0, kv, self.narrow).transposed(), self.keys, self.shape.head_width)
    }

    /// The blocks of queries: the first, how many, and how many keys are up to the last one's last.
    fn blocks(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        (0..self.queries).step_by(BLOCK).map(|first| {
            let rows = BLOCK.min(self.queries - first);
            (first, rows, self.visible(first + rows - 1).end)
        })
    }

    /// Scaled products of `rows` queries of one head with the first `keys` keys.
    fn scores(&self, head: usize, (first, rows, keys): (usize, usize, usize), k: &RhsPanels<'_, T>, s: &mut [T]) {
        let q = self.head(self.q, first, head, self.wide);
        let sizes = Sizes { m: rows, k: self.shape.head_width, n: keys };
        T::block(q, k, s, keys, sizes, AlphaBeta { beta: T::ZERO, alpha: T::from_f64(self.shape.scale) });
    }

    /// All query heads that share the keys and values `kv`.
    fn forward(&self, kv: usize, out: &mut [T], lse: &mut [T]) {
        let (d, h) = (self.shape.head_width, self.shape.heads);
        let group = h / self.shape.kv_heads;
        let (k, v) = (self.columns(self.k, kv), self.rows(self.v, kv));
        let mut scores = vec![T::ZERO; BLOCK * self.keys];
        for head in kv * group..(kv + 1) * group {
            for (first, rows, keys) in self.blocks() {
                if keys == 0 {
                    for i in first..first + rows {
                        lse[i * h + head] = T::NEG_INFINITY;
                    }
                    continue;
                }
                let s = &mut scores[..rows * keys];
                self.scores(head, (first, rows, keys), &k, s);
                vectorised(
                    #[inline(always)]
                    || {
                        for (i, row) in s.chunks_exact_mut(keys).enumerate() {
                            lse[(first + i) * h + head] = softmax_row(row, self.visible(first + i));
                            self.drop(row, first + i, head);
                        }
                    },
                );
                let p = MatrixView { values: &s[..], stride: keys, k_stride: 1 };
                let out = &mut out[first * self.wide + head * d..];
                let sizes = Sizes { m: rows, k: keys, n: d };
                T::block(p, &v, out, self.wide, sizes, AlphaBeta { beta: T::ZERO, alpha: T::ONE });
            }
        }
    }

    /// All query heads that share the keys and values `kv`.
    fn backward(&self, kv: usize, (g, o, lse): (&[T], &[T], &[T]), dq: &mut [T], dk: &mut [T], dv: &mut [T]) {
        let (d, h) = (self.shape.head_width, self.shape.heads);
        let group = h / self.shape.kv_heads;
        let (k, v, k_rows) = (self.columns(self.k, kv), self.columns(self.v, kv), self.rows(self.k, kv));
        let (mut all_p, mut all_dp) = (vec![T::ZERO; BLOCK * self.keys], vec![T::ZERO; BLOCK * self.keys]);
        let scale = T::from_f64(self.shape.scale);
        for head in kv * group..(kv + 1) * group {
            for (first, rows, keys) in self.blocks().filter(|(_, _, keys)| *keys > 0) {
                let (p, dp) = (&mut all_p[..rows * keys], &mut all_dp[..rows * keys]);
                self.scores(head, (first, rows, keys), &k, p);
                let gm = self.head(g, first, head, self.wide);
                let by_rows = Sizes { m: rows, k: d, n: keys };
                T::block(gm, &v, dp, keys, by_rows, AlphaBeta { beta: T::ZERO, alpha: T::ONE });
                vectorised(
                    #[inline(always)]
                    || {
                        for i in 0..rows {
                            let at = (first + i) * self.wide + head * d;
                            let delta = dot(&g[at..at + d], &o[at..at + d]);
                            let row = i * keys..(i + 1) * keys;
                            let l = lse[(first + i) * h + head];
                            let (p, dp) = (&mut p[row.clone()], &mut dp[row]);
                            self.drop(dp, first + i, head);
                            slope_row(p, dp, self.visible(first + i), l, delta);
                            self.drop(p, first + i, head);
                        }
                    },
                );
                let by_keys = |values| MatrixView { values, stride: keys, k_stride: 1 };
                let (ds, p) = (by_keys(&dp[..]), by_keys(&p[..]));
                let dq = &mut dq[first * self.wide + head * d..];
                let set = AlphaBeta { beta: T::ZERO, alpha: scale };
                T::block(ds, &k_rows, dq, self.wide, Sizes { m: rows, k: keys, n: d }, set);
                let q = T::rhs_panels(self.head(self.q, first, head, self.wide).transposed(), rows, d);
                let sizes = Sizes { m: keys, k: rows, n: d };
                let (dk, dv) = (&mut dk[kv * d..], &mut dv[kv * d..]);
                T::block(ds.transposed(), &q, dk, self.narrow, sizes, AlphaBeta { beta: T::ONE, alpha: scale });
                let g = T::rhs_panels(gm.transposed(), rows, d);
                T::block(p.transposed(), &g, dv, self.narrow, sizes, AlphaBeta { beta: T::ONE, alpha: T::ONE });
            }
        }
    }
}

/// Softmax of the `visible` scores in place, zeros around them; returns the log-sum-exp.
#[inline(always)]
fn softmax_row<T: Real>(row: &mut [T], visible: Range<usize>) -> T {
    row[..visible.start].fill(T::ZERO);
    row[visible.end..].fill(T::ZERO);
    let seen = &mut row[visible];
    if seen.is_empty() {
        return T::NEG_INFINITY;
    }
    let top = largest(seen);
    for s in seen.iter_mut() {
        *s = (*s - top).exp();
    }
    let total = sum(seen);
    let inverse = T::ONE / total;
    for s in seen.iter_mut() {
        *s = *s * inverse;
    }
    top + total.ln()
}

/// Scores become P, and dP becomes dS, for one query.
#[inline(always)]
fn slope_row<T: Real>(p: &mut [T], dp: &mut [T], visible: Range<usize>, lse: T, delta: T) {
    for i in visible.clone() {
        p[i] = (p[i] - lse).exp();
        dp[i] = p[i] * (dp[i] - delta);
    }
    for values in [p, dp] {
        values[..visible.start].fill(T::ZERO);
        values[visible.end..].fill(T::ZERO);
    }
}

#[cfg(test)]
mod tests;
