//! Dropout by a counter-based mask. See [`clinpeft_tensor::ops::dropout`].

use crate::{Result, Var};
use clinpeft_tensor::ops;
use clinpeft_tensor::rng::Key;

/// Zeroes a share `rate` of the elements and scales the rest.
pub fn dropout(x: &Var, rate: f64, key: Key) -> Result<Var> {
    if rate == 0.0 {
        return Ok(x.clone());
    }
    let y = ops::dropout(x.value(), rate, key)?;
    Ok(Var::from_op(y, [x], move |g, _| Ok([Some(ops::dropout(g, rate, key)?)])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Check, gradcheck};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn gradient_equals_central_differences(rows in 1usize..5, d in 1usize..9, rate in 0.0f64..0.9) {
            gradcheck([&[rows, d]], |[x]| dropout(x, rate, Key([3, 4])), Check::default()).unwrap();
        }
    }
}
