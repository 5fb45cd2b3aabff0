//! Inverse square root. See [`clinpeft_tensor::ops::inverse_sqrt`].

use crate::{Result, Var};
use clinpeft_tensor::ops;

/// `1 / sqrt(x)`, and 0 where `x` is not above 0.
pub fn inverse_sqrt(x: &Var) -> Result<Var> {
    let y = ops::inverse_sqrt(x.value())?;
    let saved = y.clone();
    Ok(Var::from_op(y, [x], move |g, _| Ok([Some(ops::inverse_sqrt_backward(g, &saved)?)])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{add, mul};
    use crate::{Check, gradcheck};
    use clinpeft_tensor::Tensor;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn gradient_equals_central_differences(rows in 1usize..5, d in 1usize..9) {
            let half = Var::constant(Tensor::from_vec(vec![0.5f64; rows * d], &[rows, d]).unwrap());
            gradcheck([&[rows, d]], |[x]| inverse_sqrt(&add(&mul(x, x)?, &half)?), Check::default()).unwrap();
        }
    }
}
