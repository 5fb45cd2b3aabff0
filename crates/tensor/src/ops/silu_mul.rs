//! The gated unit of LLaMA's MLP (Shazeer 2020, eq. 6, without the products).
//!
//! ```text
//! y = silu(a) * u,  silu(a) = a * sigma(a)                                  a (gate), u (up), y: same shape
//! da = g * u * sigma(a) * (1 + a * (1 - sigma(a)))        du = g * silu(a)
//! ```

use super::{by_float, require, same_device, same_dtype, upcast};
use crate::buffer::Buffer;
use crate::parallel::{for_rows, for_rows2};
use crate::real::Real;
use crate::{Device, Result, Tensor};

/// Returns y. Errors if shapes, dtypes or devices differ.
pub fn silu_mul(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    upcast!(gate, up);
    require(gate.dims() == up.dims(), "silu_mul", "equal shapes", &[gate, up])?;
    same_dtype("silu_mul", &[gate, up])?;
    match same_device("silu_mul", &[gate, up])? {
        Device::Other(backend) => backend.silu_mul(gate, up),
        Device::Cpu => by_float!("silu_mul", gate, T => {
            let (a, u) = (gate.as_slice::<T>()?, up.as_slice::<T>()?);
            let mut y = Buffer::<T>::uninit(a.len());
            for_rows(&mut y, 1, #[inline(always)] |first, y| forward(&a[first..], &u[first..], y));
            Tensor::from_buffer(y, gate.dims())
        }),
    }
}

/// Returns (da, du). On the CPU they take the memory of `gate` and `up` where nobody else holds these.
pub fn silu_mul_backward(g: &Tensor, gate: Tensor, up: Tensor) -> Result<(Tensor, Tensor)> {
    let (mut da, mut du) = (gate.upcast()?.into_owned(), up.upcast()?.into_owned());
    drop((gate, up));
    upcast!(g);
    let fits = da.dims() == du.dims() && g.dims() == du.dims();
    require(fits, "silu_mul_backward", "equal shapes", &[g, &da, &du])?;
    same_dtype("silu_mul_backward", &[g, &da, &du])?;
    match same_device("silu_mul_backward", &[g, &da, &du])? {
        Device::Other(backend) => backend.silu_mul_backward(g, &da, &du),
        Device::Cpu => by_float!("silu_mul_backward", g, T => {
            let g = g.as_slice::<T>()?;
            let (a, u) = (da.as_mut_slice::<T>()?, du.as_mut_slice::<T>()?);
            for_rows2(a, 1, u, 1, #[inline(always)] |first, a, u| backward(&g[first..], a, u));
            Ok((da, du))
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

/// From a and u to their gradients.
#[inline(always)]
fn backward<T: Real>(g: &[T], a: &mut [T], u: &mut [T]) {
    let n = a.len();
    let (g, u) = (&g[..n], &mut u[..n]);
    for i in 0..n {
        let sigma = T::ONE / (T::ONE + (-a[i]).exp());
        let da = g[i] * u[i] * sigma * (T::ONE + a[i] * (T::ONE - sigma));
        u[i] = g[i] * a[i] * sigma;
        a[i] = da;
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
