//! Inverted dropout with a counter-based mask.
//!
//! ```text
//! y[i] = x[i] / (1 - p) if word(key, i) >= p * 2^32, else 0          dx = the same mask applied to g
//! ```
//! The mask is a function of (key, i) alone, so recomputation and other devices see the same one.

use super::tensor;
use crate::parallel::for_rows;
use crate::{Device, Element, Error, Result, Tensor};
use clinpeft_rng::{Key, philox};

/// Zeroes a share `rate` of the elements and scales the rest. Errors if `rate` is not in `[0, 1)`.
pub fn dropout(x: &Tensor, rate: f64, key: Key) -> Result<Tensor> {
    upcast!(x);
    if !(0.0..1.0).contains(&rate) {
        return Err(Error::Shape { op: "dropout", what: format!("a rate in [0, 1), not {rate}"), shapes: vec![] });
    }
    if rate == 0.0 {
        return Ok(x.clone());
    }
    match x.device() {
        Device::Other(backend) => backend.dropout(x, rate, key),
        Device::Cpu => by_float!("dropout", x, T => {
            let threshold = (rate * 4_294_967_296.0) as u32;
            let keep = T::from_f64(1.0 / (1.0 - rate));
            let xs = x.as_slice::<T>()?;
            let mut y = vec![<T as crate::real::Real>::ZERO; xs.len()];
            for_rows(&mut y, 4, #[inline(always)] |first, y| {
                // `first` counts rows of four: one call of the generator each.
                for (block, y) in y.chunks_mut(4).enumerate() {
                    let at = first + block;
                    let words = philox(key, at as u64);
                    for (j, y) in y.iter_mut().enumerate() {
                        if words[j] >= threshold {
                            *y = xs[at * 4 + j] * keep;
                        }
                    }
                }
            });
            tensor(y, x.shape())
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_mean_and_repeats_its_mask() {
        let x = Tensor::from_vec(vec![1.0f32; 40_001], &[40_001]).unwrap();
        let y = dropout(&x, 0.25, Key([1, 2])).unwrap();
        let v = y.as_slice::<f32>().unwrap();
        let mean = v.iter().sum::<f32>() / v.len() as f32;
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
        let again = dropout(&x, 0.25, Key([1, 2])).unwrap();
        assert_eq!(v, again.as_slice::<f32>().unwrap());
        assert!(dropout(&x, 1.0, Key([1, 2])).is_err());
    }
}
