//! AdamW (Loshchilov & Hutter 2019, algorithm 2; as in PyTorch, decay before the step).
//!
//! ```text
//! p -= lr * wd * p
//! m = b1 m + (1 - b1) g      v = b2 v + (1 - b2) g^2
//! p -= lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
//! ```

use super::{by_float, require, same_device};
use crate::parallel::vectorised;
use crate::real::Real;
use crate::{Device, Result, Tensor};

/// What one step needs beside the tensors.
#[derive(Debug, Clone, Copy)]
pub struct AdamW {
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the denominator.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Number of this step, from 1.
    pub step: u64,
}

/// Updates `[parameter, m, v]` in place. Errors if a shape differs.
pub fn adamw(state: [&mut Tensor; 3], gradient: &Tensor, step: &AdamW) -> Result<()> {
    let [p, m, v] = state;
    let fits = p.dims() == gradient.dims() && m.dims() == p.dims() && v.dims() == p.dims();
    require(fits, "adamw", "equal shapes", &[p, m, v, gradient])?;
    match same_device("adamw", &[p, m, v, gradient])? {
        Device::Other(backend) => backend.adamw([p, m, v], gradient, step),
        Device::Cpu => by_float!("adamw", p, T => {
            let g = gradient.as_slice::<T>()?;
            let (p, m, v) = (p.as_mut_slice::<T>()?, m.as_mut_slice::<T>()?, v.as_mut_slice::<T>()?);
            vectorised(#[inline(always)] || update(p, m, v, g, step));
            Ok(())
        }),
    }
}

#[inline(always)]
fn update<T: Real>(p: &mut [T], m: &mut [T], v: &mut [T], g: &[T], s: &AdamW) {
    let t = s.step as f64;
    let f = T::from_f64;
    let (b1, b2) = (f(s.beta1), f(s.beta2));
    let (n1, n2) = (f(1.0 - s.beta1), f(1.0 - s.beta2));
    let decay = f(1.0 - s.learning_rate * s.weight_decay);
    let size = f(s.learning_rate / (1.0 - s.beta1.powf(t)));
    let root = f((1.0 - s.beta2.powf(t)).sqrt());
    let eps = f(s.eps);
    for i in 0..p.len() {
        m[i] = b1 * m[i] + n1 * g[i];
        v[i] = b2 * v[i] + n2 * (g[i] * g[i]);
        p[i] = p[i] * decay - size * m[i] / (v[i].sqrt() / root + eps);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_step_moves_by_the_learning_rate() {
        let mut p = Tensor::from_vec(vec![1.0f64, -1.0], &[2]).unwrap();
        let (mut m, mut v) = (Tensor::zeros(&[2], p.dtype()), Tensor::zeros(&[2], p.dtype()));
        let g = Tensor::from_vec(vec![0.5f64, -3.0], &[2]).unwrap();
        let s = AdamW { learning_rate: 0.1, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, step: 1 };
        adamw([&mut p, &mut m, &mut v], &g, &s).unwrap();
        let p = p.as_slice::<f64>().unwrap();
        assert!((p[0] - 0.9).abs() < 1e-7 && (p[1] + 0.9).abs() < 1e-7);
    }
}
