//! Inverse square root. See [`clinpeft_tensor::ops::inverse_sqrt`].

unary! {
    /// `1 / sqrt(x)`, and 0 where `x` is not above 0.
    inverse_sqrt, inverse_sqrt_backward, saves y
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{add, mul};
    use crate::{Check, Var, gradcheck};
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
