//! Binary cross-entropy on logits, summed over all cells.
//!
//! ```text
//! loss = sum of max(z, 0) - z y + ln(1 + exp(-|z|))           z (logits), y (targets in [0, 1]): [n, c]
//! dz = g * (sigma(z) - y)
//! ```

use super::{operands, tensor};
use crate::real::Real;
use crate::{Device, Result, Tensor};

/// Returns (loss `[1]`, sigma(z) - y). Errors if shapes, dtypes or devices differ.
pub fn bce_with_logits(logits: &Tensor, targets: &Tensor) -> Result<(Tensor, Tensor)> {
    upcast!(logits, targets);
    let fits = logits.dims() == targets.dims();
    match operands("bce_with_logits", fits, "equal shapes", &[logits, targets])? {
        Device::Other(backend) => backend.bce_with_logits(logits, targets),
        Device::Cpu => by_float!("bce_with_logits", logits, T => {
            let (z, y) = (logits.as_slice::<T>()?, targets.as_slice::<T>()?);
            let mut dz = Vec::with_capacity(z.len());
            let mut loss = 0.0f64;
            for (z, y) in z.iter().zip(y) {
                let (cell, slope) = cell(*z, *y);
                loss += crate::Element::to_f64(cell);
                dz.push(slope);
            }
            Ok((Tensor::scalar(loss, logits.dtype()), tensor(dz, logits.shape())?))
        }),
    }
}

#[inline(always)]
fn cell<T: Real>(z: T, y: T) -> (T, T) {
    let positive = z > T::ZERO;
    let small = (if positive { -z } else { z }).exp();
    let loss = (if positive { z } else { T::ZERO }) - z * y + small.ln_1p();
    let sigma = (if positive { T::ONE } else { small }) / (T::ONE + small);
    (loss, sigma - y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extreme_logits_stay_finite() {
        let z = Tensor::from_vec(vec![500.0f32, -500.0, 0.0], &[3]).unwrap();
        let y = Tensor::from_vec(vec![1.0f32, 0.0, 1.0], &[3]).unwrap();
        let (loss, dz) = bce_with_logits(&z, &y).unwrap();
        assert!((loss.item().unwrap() - 2f64.ln()).abs() < 1e-6);
        assert_eq!(dz.as_slice::<f32>().unwrap(), [0.0, 0.0, -0.5]);
    }
}
