//! The gated unit of LLaMA's MLP (Shazeer 2020, eq. 6, without the products).
//!
//! ```text
//! y = silu(a) * u,  silu(a) = a * sigma(a)                                  a (gate), u (up), y: same shape
//! da = g * u * sigma(a) * (1 + a * (1 - sigma(a)))        du = g * silu(a)
//! ```

use super::{by_float, require, same_device, same_dtype, widen};
use crate::buffer::Buffer;
use crate::parallel::{for_rows, for_rows2};
use crate::real::Real;
use crate::{Device, Result, Tensor};

/// Returns y. Errors if shapes, dtypes or devices differ.
pub fn silu_mul(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    widen!(gate, up);
    require(gate.dims() == up.dims(), "silu_mul", "equal shapes", &[gate, up])?;
    same_dtype("silu_mul", &[gate, up])?;
    match same_device("silu_mul", &[gate, up])? {
        Device::Other(backend) => backend.silu_mul(gate, up),
        Device::Cpu => by_float!("silu_mul", gate, T => {
            let (a, u) = (gate.as_slice::<T>()?, up.as_slice::<T>()?);
            let mut y = Buffer::<T>::stale(a.len());
            for_rows(&mut y, 1, #[inline(always)] |first, y| forward(&a[first..], &u[first..], y));
            Tensor::from_buffer(y, gate.dims())
        }),
    }
}

/// Returns (da, du).
pub fn silu_mul_backward(g: &Tensor, gate: &Tensor, up: &Tensor) -> Result<(Tensor, Tensor)> {
    widen!(g, gate, up);
    let fits = gate.dims() == up.dims() && g.dims() == up.dims();
    require(fits, "silu_mul_backward", "equal shapes", &[g, gate, up])?;
    same_dtype("silu_mul_backward", &[g, gate, up])?;
    match same_device("silu_mul_backward", &[g, gate, up])? {
        Device::Other(backend) => backend.silu_mul_backward(g, gate, up),
        Device::Cpu => by_float!("silu_mul_backward", gate, T => {
            let (g, a, u) = (g.as_slice::<T>()?, gate.as_slice::<T>()?, up.as_slice::<T>()?);
            let (mut da, mut du) = (Buffer::<T>::stale(a.len()), Buffer::<T>::stale(a.len()));
            for_rows2(&mut da, 1, &mut du, 1, #[inline(always)] |first, da, du| backward(&g[first..], &a[first..], &u[first..], da, du));
            Ok((Tensor::from_buffer(da, gate.dims())?, Tensor::from_buffer(du, gate.dims())?))
        }),
    }
}

#[inline(always)]
fn forward<T: Real>(a: &[T], u: &[T], y: &mut [T]) {
    let n = y.len();
    let (a, u) = (&a[..n], &u[..n]);
    for i in 0..n {
        y[i] = a[i] / (T::ONE + (-a[i]).exp()) * u[i];
    }
}

#[inline(always)]
fn backward<T: Real>(g: &[T], a: &[T], u: &[T], da: &mut [T], du: &mut [T]) {
    let n = da.len();
    let (g, a, u, du) = (&g[..n], &a[..n], &u[..n], &mut du[..n]);
    for i in 0..n {
        let sigma = T::ONE / (T::ONE + (-a[i]).exp());
        da[i] = g[i] * u[i] * sigma * (T::ONE + a[i] * (T::ONE - sigma));
        du[i] = g[i] * a[i] * sigma;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_gates_pass_and_very_negative_ones_close() {
        let a = Tensor::from_vec(vec![100.0f32, -100.0, 0.0], &[3]).unwrap();
        let u = Tensor::from_vec(vec![2.0f32; 3], &[3]).unwrap();
        let y = silu_mul(&a, &u).unwrap();
        let y = y.as_slice::<f32>().unwrap();
        assert_eq!(y[0], 200.0);
        assert!(y[1].abs() < 1e-30 && y[2] == 0.0);
    }
}
