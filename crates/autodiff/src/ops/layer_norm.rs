//! Layer normalisation. See [`clinpeft_tensor::ops::layer_norm`].

use crate::{Result, Var};
use clinpeft_tensor::ops;

/// Brings the last axis of `x` to zero mean and unit variance, then scales it by `weight` and adds `bias`.
pub fn layer_norm(x: &Var, weight: &Var, bias: &Var, eps: f64) -> Result<Var> {
    let (y, moments) = ops::layer_norm(x.value(), weight.value(), bias.value(), eps)?;
    let (xs, w) = (x.saved()?, weight.saved()?);
    Ok(Var::from_op(y, [x, weight, bias], move |g, want| {
        let (dx, dw, db) = ops::layer_norm_backward(g, &xs, &w, &moments)?;
        Ok([want[0].then_some(dx), want[1].then_some(dw), want[2].then_some(db)])
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Check, gradcheck};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn gradient_equals_central_differences(rows in 1usize..5, d in 1usize..20) {
            gradcheck([&[rows, d], &[d], &[d]], |[x, w, b]| layer_norm(x, w, b, 1e-2), Check::default()).unwrap();
        }
    }
}
