//! Weighted cross-entropy over classes, summed over rows; and the same fused with a language-model head.
//!
//! ```text
//! loss = sum_i w_i (ln sum_j exp z_ij - z_i,target)          z: [n, c]   targets: u32 [n]   w: [n]
//! dz_ij = g * w_i (softmax(z_i)_j - [j = target_i])
//! ```
//! [`linear_cross_entropy`] computes z = x H^T for a few rows at a time and keeps only dx (and dH where the head is trainable),
//! so the logits of a long batch over a large vocabulary never exist at once. A row of weight zero costs nothing.

use super::matmul::gemm;
use super::{Layout, check_ids, matmul, require, require_dtype, same_device, same_dtype, tensor};
use crate::buffer::Buffer;
use crate::gemm::{AlphaBeta, Sizes};
use crate::parallel::for_rows2;
use crate::real::{Real, largest, sum};
use crate::{Device, Result, Tensor};

/// Returns (loss `[1]`, dz for g = 1). Errors if a target is not a class, or shapes differ.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor, weights: &Tensor) -> Result<(Tensor, Tensor)> {
    upcast!(logits, weights);
    let all = [logits, targets, weights];
    let fits = matches!((logits.dims(), targets.dims(), weights.dims()), (&[n, _], &[nt], &[nw]) if n == nt && n == nw);
    require(fits, "cross_entropy", "logits [n, c], targets [n], weights [n]", &all)?;
    same_dtype("cross_entropy", &[logits, weights])?;
    require_dtype("cross_entropy", targets, crate::DType::U32)?;
    match same_device("cross_entropy", &all)? {
        Device::Other(backend) => backend.cross_entropy(logits, targets, weights),
        Device::Cpu => {
            let at = targets.as_slice::<u32>()?;
            check_ids("cross_entropy", at, logits.dims()[1])?;
            by_float!("cross_entropy", logits, T => {
                let mut z = logits.as_slice::<T>()?.to_vec();
                let loss = rows_in_place(&mut z, logits.dims()[1], at, weights.as_slice::<T>()?);
                Ok((Tensor::scalar(loss, logits.dtype()), tensor(z, logits.shape())?))
            })
        }
    }
}

/// Loss of `x head^T` (x `[n, d]`, head `[c, d]`) without the full logits. Returns (loss `[1]`, dx, dhead), the last two
/// for g = 1 and only where `want` (x, head) asks.
pub fn linear_cross_entropy(
    x: &Tensor,
    head: &Tensor,
    targets: &Tensor,
    weights: &Tensor,
    want: [bool; 2],
) -> Result<(Tensor, Option<Tensor>, Option<Tensor>)> {
    upcast!(x, weights);
    let all = [x, head, targets, weights];
    let fits = matches!((x.dims(), head.dims(), targets.dims(), weights.dims()),
        (&[n, d], &[_, dh], &[nt], &[nw]) if n == nt && n == nw && d == dh);
    require(fits, "linear_cross_entropy", "x [n, d], head [c, d], targets [n], weights [n]", &all)?;
    same_dtype("linear_cross_entropy", &[x, weights])?;
    require_dtype("linear_cross_entropy", targets, crate::DType::U32)?;
    match same_device("linear_cross_entropy", &all)? {
        Device::Other(backend) => backend.linear_cross_entropy(x, head, targets, weights, want),
        Device::Cpu => {
            check_ids("linear_cross_entropy", targets.as_slice::<u32>()?, head.dims()[0])?;
            by_float!("linear_cross_entropy", x, T => fused::<T>(x, head, targets, weights, want))
        }
    }
}

/// Rows of logits that exist at once.
const CHUNK: usize = 256;

fn fused<T: Real>(
    x: &Tensor,
    head: &Tensor,
    targets: &Tensor,
    weights: &Tensor,
    want: [bool; 2],
) -> Result<(Tensor, Option<Tensor>, Option<Tensor>)> {
    let (d, classes) = (x.dims()[1], head.dims()[0]);
    let (xs, at, w) = (x.as_slice::<T>()?, targets.as_slice::<u32>()?, weights.as_slice::<T>()?);
    let used: Vec<usize> = (0..at.len()).filter(|i| w[*i] != T::ZERO).collect();
    let mut dx = want[0].then(|| Buffer::<T>::zeros(xs.len()));
    let mut dhead = want[1].then(|| vec![T::ZERO; classes * d]);
    let mut loss = 0.0;
    for rows in used.chunks(CHUNK) {
        let mut part = Buffer::<T>::uninit(rows.len() * d);
        for (to, row) in part.chunks_exact_mut(d.max(1)).zip(rows) {
            to.copy_from_slice(&xs[row * d..(row + 1) * d]);
        }
        let part = Tensor::from_buffer(part, &[rows.len(), d])?;
        let mut z = matmul(&part, head, Layout::RightTransposed)?;
        let (a, b): (Vec<u32>, Vec<T>) = rows.iter().map(|r| (at[*r], w[*r])).unzip();
        loss += rows_in_place(z.as_mut_slice::<T>()?, classes, &a, &b);
        if let Some(dx) = &mut dx {
            let g = matmul(&z, head, Layout::Normal)?;
            for (row, g) in rows.iter().zip(g.as_slice::<T>()?.chunks_exact(d)) {
                dx[row * d..(row + 1) * d].copy_from_slice(g);
            }
        }
        if let Some(dhead) = &mut dhead {
            let size = Sizes { m: classes, k: rows.len(), n: d };
            let add = AlphaBeta { alpha: T::ONE, beta: T::ONE };
            gemm(z.as_slice::<T>()?, part.as_slice::<T>()?, dhead, size, Layout::LeftTransposed, add);
        }
    }
    let dx = dx.map(|v| Tensor::from_buffer(v, x.dims())).transpose()?;
    let dhead = dhead.map(|v| tensor(v, head.shape())).transpose()?;
    Ok((Tensor::scalar(loss, x.dtype()), dx, dhead))
}

/// Turns logits into their gradients in place; returns the summed loss.
fn rows_in_place<T: Real>(z: &mut [T], classes: usize, targets: &[u32], weights: &[T]) -> f64 {
    let mut losses = vec![T::ZERO; targets.len()];
    for_rows2(
        z,
        classes,
        &mut losses,
        1,
        #[inline(always)]
        |first, z, losses| {
            for ((i, z), loss) in z.chunks_exact_mut(classes).enumerate().zip(losses) {
                let (target, weight) = (targets[first + i] as usize, weights[first + i]);
                *loss = row_in_place(z, target, weight);
            }
        },
    );
    losses.iter().map(|l| l.to_f64()).sum()
}

#[inline(always)]
fn row_in_place<T: Real>(z: &mut [T], target: usize, weight: T) -> T {
    let top = largest(z);
    let picked = z[target] - top;
    for v in z.iter_mut() {
        *v = (*v - top).exp();
    }
    let total = sum(z);
    let factor = weight / total;
    for v in z.iter_mut() {
        *v = *v * factor;
    }
    z[target] -= weight;
    weight * (total.ln() - picked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    #[test]
    fn fused_head_equals_logits_then_loss() {
        let mut s = clinpeft_rng::Seed(3).stream("ce");
        let mut fill = |n: usize| (0..n).map(|_| clinpeft_rng::normal(&mut s)).collect::<Vec<f64>>();
        let x = Tensor::from_vec(fill(7 * 4), &[7, 4]).unwrap();
        let head = Tensor::from_vec(fill(9 * 4), &[9, 4]).unwrap();
        let targets = Tensor::from_vec(vec![0u32, 8, 3, 3, 1, 5, 2], &[7]).unwrap();
        let weights = Tensor::from_vec(vec![1.0f64, 0.0, 2.0, 1.0, 1.0, 0.5, 1.0], &[7]).unwrap();
        let z = matmul(&x, &head, Layout::RightTransposed).unwrap();
        let (want, dz) = cross_entropy(&z, &targets, &weights).unwrap();
        let (got, dx, dh) = linear_cross_entropy(&x, &head, &targets, &weights, [true, true]).unwrap();
        assert!((want.item().unwrap() - got.item().unwrap()).abs() < 1e-12);
        let close = |a: &Tensor, b: &Tensor| {
            a.to_f64_vec().unwrap().iter().zip(b.to_f64_vec().unwrap()).all(|(x, y)| (x - y).abs() < 1e-12)
        };
        assert!(close(&dx.unwrap(), &matmul(&dz, &head, Layout::Normal).unwrap()));
        assert!(close(&dh.unwrap(), &matmul(&dz, &x, Layout::LeftTransposed).unwrap()));
    }

    #[test]
    fn uniform_logits_cost_the_log_of_the_classes() {
        let z = Tensor::zeros(&[2, 8], DType::F32);
        let t = Tensor::from_vec(vec![0u32, 7], &[2]).unwrap();
        let w = Tensor::from_vec(vec![1.0f32; 2], &[2]).unwrap();
        let (loss, _) = cross_entropy(&z, &t, &w).unwrap();
        assert!((loss.item().unwrap() - 2.0 * 8f64.ln()).abs() < 1e-6);
        assert!(cross_entropy(&z, &Tensor::from_vec(vec![8u32, 0], &[2]).unwrap(), &w).is_err());
    }
}
