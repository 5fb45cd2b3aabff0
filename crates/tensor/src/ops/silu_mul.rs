//! The gated unit of LLaMA's MLP (Shazeer 2020, eq. 6, without the products).
//!
//! ```text
//! y = silu(a) * u,  silu(a) = a * sigma(a)                                  a (gate), u (up), y: same shape
//! da = g * u * sigma(a) * (1 + a * (1 - sigma(a)))        du = g * silu(a)
//! ```

use super::operands;
use crate::parallel::for_rows2;
use crate::real::Real;
use crate::{Device, Result, Tensor};

elementwise! {
    /// Returns y. Errors if shapes, dtypes or devices differ.
    silu_mul(gate, up), T => silu::<T>(gate) * up
}

/// Returns (da, du). On the CPU they take the memory of `gate` and `up` where nobody else holds these.
pub fn silu_mul_backward(g: &Tensor, gate: Tensor, up: Tensor) -> Result<(Tensor, Tensor)> {
    let (mut da, mut du) = (gate.upcast()?.into_owned(), up.upcast()?.into_owned());
    drop((gate, up));
    upcast!(g);
    let fits = da.dims() == du.dims() && g.dims() == du.dims();
    match operands("silu_mul_backward", fits, "equal shapes", &[g, &da, &du])? {
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
fn silu<T: Real>(a: T) -> T {
    a / (T::ONE + (-a).exp())
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
