//! Rotary position embedding (Su et al. 2021, eq. 34), first half of a head against its second half.
//!
//! ```text
//! For position p and i < d/2, with c = cos[p, i], s = sin[p, i]:        x, y: [t, h*d]   cos, sin: [p, d/2]
//! y[i] = x[i] c - x[i + d/2] s       y[i + d/2] = x[i + d/2] c + x[i] s
//! dx = the rotation by the negative angle applied to g
//! ```

use super::{check_ids, require, require_dtype, same_device, same_dtype};
use crate::buffer::Buffer;
use crate::parallel::for_rows;
use crate::params::Direction;
use crate::real::Real;
use crate::{DType, Device, Result, Tensor};

/// Turns every head of every row by the angles of its position (`positions`: u32 `[t]`).
/// Errors if the width is not a multiple of the head width, or a position is outside of the tables.
pub fn rotary(x: &Tensor, cos: &Tensor, sin: &Tensor, positions: &Tensor, direction: Direction) -> Result<Tensor> {
    upcast!(x, cos, sin);
    let all = [x, cos, sin, positions];
    let fits = match (x.dims(), cos.dims(), positions.dims()) {
        (&[t, width], &[_, half], &[tp]) => t == tp && half > 0 && width % (2 * half) == 0 && cos.dims() == sin.dims(),
        _ => false,
    };
    require(fits, "rotary", "x [t, h*d], cos and sin [p, d/2], positions [t]", &all)?;
    same_dtype("rotary", &[x, cos, sin])?;
    require_dtype("rotary", positions, DType::U32)?;
    match same_device("rotary", &all)? {
        Device::Other(backend) => backend.rotary(x, cos, sin, positions, direction),
        Device::Cpu => {
            let at = positions.as_slice::<u32>()?;
            check_ids("rotary", at, cos.dims()[0])?;
            by_float!("rotary", x, T => {
                let (xs, c, s) = (x.as_slice::<T>()?, cos.as_slice::<T>()?, sin.as_slice::<T>()?);
                let (width, half) = (x.dims()[1], cos.dims()[1]);
                let sign = if direction == Direction::Forward { T::ONE } else { -T::ONE };
                let mut y = Buffer::<T>::uninit(xs.len());
                for_rows(&mut y, width, #[inline(always)] |first, y| {
                    for (i, y) in y.chunks_exact_mut(width).enumerate() {
                        let row = first + i;
                        let p = at[row] as usize * half;
                        turn(&xs[row * width..(row + 1) * width], &c[p..p + half], &s[p..p + half], sign, y);
                    }
                });
                Tensor::from_buffer(y, x.dims())
            })
        }
    }
}

#[inline(always)]
fn turn<T: Real>(x: &[T], c: &[T], s: &[T], sign: T, y: &mut [T]) {
    let half = c.len();
    for (x, y) in x.chunks_exact(2 * half).zip(y.chunks_exact_mut(2 * half)) {
        let ((x0, x1), (y0, y1)) = (x.split_at(half), y.split_at_mut(half));
        for i in 0..half {
            y0[i] = x0[i] * c[i] - x1[i] * (s[i] * sign);
            y1[i] = x1[i] * c[i] + x0[i] * (s[i] * sign);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverse_undoes_forward() {
        let x = Tensor::from_vec((0..16).map(f64::from).collect(), &[2, 8]).unwrap();
        let angle: Vec<f64> = (0..6).map(|i| f64::from(i) * 0.7).collect();
        let cos = Tensor::from_vec(angle.iter().map(|a| a.cos()).collect(), &[3, 2]).unwrap();
        let sin = Tensor::from_vec(angle.iter().map(|a| a.sin()).collect(), &[3, 2]).unwrap();
        let at = Tensor::from_vec(vec![2u32, 1], &[2]).unwrap();
        let y = rotary(&x, &cos, &sin, &at, Direction::Forward).unwrap();
        let z = rotary(&y, &cos, &sin, &at, Direction::Inverse).unwrap();
        for (a, b) in x.as_slice::<f64>().unwrap().iter().zip(z.as_slice::<f64>().unwrap()) {
            assert!((a - b).abs() < 1e-12);
        }
        let far = Tensor::from_vec(vec![3u32, 1], &[2]).unwrap();
        assert!(rotary(&x, &cos, &sin, &far, Direction::Forward).is_err());
    }
}
