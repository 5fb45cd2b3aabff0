//! Gaussian error linear unit. See [`clinpeft_tensor::ops::gelu`].

unary! {
    /// `x` times the share of a standard normal below it.
    gelu, gelu_backward, saves x
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
