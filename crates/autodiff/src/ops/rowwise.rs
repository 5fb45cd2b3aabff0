//! One row for every row. See the file of the same name in `clinpeft_tensor::ops`.

use crate::{Result, Var};
use clinpeft_tensor::ops;

/// `x + row` in every row.
pub fn add_row(x: &Var, row: &Var) -> Result<Var> {
    let y = ops::add_row(x.value(), row.value())?;
    Ok(Var::from_op(y, [x, row], |g, want| {
        let dw = want[1].then(|| ops::sum_rows(g)).transpose()?;
        Ok([want[0].then(|| g.clone()), dw])
    }))
}

/// `x * row` in every row.
pub fn mul_row(x: &Var, row: &Var) -> Result<Var> {
    let y = ops::mul_row(x.value(), row.value())?;
    let saved_x = row.requires_grad().then(|| x.saved()).transpose()?;
    let saved_row = x.requires_grad().then(|| row.saved()).transpose()?;
    Ok(Var::from_op(y, [x, row], move |g, _| {
        let dx = saved_row.map(|w| ops::mul_row(g, &w)).transpose()?;
        let dw = saved_x.map(|x| ops::sum_rows(&ops::mul(g, &x)?)).transpose()?;
        Ok([dx, dw])
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
        fn gradient_equals_central_differences(rows in 1usize..5, d in 1usize..9) {
            gradcheck([&[rows, d], &[d]], |[x, w]| mul_row(&add_row(x, w)?, w), Check::default()).unwrap();
        }
    }
}
