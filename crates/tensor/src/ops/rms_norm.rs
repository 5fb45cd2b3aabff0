//! Root-mean-square normalisation (Zhang & Sennrich 2019, eq. 4).
//!
//! ```text
//! y = w * n,  n = x / r,  r = sqrt(mean(x^2) + eps)              x: [.., d]   w: [d]
//! dx = (w*g - n * mean(w*g*n)) / r        dw = sum over rows of g * n
//! ```

use super::operands;
use crate::buffer::Buffer;
use crate::parallel::{for_rows, for_rows2, vectorised};
use crate::real::{Real, dot};
use crate::{Device, Element, Result, Tensor};

/// Returns (y, 1/r for each row). Errors if `weight` does not have the width of `x`.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<(Tensor, Tensor)> {
    upcast!(x, weight);
    let (rows, d) = x.rows_and_width();
    match operands("rms_norm", weight.dims() == [d], "x [.., d] and weight [d]", &[x, weight])? {
        Device::Other(backend) => backend.rms_norm(x, weight, eps),
        Device::Cpu => by_float!("rms_norm", x, T => {
            let (values, w) = (x.as_slice::<T>()?, weight.as_slice::<T>()?);
            let (mut y, mut inv) = (Buffer::<T>::uninit(rows * d), vec![T::ZERO; rows]);
            for_rows2(&mut y, d, &mut inv, 1, #[inline(always)] |first, y, inv| forward(&values[first * d..], w, T::from_f64(eps), y, inv));
            Ok((Tensor::from_buffer(y, x.dims())?, Tensor::from_vec(inv, &[rows])?))
        }),
    }
}

/// Returns (dx, dw) from the gradient `g` of y and the 1/r that [`rms_norm`] returned.
pub fn rms_norm_backward(g: &Tensor, x: &Tensor, weight: &Tensor, inv_rms: &Tensor) -> Result<(Tensor, Tensor)> {
    upcast!(g, x, weight, inv_rms);
    let (rows, d) = x.rows_and_width();
    let fits = g.dims() == x.dims() && weight.dims() == [d] && inv_rms.dims() == [rows];
    let shapes = "g and x [.., d], weight [d], inv_rms [rows]";
    match operands("rms_norm_backward", fits, shapes, &[g, x, weight, inv_rms])? {
        Device::Other(backend) => backend.rms_norm_backward(g, x, weight, inv_rms),
        Device::Cpu => by_float!("rms_norm_backward", x, T => {
            let (gs, xs) = (g.as_slice::<T>()?, x.as_slice::<T>()?);
            let (w, inv) = (weight.as_slice::<T>()?, inv_rms.as_slice::<T>()?);
            let mut dx = Buffer::<T>::uninit(rows * d);
            for_rows(&mut dx, d, #[inline(always)] |first, dx| backward_x(&gs[first * d..], &xs[first * d..], w, &inv[first..], dx));
            let dw = vectorised(#[inline(always)] || backward_weight(gs, xs, inv, d));
            Ok((Tensor::from_buffer(dx, x.dims())?, Tensor::from_vec(dw, &[d])?))
        }),
    }
}

#[inline(always)]
fn forward<T: Real>(x: &[T], w: &[T], eps: T, y: &mut [T], inv: &mut [T]) {
    let d = w.len();
    for ((x, y), inv) in x.chunks_exact(d).zip(y.chunks_exact_mut(d)).zip(inv) {
        *inv = T::ONE / (dot(x, x) / T::from_f64(d as f64) + eps).sqrt();
        for i in 0..d {
            y[i] = w[i] * (x[i] * *inv);
        }
    }
}

#[inline(always)]
fn backward_x<T: Real>(g: &[T], x: &[T], w: &[T], inv: &[T], dx: &mut [T]) {
    let d = w.len();
    for (((g, x), dx), inv) in g.chunks_exact(d).zip(x.chunks_exact(d)).zip(dx.chunks_exact_mut(d)).zip(inv) {
        for i in 0..d {
            dx[i] = w[i] * g[i];
        }
        let mean = dot(dx, x) * *inv / T::from_f64(d as f64);
        for i in 0..d {
            dx[i] = (dx[i] - x[i] * *inv * mean) * *inv;
        }
    }
}

#[inline(always)]
fn backward_weight<T: Real>(g: &[T], x: &[T], inv: &[T], d: usize) -> Vec<T> {
    let mut dw = vec![T::ZERO; d];
    for ((g, x), inv) in g.chunks_exact(d).zip(x.chunks_exact(d)).zip(inv) {
        for i in 0..d {
            dw[i] += g[i] * (x[i] * *inv);
        }
    }
    dw
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_weight_gives_unit_mean_square() {
        let x = Tensor::from_vec(vec![1.0f64, -2.0, 3.0, 10.0, 0.5, 0.1], &[2, 3]).unwrap();
        let w = Tensor::from_vec(vec![1.0f64; 3], &[3]).unwrap();
        let (y, _) = rms_norm(&x, &w, 0.0).unwrap();
        for row in y.as_slice::<f64>().unwrap().chunks(3) {
            assert!((row.iter().map(|v| v * v).sum::<f64>() / 3.0 - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn weight_of_another_width_is_an_error() {
        let x = Tensor::zeros(&[2, 3], crate::DType::F32);
        assert!(rms_norm(&x, &Tensor::zeros(&[4], crate::DType::F32), 1e-5).is_err());
    }
}
