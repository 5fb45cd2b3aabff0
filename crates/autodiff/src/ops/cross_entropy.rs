//! Weighted cross-entropy, alone and fused with the head. See the file of the same name in `clinpeft_tensor::ops`.

use super::times;
use crate::{Result, Var};
use clinpeft_tensor::{Tensor, ops};

/// Sum over rows of weight times negative log-likelihood; shape `[1]`.
pub fn cross_entropy(logits: &Var, targets: &Tensor, weights: &Tensor) -> Result<Var> {
    let (loss, dz) = ops::cross_entropy(logits.value(), targets, weights)?;
    Ok(Var::from_op(loss, [logits], move |g, _| Ok([Some(times(&dz, g)?)])))
}

/// The same for logits `x head^T` that are never kept whole.
pub fn linear_cross_entropy(x: &Var, head: &Var, targets: &Tensor, weights: &Tensor) -> Result<Var> {
    let want = [x.requires_grad(), head.requires_grad()];
    let (loss, dx, dhead) = ops::linear_cross_entropy(x.value(), head.value(), targets, weights, want)?;
    Ok(Var::from_op(loss, [x, head], move |g, _| {
        let scaled = |t: Option<Tensor>| t.map(|t| times(&t, g)).transpose();
        Ok([scaled(dx)?, scaled(dhead)?])
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
        fn gradient_equals_central_differences(
            rows in proptest::collection::vec((0u32..5, 0.0f64..2.0), 1..6),
            d in 1usize..5,
        ) {
            let n = rows.len();
            let targets = Tensor::from_vec(rows.iter().map(|r| r.0).collect(), &[n]).unwrap();
            // One row in three has no weight, as padding and prompts have.
            let weights: Vec<f64> = rows.iter().enumerate().map(|(i, r)| if i % 3 == 1 { 0.0 } else { r.1 }).collect();
            let weights = Tensor::from_vec(weights, &[n]).unwrap();
            gradcheck([&[n, 5]], |[z]| cross_entropy(z, &targets, &weights), Check::default()).unwrap();
            let fused = |[x, h]: [&Var; 2]| linear_cross_entropy(x, h, &targets, &weights);
            gradcheck([&[n, d], &[5, d]], fused, Check::default()).unwrap();
        }
    }
}
