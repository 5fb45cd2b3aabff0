//! Long short-term memory over one sequence, from its input products (Hochreiter & Schmidhuber 1997; gates as in PyTorch).
//!
//! ```text
//! a_t = x_t + U h_{t-1},  rows of a: input, forget, cell, output
//! i = sigma(a_i)  f = sigma(a_f)  c~ = tanh(a_c)  o = sigma(a_o)
//! c_t = f * c_{t-1} + i * c~      h_t = o * tanh(c_t)          h_0 = c_0 = 0
//! x: [n, 4e] (W times the input, plus both biases)    U: [4e, e]    h: [n, e]
//! backward, last step first, with dh and dc arriving from step t + 1:
//! do = dh * tanh(c)   dc += dh * o * (1 - tanh(c)^2)   di = dc * c~   df = dc * c_{t-1}   dc~ = dc * i
//! da = each times the derivative of its gate    dx_t = da    dU += da h_{t-1}^T    dh_{t-1} = U^T da    dc_{t-1} = dc * f
//! ```

use super::{require, same_device, same_dtype};
use crate::real::{Real, dot};
use crate::{Device, Element, Result, Tensor};

/// Returns (h, gates after their functions `[n, 4e]`, c `[n, e]`). Errors if shapes, dtypes or devices do not fit.
pub fn lstm(x: &Tensor, recurrent: &Tensor) -> Result<(Tensor, Tensor, Tensor)> {
    upcast!(x, recurrent);
    check("lstm", x, recurrent)?;
    match same_device("lstm", &[x, recurrent])? {
        Device::Other(backend) => backend.lstm(x, recurrent),
        Device::Cpu => by_float!("lstm", x, T => {
            let (n, e) = (x.dims()[0], recurrent.dims()[1]);
            let (h, gates, c) = forward(x.as_slice::<T>()?, recurrent.as_slice::<T>()?, n, e);
            Ok((Tensor::from_vec(h, &[n, e])?, Tensor::from_vec(gates, &[n, 4 * e])?, Tensor::from_vec(c, &[n, e])?))
        }),
    }
}

/// Returns (dx, dU). `saved` is `[U, h, gates, c]` of the forward pass.
pub fn lstm_backward(g: &Tensor, saved: [&Tensor; 4]) -> Result<(Tensor, Tensor)> {
    upcast!(g);
    let [u, h, gates, c] = saved;
    upcast!(u, h, gates, c);
    let saved = [u, h, gates, c];
    check("lstm_backward", gates, u)?;
    let fits = g.dims() == h.dims() && c.dims() == h.dims() && h.dims() == [gates.dims()[0], u.dims()[1]];
    require(fits, "lstm_backward", "g, h, c [n, e]", &[g, h, c])?;
    match same_device("lstm_backward", &[g, u, h, gates, c])? {
        Device::Other(backend) => backend.lstm_backward(g, saved),
        Device::Cpu => by_float!("lstm_backward", u, T => {
            let (n, e) = (h.dims()[0], u.dims()[1]);
            let parts = [u.as_slice::<T>()?, h.as_slice::<T>()?, gates.as_slice::<T>()?, c.as_slice::<T>()?];
            let (dx, du) = backward(g.as_slice::<T>()?, parts, n, e);
            Ok((Tensor::from_vec(dx, gates.dims())?, Tensor::from_vec(du, u.dims())?))
        }),
    }
}

fn check(op: &'static str, x: &Tensor, recurrent: &Tensor) -> Result<()> {
    let fits = matches!((x.dims(), recurrent.dims()), (&[_, wide], &[out, e]) if wide == out && out == 4 * e);
    require(fits, op, "x [n, 4e] and U [4e, e]", &[x, recurrent])?;
    same_dtype(op, &[x, recurrent])
}

fn through_tanh<T: Element>(x: T) -> T {
    T::from_f64(x.to_f64().tanh())
}

fn forward<T: Real>(x: &[T], u: &[T], n: usize, e: usize) -> (Vec<T>, Vec<T>, Vec<T>) {
    let (mut h, mut gates, mut c) = (vec![T::ZERO; n * e], vec![T::ZERO; n * 4 * e], vec![T::ZERO; n * e]);
    let (mut last_h, mut last_c) = (vec![T::ZERO; e], vec![T::ZERO; e]);
    for t in 0..n {
        let a = &mut gates[t * 4 * e..(t + 1) * 4 * e];
        for (j, a) in a.iter_mut().enumerate() {
            let sum = x[t * 4 * e + j] + dot(&u[j * e..(j + 1) * e], &last_h);
            let is_cell = (2 * e..3 * e).contains(&j);
            *a = if is_cell { through_tanh(sum) } else { T::ONE / (T::ONE + (-sum).exp()) };
        }
        for j in 0..e {
            last_c[j] = a[e + j] * last_c[j] + a[j] * a[2 * e + j];
            last_h[j] = a[3 * e + j] * through_tanh(last_c[j]);
        }
        c[t * e..(t + 1) * e].copy_from_slice(&last_c);
        h[t * e..(t + 1) * e].copy_from_slice(&last_h);
    }
    (h, gates, c)
}

fn backward<T: Real>(g: &[T], [u, h, gates, c]: [&[T]; 4], n: usize, e: usize) -> (Vec<T>, Vec<T>) {
    let (mut dx, mut du) = (vec![T::ZERO; n * 4 * e], vec![T::ZERO; 4 * e * e]);
    let (mut dh, mut dc) = (vec![T::ZERO; e], vec![T::ZERO; e]);
    for t in (0..n).rev() {
        let a = &gates[t * 4 * e..(t + 1) * 4 * e];
        let da = &mut dx[t * 4 * e..(t + 1) * 4 * e];
        for j in 0..e {
            let (i, f, cell, o) = (a[j], a[e + j], a[2 * e + j], a[3 * e + j]);
            let before = if t > 0 { c[(t - 1) * e + j] } else { T::ZERO };
            let squashed = through_tanh(c[t * e + j]);
            let dh = g[t * e + j] + dh[j];
            dc[j] += dh * o * (T::ONE - squashed * squashed);
            da[j] = dc[j] * cell * i * (T::ONE - i);
            da[e + j] = dc[j] * before * f * (T::ONE - f);
            da[2 * e + j] = dc[j] * i * (T::ONE - cell * cell);
            da[3 * e + j] = dh * squashed * o * (T::ONE - o);
            dc[j] = dc[j] * f;
        }
        dh.fill(T::ZERO);
        for (row, da) in da.iter().enumerate() {
            for j in 0..e {
                dh[j] += u[row * e + j] * *da;
            }
            if t > 0 {
                for j in 0..e {
                    du[row * e + j] += *da * h[(t - 1) * e + j];
                }
            }
        }
    }
    (dx, du)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_step_is_the_formula() {
        let x = Tensor::from_vec(vec![0.3f64, -0.2, 0.7, 0.1], &[1, 4]).unwrap();
        let u = Tensor::from_vec(vec![5.0f64; 4], &[4, 1]).unwrap();
        let sigma = |v: f64| 1.0 / (1.0 + (-v).exp());
        let want = sigma(0.1) * (sigma(0.3) * 0.7f64.tanh()).tanh();
        assert!((lstm(&x, &u).unwrap().0.item().unwrap() - want).abs() < 1e-14);
        assert!(lstm(&u, &x).is_err());
    }
}
