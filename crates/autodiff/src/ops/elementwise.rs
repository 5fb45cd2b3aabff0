//! Sum, product, and product with a number. See the file of the same name in `clinpeft_tensor::ops`.

use crate::{Result, Var};
use clinpeft_tensor::ops;

/// `a + b`.
pub fn add(a: &Var, b: &Var) -> Result<Var> {
    let y = ops::add(a.value(), b.value())?;
    Ok(Var::from_op(y, [a, b], |g, want| Ok(want.map(|w| w.then(|| g.clone())))))
}

/// `a * b`, element by element.
pub fn mul(a: &Var, b: &Var) -> Result<Var> {
    let y = ops::mul(a.value(), b.value())?;
    let left = b.requires_grad().then(|| a.saved()).transpose()?;
    let right = a.requires_grad().then(|| b.saved()).transpose()?;
    Ok(Var::from_op(y, [a, b], move |g, _| {
        let da = right.map(|b| ops::mul(g, &b)).transpose()?;
        let db = left.map(|a| ops::mul(g, &a)).transpose()?;
        Ok([da, db])
    }))
}

/// `factor * x`.
pub fn scale(x: &Var, factor: f64) -> Result<Var> {
    let y = ops::scale(x.value(), factor)?;
    Ok(Var::from_op(y, [x], move |g, _| Ok([Some(ops::scale(g, factor)?)])))
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
            gradcheck([&[rows, d], &[rows, d]], |[a, b]| add(a, &scale(b, 0.3)?), Check::default()).unwrap();
            gradcheck([&[rows, d], &[rows, d]], |[a, b]| mul(a, b), Check::default()).unwrap();
        }
    }
}
