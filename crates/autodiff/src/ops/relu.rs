//! Rectifier. See [`clinpeft_tensor::ops::relu`].

unary! {
    /// `max(x, 0)`.
    relu, relu_backward, saves y
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
            gradcheck([&[rows, d]], |[x]| relu(x), Check::default()).unwrap();
        }
    }
}
