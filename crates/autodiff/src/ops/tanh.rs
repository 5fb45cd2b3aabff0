//! Hyperbolic tangent. See [`clinpeft_tensor::ops::tanh`].

use crate::{Result, Var};
use clinpeft_tensor::ops;

/// `tanh(x)`.
pub fn tanh(x: &Var) -> Result<Var> {
    let y = ops::tanh(x.value())?;
    let saved = y.clone();
    Ok(Var::from_op(y, [x], move |g, _| Ok([Some(ops::tanh_backward(g, &saved)?)])))
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
            gradcheck([&[rows, d]], |[x]| tanh(x), Check::default()).unwrap();
        }
    }
}
