//! Low-rank update of a linear layer (Hu et al. 2021, eq. 3).
//!
//! ```text
//! u = x A^T,   y = base + scale * u B^T        x: [t, in]  A: [r, in]  B: [out, r]  base, y: [t, out]  u: [t, r]
//! dbase = g    dB = scale * g^T u    du = scale * g B    dA = du^T x    dx = du A
//! ```

use super::matmul::gemm;
use super::{Layout, matmul, operands};
use crate::gemm::{AlphaBeta, Sizes};
use crate::{Device, Result, Tensor};

/// Returns (y, u). Errors if shapes, dtypes or devices do not fit.
pub fn low_rank(base: &Tensor, x: &Tensor, a: &Tensor, b: &Tensor, scale: f64) -> Result<(Tensor, Tensor)> {
    upcast!(base, x, a, b);
    let fits = match (base.dims(), x.dims(), a.dims(), b.dims()) {
        (&[t, out], &[tx, width], &[r, width_a], &[out_b, rb]) => {
            t == tx && out == out_b && width == width_a && r == rb
        }
        _ => false,
    };
    match operands("low_rank", fits, "base [t, out], x [t, in], A [r, in], B [out, r]", &[base, x, a, b])? {
        Device::Other(backend) => backend.low_rank(base, x, a, b, scale),
        Device::Cpu => {
            let u = matmul(x, a, Layout::RightTransposed)?;
            let (t, out, r) = (base.dims()[0], base.dims()[1], a.dims()[0]);
            let mut y = base.clone();
            by_float!("low_rank", base, T => {
                let alpha = <T as crate::Element>::from_f64(scale);
                gemm(u.as_slice::<T>()?, b.as_slice::<T>()?, y.as_mut_slice::<T>()?, Sizes { m: t, k: r, n: out }, Layout::RightTransposed, AlphaBeta { alpha, beta: 1.0 });
                Ok(())
            })?;
            Ok((y, u))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_two_products() {
        let v = |n: usize, s: f64| (0..n).map(|i| ((i * 7 % 11) as f64 - 5.0) * s).collect::<Vec<f64>>();
        let base = Tensor::from_vec(v(6, 1.0), &[2, 3]).unwrap();
        let x = Tensor::from_vec(v(8, 0.5), &[2, 4]).unwrap();
        let a = Tensor::from_vec(v(8, 0.3), &[2, 4]).unwrap();
        let b = Tensor::from_vec(v(6, 0.2), &[3, 2]).unwrap();
        let (y, u) = low_rank(&base, &x, &a, &b, 2.0).unwrap();
        let ub = matmul(&u, &b, Layout::RightTransposed).unwrap();
        for i in 0..6 {
            let want = base.as_slice::<f64>().unwrap()[i] + 2.0 * ub.as_slice::<f64>().unwrap()[i];
            assert!((y.as_slice::<f64>().unwrap()[i] - want).abs() < 1e-12);
        }
    }
}
