//! Gaussian error linear unit. See [`clinpeft_tensor::ops::gelu`].

use crate::{Result, Var};
use clinpeft_tensor::ops;

/// `x` times the share of a standard normal below it.
pub fn gelu(x: &Var) -> Result<Var> {
    let saved = x.saved()?;
    Ok(Var::from_op(ops::gelu(x.value())?, [x], move |g, _| Ok([Some(ops::gelu_backward(g, &saved)?)])))
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
            gradcheck([&[rows, d]], |[x]| gelu(x), Check::default()).unwrap();
        }
    }
}
