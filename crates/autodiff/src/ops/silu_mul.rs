//! The gated unit of LLaMA's MLP. See [`clinpeft_tensor::ops::silu_mul`].

use crate::{Result, Var};
use clinpeft_tensor::ops;

/// `silu(gate) * up`.
pub fn silu_mul(gate: &Var, up: &Var) -> Result<Var> {
    let y = ops::silu_mul(gate.value(), up.value())?;
    let (a, u) = (gate.saved()?, up.saved()?);
    Ok(Var::from_op(y, [gate, up], move |g, want| {
        let (da, du) = ops::silu_mul_backward(g, a, u)?;
        Ok([want[0].then_some(da), want[1].then_some(du)])
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
        fn gradient_equals_central_differences(rows in 1usize..5, d in 1usize..9) {
            gradcheck([&[rows, d], &[rows, d]], |[a, u]| silu_mul(a, u), Check::default()).unwrap();
        }
    }
}
