//! Root-mean-square normalisation. See [`clinpeft_tensor::ops::rms_norm`].

use crate::{Result, Var};
use clinpeft_tensor::ops;

/// Scales the last axis of `x` to unit root mean square, then by `weight`.
pub fn rms_norm(x: &Var, weight: &Var, eps: f64) -> Result<Var> {
    let (y, inv_rms) = ops::rms_norm(x.value(), weight.value(), eps)?;
    let (xs, w) = (x.saved()?, weight.saved()?);
    Ok(Var::from_op(y, [x, weight], move |g, want| {
        let (dx, dw) = ops::rms_norm_backward(g, &xs, &w, &inv_rms)?;
        Ok([want[0].then_some(dx), want[1].then_some(dw)])
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
            gradcheck([&[rows, d], &[d]], |[x, w]| rms_norm(x, w, 1e-2), Check::default()).unwrap();
        }
    }
}
