//! Low-rank update. See [`clinpeft_tensor::ops::low_rank`].

use crate::{Result, Var};
use clinpeft_tensor::ops::{self, Layout};

/// `base + scale * (x A^T) B^T`.
pub fn low_rank(base: &Var, x: &Var, a: &Var, b: &Var, scale: f64) -> Result<Var> {
    let (y, u) = ops::low_rank(base.value(), x.value(), a.value(), b.value(), scale)?;
    let a_grad = a.requires_grad();
    let saved_u = b.requires_grad().then_some(u);
    let saved_x = a_grad.then(|| x.saved()).transpose()?;
    let saved_a = x.requires_grad().then(|| a.value().clone());
    let saved_b = (a_grad || x.requires_grad()).then(|| b.value().clone());
    Ok(Var::from_op(y, [base, x, a, b], move |g, [base, ..]| {
        let scaled = |t| ops::scale(&t, scale);
        let db = saved_u.map(|u| ops::matmul(g, &u, Layout::LeftTransposed).and_then(scaled)).transpose()?;
        let du = saved_b.map(|b| ops::matmul(g, &b, Layout::Normal).and_then(scaled)).transpose()?;
        let from_u = |other: Option<_>, layout| {
            let (Some(du), Some(other)) = (&du, other) else {
                return Ok(None);
            };
            ops::matmul(du, &other, layout).map(Some)
        };
        let da = from_u(saved_x, Layout::LeftTransposed)?;
        let dx = from_u(saved_a, Layout::Normal)?;
        Ok([base.then(|| g.clone()), dx, da, db])
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
        fn gradient_equals_central_differences(t in 1usize..5, width in 1usize..5, out in 1usize..5, r in 1usize..4) {
            let shapes: [&[usize]; 4] = [&[t, out], &[t, width], &[r, width], &[out, r]];
            gradcheck(shapes, |[base, x, a, b]| low_rank(base, x, a, b, 1.7), Check::default()).unwrap();
        }
    }
}
