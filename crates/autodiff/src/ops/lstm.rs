//! Long short-term memory. See [`clinpeft_tensor::ops::lstm`].

use crate::{Result, Var};
use clinpeft_tensor::ops;

/// Outputs of every step from the input products `x` and the recurrent weights.
pub fn lstm(x: &Var, recurrent: &Var) -> Result<Var> {
    let (h, gates, c) = ops::lstm(x.value(), recurrent.value())?;
    let (u, out) = (recurrent.value().clone(), h.clone());
    Ok(Var::from_op(h, [x, recurrent], move |g, want| {
        let (dx, du) = ops::lstm_backward(g, [&u, &out, &gates, &c])?;
        Ok([want[0].then_some(dx), want[1].then_some(du)])
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
        fn gradient_equals_central_differences(n in 1usize..6, e in 1usize..5) {
            gradcheck([&[n, 4 * e], &[4 * e, e]], |[x, u]| lstm(x, u), Check::default()).unwrap();
        }
    }
}
