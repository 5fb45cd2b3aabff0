//! Gradients against central differences in f64.

use crate::Result;
use crate::tape::{Error, Var, backward_from};
use clinpeft_tensor::Tensor;
use clinpeft_tensor::rng::{Seed, normal};

/// How a gradient check is done.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Half the distance of the two points.
    pub step: f64,
    /// Largest accepted difference, relative to `1 + |gradient|`.
    pub tolerance: f64,
    /// Seed of operands and of the weights that reduce the result to a number.
    pub seed: u64,
}

impl Default for Check {
    fn default() -> Check {
        Check { step: 1e-5, tolerance: 1e-6, seed: 1 }
    }
}

/// Compares the backward rule of `f` with central differences for random operands of the given shapes.
///
/// Each operand is also frozen in turn, and must then get no gradient while the others keep theirs.
pub fn gradcheck<const N: usize>(
    shapes: [&[usize]; N],
    f: impl Fn([&Var; N]) -> Result<Var>,
    check: Check,
) -> Result<()> {
    let operands = shapes.map(|dims| random(dims, check.seed, &format!("operand {dims:?}")));
    let refs = |vars: &[Var; N]| -> Result<Var> { f(vars.each_ref()) };
    let leaves = operands.clone().map(Var::leaf);
    let out = refs(&leaves)?;
    let weights = random(out.dims(), check.seed, "weights");
    let gradients = backward_from(&out, weights.clone())?;
    for (n, operand) in operands.iter().enumerate() {
        let got = gradients.of(&leaves[n]).ok_or_else(|| Error::Gradcheck(format!("operand {n} got no gradient")))?;
        for i in 0..operand.count() {
            let at = |delta: f64| -> Result<f64> {
                let mut moved = operands.clone();
                moved[n].as_mut_slice::<f64>()?[i] += delta;
                let y = refs(&moved.map(Var::constant))?;
                Ok(y.value().as_slice::<f64>()?.iter().zip(weights.as_slice::<f64>()?).map(|(y, w)| y * w).sum())
            };
            let want = (at(check.step)? - at(-check.step)?) / (2.0 * check.step);
            let got = got.as_slice::<f64>()?[i];
            if (got - want).abs() > check.tolerance * (1.0 + want.abs()) || got.is_nan() {
                return Err(Error::Gradcheck(format!("operand {n}, element {i}: {got} but differences give {want}")));
            }
        }
    }
    frozen_in_turn(&operands, &gradients, &leaves, &weights, refs)
}

fn frozen_in_turn<const N: usize>(
    operands: &[Tensor; N],
    all: &crate::Gradients,
    leaves: &[Var; N],
    weights: &Tensor,
    f: impl Fn(&[Var; N]) -> Result<Var>,
) -> Result<()> {
    for frozen in 0..N {
        let mut i = 0;
        let vars = operands.clone().map(|t| {
            i += 1;
            if i - 1 == frozen { Var::constant(t) } else { Var::leaf(t) }
        });
        let out = f(&vars)?;
        if N == 1 {
            if out.requires_grad() {
                return Err(Error::Gradcheck("a constant operand was recorded".into()));
            }
            continue;
        }
        let gradients = backward_from(&out, weights.clone())?;
        for (n, var) in vars.iter().enumerate() {
            let same = match (gradients.of(var), n == frozen) {
                (None, true) => true,
                (Some(g), false) => Some(g.to_f64_vec()?) == all.of(&leaves[n]).map(Tensor::to_f64_vec).transpose()?,
                _ => false,
            };
            if !same {
                return Err(Error::Gradcheck(format!("operand {n} changes when operand {frozen} is frozen")));
            }
        }
    }
    Ok(())
}

fn random(dims: &[usize], seed: u64, name: &str) -> Tensor {
    let mut s = Seed(seed).stream(name);
    let n = dims.iter().product();
    Tensor::from_vec((0..n).map(|_| normal(&mut s)).collect(), dims).expect("as many values as places")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clinpeft_tensor::ops;

    #[test]
    fn wrong_rule_is_found() {
        let wrong =
            |[x]: [&Var; 1]| Ok(Var::from_op(ops::scale(x.value(), 2.0)?, [x], |g, _| Ok([Some(ops::scale(g, 1.9)?)])));
        assert!(gradcheck([&[3]], wrong, Check::default()).is_err());
    }

    #[test]
    fn missing_gradient_is_found() {
        let missing = |[x, y]: [&Var; 2]| {
            Ok(Var::from_op(ops::add(x.value(), y.value())?, [x, y], |g, _| Ok([Some(g.clone()), None])))
        };
        assert!(gradcheck([&[3], &[3]], missing, Check::default()).is_err());
    }
}
