//! Recomputation of a block (Chen et al. 2016, section 4).

use crate::tape::{Var, backward_from, without_tape};
use crate::{Error, Result};

/// Runs `block` on `input` and keeps only `input`; on the way back the block is computed again with the tape on.
///
/// Parameters that `block` holds get their gradients as usual. The gradients are the same to the bit, because the same
/// operations run in the same order; `block` must therefore be a function of its input (dropout masks by key are).
pub fn checkpoint<E>(input: &Var, block: impl Fn(&Var) -> Result<Var, E> + Send + 'static) -> Result<Var, E>
where
    E: From<Error> + Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (value, touched) = without_tape(|| block(input));
    let value = value?;
    if !touched {
        return Ok(value);
    }
    let kept = input.value().clone();
    let outer = input.node();
    Ok(Var::recorded(value.value().clone(), move |g| {
        let inner = if outer.is_some() {
            Var::leaf(kept)
        } else {
            Var::constant(kept)
        };
        let out = block(&inner).map_err(|e| Error::Block(e.into()))?;
        let leaves = backward_from(&out, g.clone())?;
        let inside = inner.node();
        let same =
            |a: &std::sync::Arc<crate::tape::Node>| inside.as_ref().is_some_and(|b| std::sync::Arc::ptr_eq(a, b));
        Ok(leaves
            .into_contributions()
            .into_iter()
            .filter_map(|(node, g)| {
                if same(&node) {
                    Some((outer.clone()?, g))
                } else {
                    Some((node, g))
                }
            })
            .collect())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{backward, ops};
    use clinpeft_tensor::Tensor;

    fn random(dims: &[usize], name: &str) -> Tensor {
        let mut s = clinpeft_tensor::rng::Seed(5).stream(name);
        let n = dims.iter().product();
        Tensor::from_vec(
            (0..n).map(|_| clinpeft_tensor::rng::normal(&mut s) as f32).collect(),
            dims,
        )
        .unwrap()
    }

    fn block(w: &Var) -> impl Fn(&Var) -> Result<Var> + Send + use<> {
        let w = w.clone();
        move |x| {
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
                    checkpoint(&h, block(w)).unwrap()
                } else {
                    block(w)(&h).unwrap()
                };
            }
            let g = backward(&h).unwrap();
            let all: Vec<Vec<f32>> = weights
                .iter()
                .chain([&x])
                .map(|v| g.of(v).unwrap().as_slice::<f32>().unwrap().to_vec())
                .collect();
            all
        };
        assert_eq!(run(false), run(true));
    }

    #[test]
    fn frozen_block_records_nothing() {
        let w = Var::constant(random(&[5, 5], "w"));
        let x = Var::constant(random(&[6, 5], "x"));
        assert!(!checkpoint(&x, block(&w)).unwrap().needs_gradient());
    }

    #[test]
    fn frozen_input_still_trains_the_parameters_inside() {
        let w = Var::leaf(random(&[5, 5], "w"));
        let x = Var::constant(random(&[6, 5], "x"));
        let y = checkpoint(&x, block(&w)).unwrap();
        assert!(backward(&y).unwrap().of(&w).is_some());
    }
}
