//! Binary cross-entropy on logits. See [`clinpeft_tensor::ops::bce_with_logits`].

use super::times;
use crate::{Result, Var};
use clinpeft_tensor::{Tensor, ops};

/// Sum over all cells; shape `[1]`.
pub fn bce_with_logits(logits: &Var, targets: &Tensor) -> Result<Var> {
    let (loss, dz) = ops::bce_with_logits(logits.value(), targets)?;
    Ok(Var::from_op(loss, [logits], move |g, _| Ok([Some(times(&dz, g)?)])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Check, gradcheck};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn gradient_equals_central_differences(rows in 1usize..5, c in 1usize..6) {
            let y = Tensor::from_vec((0..rows * c).map(|i| (i % 3) as f64 / 2.0).collect(), &[rows, c]).unwrap();
            gradcheck([&[rows, c]], |[z]| bce_with_logits(z, &y), Check::default()).unwrap();
        }
    }
}
