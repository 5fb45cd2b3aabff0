//! Euclidean norm. See [`clinpeft_tensor::ops::norm`].

use crate::{Result, Var};
use clinpeft_tensor::ops;

/// The norm of all elements, `[1]`.
pub fn norm(x: &Var) -> Result<Var> {
    let y = ops::norm(x.value())?;
    let (saved, length) = (x.saved()?, y.clone());
    Ok(Var::from_op(y, [x], move |g, _| Ok([Some(ops::norm_backward(g, &saved, &length)?)])))
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
            gradcheck([&[rows, d]], |[x]| norm(x), Check::default()).unwrap();
        }
    }
}
