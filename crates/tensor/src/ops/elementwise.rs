//! Sum and product of two tensors, and a tensor times a number.
//!
//! ```text
//! add:    y = a + b        da = g    db = g          a, b, y: same shape
//! mul:    y = a * b        da = g b  db = g a        element by element
//! scale:  y = f * x        dx = f * g
//! ```

use super::{by_float, require, same_device, same_dtype, tensor, upcast};
use crate::buffer::Buffer;
use crate::parallel::for_rows;
use crate::{Device, Element, Result, Tensor};

/// Returns a * b, element by element. Errors if shapes, dtypes or devices differ.
pub fn mul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    upcast!(a, b);
    require(a.dims() == b.dims(), "mul", "equal shapes", &[a, b])?;
    same_dtype("mul", &[a, b])?;
    match same_device("mul", &[a, b])? {
        Device::Other(backend) => backend.mul(a, b),
        Device::Cpu => by_float!("mul", a, T => {
            let pairs = a.as_slice::<T>()?.iter().zip(b.as_slice::<T>()?);
            tensor(pairs.map(|(x, y)| *x * *y).collect(), a.shape())
        }),
    }
}

/// Returns a + b. Errors if shapes, dtypes or devices differ.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    upcast!(a, b);
    require(a.dims() == b.dims(), "add", "equal shapes", &[a, b])?;
    same_dtype("add", &[a, b])?;
    match same_device("add", &[a, b])? {
        Device::Other(backend) => backend.add(a, b),
        Device::Cpu => by_float!("add", a, T => {
            let (x, y) = (a.as_slice::<T>()?, b.as_slice::<T>()?);
            let mut out = Buffer::<T>::uninit(x.len());
            for_rows(&mut out, 1, #[inline(always)] |first, out| {
                let n = out.len();
                let (x, y) = (&x[first..first + n], &y[first..first + n]);
                for i in 0..n {
                    out[i] = x[i] + y[i];
                }
            });
            Tensor::from_buffer(out, a.dims())
        }),
    }
}

/// Returns `factor` times `x`.
pub fn scale(x: &Tensor, factor: f64) -> Result<Tensor> {
    upcast!(x);
    match x.device() {
        Device::Other(backend) => backend.scale(x, factor),
        Device::Cpu => by_float!("scale", x, T => {
            let f = T::from_f64(factor);
            let x_values = x.as_slice::<T>()?;
            let mut out = Buffer::<T>::uninit(x_values.len());
            for_rows(&mut out, 1, #[inline(always)] |first, out| {
                for (y, x) in out.iter_mut().zip(&x_values[first..]) {
                    *y = *x * f;
                }
            });
            Tensor::from_buffer(out, x.dims())
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_and_scales() {
        let a = Tensor::from_vec(vec![1.0f64, 2.0], &[2]).unwrap();
        let y = scale(&add(&a, &a).unwrap(), 0.5).unwrap();
        assert_eq!(y.as_slice::<f64>().unwrap(), a.as_slice::<f64>().unwrap());
        assert_eq!(mul(&a, &a).unwrap().as_slice::<f64>().unwrap(), [1.0, 4.0]);
    }
}
