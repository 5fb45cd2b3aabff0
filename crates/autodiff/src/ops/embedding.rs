//! Rows of a table. See [`clinpeft_tensor::ops::embedding`].

use crate::{Result, Var};
use clinpeft_tensor::{Tensor, ops};

/// The rows of `table` at `ids`.
pub fn embedding(table: &Var, ids: &Tensor) -> Result<Var> {
    let y = ops::embedding(table.value(), ids)?;
    let (ids, rows) = (ids.clone(), table.dims()[0]);
    Ok(Var::from_op(y, [table], move |g, _| Ok([Some(ops::embedding_backward(g, &ids, rows)?)])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Check, gradcheck};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn gradient_equals_central_differences(ids in proptest::collection::vec(0u32..4, 0..7), d in 1usize..5) {
            let n = ids.len();
            let ids = Tensor::from_vec(ids, &[n]).unwrap();
            gradcheck([&[4, d]], |[t]| embedding(t, &ids), Check::default()).unwrap();
        }
    }
}
