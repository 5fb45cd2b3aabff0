//! AdamW (Loshchilov & Hutter 2019, algorithm 2; as in PyTorch, decay before the step).
//!
//! ```text
//! g *= min(1, limit / norm)                                 where the gradient is clipped
//! p -= lr * wd * p
//! m = b1 m + (1 - b1) g      v = b2 v + (1 - b2) g^2
//! p -= lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
//! ```

use super::{require, same_device};
use crate::parallel::vectorised;
use crate::params::AdamW;
use crate::real::Real;
use crate::tensor::{AdamWParam, Clip};
use crate::{Device, Result, Tensor};

impl AdamWParam<'_> {
    fn tensors(&self) -> [&Tensor; 4] {
        [self.parameter, self.first, self.second, self.gradient]
    }
}

impl Clip<'_> {
    /// What gradients are multiplied with.
    fn factor(&self) -> Result<f64> {
        Ok((self.limit / self.norm.item()?.max(f64::MIN_POSITIVE)).min(1.0))
    }
}

/// One step of all trainable parameters, in place. Errors if the shapes of a parameter differ, or the devices of any two.
pub fn adamw(all: &mut [AdamWParam<'_>], clip: Option<Clip<'_>>, step: &AdamW) -> Result<()> {
    for one in &*all {
        let tensors = one.tensors();
        require(tensors.iter().all(|t| t.dims() == tensors[0].dims()), "adamw", "equal shapes", &tensors)?;
    }
    let norm = clip.map(|c| c.norm);
    require(norm.is_none_or(|n| n.count() == 1), "adamw", "one norm", norm.as_slice())?;
    let tensors: Vec<&Tensor> = all.iter().flat_map(AdamWParam::tensors).chain(norm).collect();
    if tensors.is_empty() {
        return Ok(());
    }
    if let Device::Other(backend) = same_device("adamw", &tensors)? {
        return backend.adamw(all, clip, step);
    }
    let factor = clip.map_or(Ok(1.0), |c| c.factor())?;
    all.iter_mut().try_for_each(|one| {
        by_float!("adamw", one.parameter, T => {
            let g = one.gradient.as_slice::<T>()?;
            let (p, m) = (one.parameter.as_mut_slice::<T>()?, one.first.as_mut_slice::<T>()?);
            let v = one.second.as_mut_slice::<T>()?;
            vectorised(#[inline(always)] || update(p, m, v, g, factor, step));
            Ok(())
        })
    })
}

#[inline(always)]
fn update<T: Real>(p: &mut [T], m: &mut [T], v: &mut [T], g: &[T], factor: f64, s: &AdamW) {
    let t = s.step as f64;
    let f = T::from_f64;
    let (b1, b2) = (f(s.beta1), f(s.beta2));
    let (n1, n2) = (f(1.0 - s.beta1), f(1.0 - s.beta2));
    let decay = f(1.0 - s.learning_rate * s.weight_decay);
    let size = f(s.learning_rate / (1.0 - s.beta1.powf(t)));
    let root = f((1.0 - s.beta2.powf(t)).sqrt());
    let (eps, factor) = (f(s.eps), f(factor));
    for i in 0..p.len() {
        let g = g[i] * factor;
        m[i] = b1 * m[i] + n1 * g;
        v[i] = b2 * v[i] + n2 * (g * g);
        p[i] = p[i] * decay - size * m[i] / (v[i].sqrt() / root + eps);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: AdamW = AdamW { learning_rate: 0.1, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, step: 1 };

    fn row(values: &[f64]) -> Tensor {
        Tensor::from_vec(values.to_vec(), &[values.len()]).unwrap()
    }

    /// Parameter and first moment after a step from [1, -1].
    fn stepped(gradient: &Tensor, clip: Option<Clip<'_>>) -> [Vec<f64>; 2] {
        let (mut parameter, mut first, mut second) = (row(&[1.0, -1.0]), row(&[0.0; 2]), row(&[0.0; 2]));
        let one = AdamWParam { parameter: &mut parameter, first: &mut first, second: &mut second, gradient };
        adamw(&mut [one], clip, &STEP).unwrap();
        [parameter, first].map(|t| t.to_f64_vec().unwrap())
    }

    #[test]
    fn first_step_moves_by_the_learning_rate() {
        let [p, _] = stepped(&row(&[0.5, -3.0]), None);
        assert!((p[0] - 0.9).abs() < 1e-7 && (p[1] + 0.9).abs() < 1e-7);
    }

    #[test]
    fn a_gradient_above_the_limit_is_scaled_down_to_it_and_a_smaller_one_stays() {
        let (g, norm) = (row(&[3.0, -4.0]), row(&[5.0]));
        let moment = |limit| stepped(&g, Some(Clip { norm: &norm, limit }))[1].clone();
        for (got, want) in [(moment(1.0), [0.06, -0.08]), (moment(5.5), [0.3, -0.4])] {
            assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-15), "{got:?}");
        }
        // No gradient at all.
        assert_eq!(stepped(&row(&[0.0; 2]), Some(Clip { norm: &row(&[0.0]), limit: 1.0 }))[0], [1.0, -1.0]);
    }

    #[test]
    fn shapes_that_differ_are_an_error() {
        let (mut p, mut m, mut v, g) = (row(&[1.0]), row(&[1.0]), row(&[1.0]), row(&[1.0, 2.0]));
        let one = AdamWParam { parameter: &mut p, first: &mut m, second: &mut v, gradient: &g };
        assert!(adamw(&mut [one], None, &STEP).is_err());
    }
}
