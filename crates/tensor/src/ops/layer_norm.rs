//! Layer normalisation (Ba, Kiros & Hinton 2016, eq. 4).
//!
//! ```text
//! y = w * n + b,  n = (x - m) / r,  m = mean(x),  r = sqrt(mean((x - m)^2) + eps)      x, y: [.., d]   w, b: [d]
//! dx = (u - mean(u) - n * mean(u*n)) / r,  u = w*g        dw = sum over rows of g * n        db = sum over rows of g
//! ```

use super::{operands, tensor};
use crate::parallel::{for_rows, for_rows2};
use crate::real::{Real, dot, sum};
use crate::{Device, Result, Tensor};

/// Returns (y, m and 1/r for each row as `[rows, 2]`). Errors if `weight` or `bias` do not have the width of `x`.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<(Tensor, Tensor)> {
    upcast!(x, weight, bias);
    let (rows, d) = x.rows_and_width();
    let fits = weight.dims() == [d] && bias.dims() == [d];
    match operands("layer_norm", fits, "x [.., d], weight [d] and bias [d]", &[x, weight, bias])? {
        Device::Other(backend) => backend.layer_norm(x, weight, bias, eps),
        Device::Cpu => by_float!("layer_norm", x, T => {
            let (values, w, b) = (x.as_slice::<T>()?, weight.as_slice::<T>()?, bias.as_slice::<T>()?);
            let (mut y, mut moments) = (vec![<T as Real>::ZERO; rows * d], vec![<T as Real>::ZERO; rows * 2]);
            for_rows2(&mut y, d, &mut moments, 2, #[inline(always)] |first, y, moments| {
                forward(&values[first * d..], (w, b), eps, y, moments);
            });
            Ok((tensor(y, x.shape())?, Tensor::from_vec(moments, &[rows, 2])?))
        }),
    }
}

/// Returns (dx, dw, db) from the gradient `g` of y and the moments that [`layer_norm`] returned.
pub fn layer_norm_backward(
    g: &Tensor,
    x: &Tensor,
    weight: &Tensor,
    moments: &Tensor,
) -> Result<(Tensor, Tensor, Tensor)> {
    upcast!(g, x, weight, moments);
    let (rows, d) = x.rows_and_width();
    let fits = g.dims() == x.dims() && weight.dims() == [d] && moments.dims() == [rows, 2];
    let shapes = "x and g [.., d], weight [d], moments [rows, 2]";
    match operands("layer_norm_backward", fits, shapes, &[x, g, weight, moments])? {
        Device::Other(backend) => backend.layer_norm_backward(g, x, weight, moments),
        Device::Cpu => by_float!("layer_norm_backward", x, T => {
            let (gs, xs) = (g.as_slice::<T>()?, x.as_slice::<T>()?);
            let (w, moments) = (weight.as_slice::<T>()?, moments.as_slice::<T>()?);
            let mut dx = vec![<T as Real>::ZERO; rows * d];
            for_rows(&mut dx, d, #[inline(always)] |first, dx| {
                backward_x(&gs[first * d..], &xs[first * d..], w, &moments[first * 2..], dx);
            });
            let (dw, db) = backward_weights(gs, xs, moments, d);
            Ok((tensor(dx, x.shape())?, Tensor::from_vec(dw, &[d])?, Tensor::from_vec(db, &[d])?))
        }),
    }
}

#[inline(always)]
fn mean<T: Real>(x: &[T]) -> T {
    sum(x) / T::from_f64(x.len() as f64)
}

#[inline(always)]
fn forward<T: Real>(x: &[T], (w, b): (&[T], &[T]), eps: f64, y: &mut [T], moments: &mut [T]) {
    let d = w.len();
    if d == 0 {
        return;
    }
    for ((x, y), moments) in x.chunks_exact(d).zip(y.chunks_exact_mut(d)).zip(moments.chunks_exact_mut(2)) {
        let m = mean(x);
        for i in 0..d {
            y[i] = x[i] - m;
        }
        // Around the mean, not as a difference of squares, which cancels.
        let inverse = T::ONE / (dot(y, y) / T::from_f64(d as f64) + T::from_f64(eps)).sqrt();
        for i in 0..d {
            y[i] = w[i] * (y[i] * inverse) + b[i];
        }
        moments[0] = m;
        moments[1] = inverse;
    }
}

#[inline(always)]
fn backward_x<T: Real>(g: &[T], x: &[T], w: &[T], moments: &[T], dx: &mut [T]) {
    let d = w.len();
    if d == 0 {
        return;
    }
    let mut n = vec![T::ZERO; d];
    let rows = g.chunks_exact(d).zip(x.chunks_exact(d)).zip(dx.chunks_exact_mut(d));
    for (((g, x), dx), moments) in rows.zip(moments.chunks_exact(2)) {
        let (m, inverse) = (moments[0], moments[1]);
        for i in 0..d {
            n[i] = (x[i] - m) * inverse;
            dx[i] = w[i] * g[i];
        }
        let (level, slope) = (mean(dx), dot(dx, &n) / T::from_f64(d as f64));
        for i in 0..d {
            dx[i] = (dx[i] - level - n[i] * slope) * inverse;
        }
    }
}

fn backward_weights<T: Real>(g: &[T], x: &[T], moments: &[T], d: usize) -> (Vec<T>, Vec<T>) {
    let (mut dw, mut db) = (vec![T::ZERO; d], vec![T::ZERO; d]);
    let rows = g.chunks_exact(d.max(1)).zip(x.chunks_exact(d.max(1)));
    for ((g, x), moments) in rows.zip(moments.chunks_exact(2)) {
        for i in 0..d {
            dw[i] += g[i] * ((x[i] - moments[0]) * moments[1]);
            db[i] += g[i];
        }
    }
    (dw, db)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    #[test]
    fn unit_weight_gives_zero_mean_and_unit_variance() {
        let x = Tensor::from_vec(vec![1.0f64, -2.0, 3.0, 1000.0, 1000.5, 999.0], &[2, 3]).unwrap();
        let (w, b) = (Tensor::from_vec(vec![1.0f64; 3], &[3]).unwrap(), Tensor::zeros(&[3], DType::F64));
        let (y, _) = layer_norm(&x, &w, &b, 0.0).unwrap();
        for row in y.as_slice::<f64>().unwrap().chunks(3) {
            assert!(row.iter().sum::<f64>().abs() < 1e-12);
            assert!((row.iter().map(|v| v * v).sum::<f64>() / 3.0 - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn weight_or_bias_of_another_width_is_an_error() {
        let zeros = |dims: &[usize]| Tensor::zeros(dims, DType::F32);
        assert!(layer_norm(&zeros(&[2, 3]), &zeros(&[4]), &zeros(&[3]), 1e-5).is_err());
        assert!(layer_norm(&zeros(&[2, 3]), &zeros(&[3]), &zeros(&[4]), 1e-5).is_err());
    }
}
