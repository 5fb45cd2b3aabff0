//! Recomputation of a block (Chen et al. 2016, section 4).

use crate::tape::{Node, Var, backward_from, no_grad_tracked};
use crate::{Error, Result};
use std::sync::Arc;

/// Runs `block` on `inputs` and keeps only those; in the backward pass the block is computed again with the tape on.
///
/// Parameters that `block` holds get their gradients as usual; whatever was computed from parameters outside must come in
/// as an input. The gradients are the same to the bit, because the same operations run in the same order; `block` must
/// therefore be a function of its inputs (dropout masks by key are).
pub fn checkpoint<E>(inputs: &[&Var], block: impl Fn(&[Var]) -> Result<Var, E> + Send + 'static) -> Result<Var, E>
where
    E: From<Error> + Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let outer: Vec<Var> = inputs.iter().map(|v| (*v).clone()).collect();
    let (value, grad_seen) = no_grad_tracked(|| block(&outer));
    let value = value?;
    if !grad_seen {
        return Ok(value);
    }
    let y = Var::recorded(value.value().clone(), move |g| {
        let fresh = |v: &Var| {
            let again = match v.node() {
                Some(_) => Var::leaf(v.value().clone()),
                None => Var::constant(v.value().clone()),
            };
            again.rounded_like(&[v])
        };
        let inner: Vec<Var> = outer.iter().map(fresh).collect();
        let out = block(&inner).map_err(|e| Error::Block(e.into()))?;
        let leaves = backward_from(&out, g.clone())?;
        let back = |node: Arc<Node>| {
            let same = |v: &Var| v.node().is_some_and(|n| Arc::ptr_eq(&n, &node));
            let place = inner.iter().position(same);
            place.and_then(|i| outer[i].node()).unwrap_or(node)
        };
        let all = leaves.into_contributions().into_iter();
        Ok(all.map(|(node, g)| (back(node), g)).collect())
    });
    Ok(y.rounded_like(&[&value]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{backward, ops};
    use clinpeft_tensor::Tensor;

    fn random(dims: &[usize], name: &str) -> Tensor {
        let mut s = clinpeft_tensor::rng::Seed(5).stream(name);
        let n = dims.iter().product();
        Tensor::from_vec((0..n).map(|_| clinpeft_tensor::rng::normal(&mut s) as f32).collect(), dims).unwrap()
    }

    fn block(w: &Var) -> impl Fn(&[Var]) -> Result<Var> + Send + use<> {
        let w = w.clone();
        move |inputs| {
            let x = &inputs[0];
            let y = ops::silu_mul(&ops::linear(x, &w)?, x)?;
            ops::add(&ops::dropout(&y, 0.2, clinpeft_tensor::rng::Key([1, 2]))?, x)
        }
    }

    #[test]
    fn same_gradients_to_the_bit() {
        let x = Var::leaf(random(&[6, 5], "x"));
        let weights: Vec<Var> = (0..3).map(|i| Var::leaf(random(&[5, 5], &format!("w{i}")))).collect();
        let run = |recompute: bool| {
            let mut h = x.clone();
            for w in &weights {
                h = if recompute {
                    checkpoint(&[&h], block(w)).unwrap()
                } else {
                    block(w)(std::slice::from_ref(&h)).unwrap()
                };
            }
            let g = backward(&h).unwrap();
            let all: Vec<Vec<f32>> =
                weights.iter().chain([&x]).map(|v| g.of(v).unwrap().as_slice::<f32>().unwrap().to_vec()).collect();
            all
        };
        assert_eq!(run(false), run(true));
    }

    #[test]
    fn products_in_bf16_have_the_same_gradients_to_the_bit() {
        let x = Var::leaf(random(&[6, 5], "x"));
        let frozen = Var::constant(random(&[5, 5], "frozen").with_precision(clinpeft_tensor::Precision::Bf16));
        let w = Var::leaf(random(&[5, 5], "w"));
        let run = |recompute: bool| {
            let first = ops::linear(&x, &frozen).unwrap();
            let h = if recompute {
                checkpoint(&[&first], block(&w)).unwrap()
            } else {
                block(&w)(std::slice::from_ref(&first)).unwrap()
            };
            let g = backward(&h).unwrap();
            [&w, &x].map(|v| g.of(v).unwrap().as_slice::<f32>().unwrap().to_vec())
        };
        assert_eq!(run(false), run(true));
    }

    #[test]
    fn frozen_block_records_nothing() {
        let w = Var::constant(random(&[5, 5], "w"));
        let x = Var::constant(random(&[6, 5], "x"));
        assert!(!checkpoint(&[&x], block(&w)).unwrap().requires_grad());
    }

    #[test]
    fn frozen_input_still_trains_the_parameters_inside() {
        let w = Var::leaf(random(&[5, 5], "w"));
        let x = Var::constant(random(&[6, 5], "x"));
        let y = checkpoint(&[&x], block(&w)).unwrap();
        assert!(backward(&y).unwrap().of(&w).is_some());
    }

    #[test]
    fn input_computed_from_parameters_passes_its_gradient_on() {
        let (w, x) = (Var::leaf(random(&[2, 5], "w")), Var::constant(random(&[2, 5], "x")));
        let run = |recompute: bool| {
            let made = ops::scale(&w, 3.0).unwrap();
            let block = |i: &[Var]| ops::silu_mul(&i[0], &i[1]);
            let mut sum = Var::constant(Tensor::zeros(&[2, 5], clinpeft_tensor::DType::F32));
            for _ in 0..2 {
                let y = if recompute {
                    checkpoint(&[&x, &made], block).unwrap()
                } else {
                    block(&[x.clone(), made.clone()]).unwrap()
                };
                sum = ops::add(&sum, &y).unwrap();
            }
            let g = backward(&sum).unwrap();
            g.of(&w).unwrap().as_slice::<f32>().unwrap().to_vec()
        };
        assert_eq!(run(false), run(true));
    }
}
