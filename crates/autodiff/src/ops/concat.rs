//! Rows after rows. See [`clinpeft_tensor::ops::concat`].

use crate::{Result, Var};
use clinpeft_tensor::ops;

/// The rows of `a`, then those of `b`.
pub fn concat(a: &Var, b: &Var) -> Result<Var> {
    let y = ops::concat(a.value(), b.value())?;
    let rows = a.dims()[0];
    Ok(Var::from_op(y, [a, b], move |g, want| {
        let (da, db) = ops::cut(g, rows)?;
        Ok([want[0].then_some(da), want[1].then_some(db)])
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
        fn gradient_equals_central_differences(m in 0usize..4, n in 0usize..4, d in 1usize..4) {
            gradcheck([&[m, d], &[n, d]], |[a, b]| concat(a, b), Check::default()).unwrap();
        }
    }
}
