//! Rotary position embedding. See [`clinpeft_tensor::ops::rotary`].

use crate::{Result, Var};
use clinpeft_tensor::Tensor;
use clinpeft_tensor::ops::{self, Direction};

/// Rotates every head by the angles of its row's position; the tables have no gradient.
pub fn rotary(x: &Var, cos: &Tensor, sin: &Tensor, positions: &Tensor) -> Result<Var> {
    let y = ops::rotary(x.value(), cos, sin, positions, Direction::Forward)?;
    let (cos, sin, positions) = (cos.clone(), sin.clone(), positions.clone());
    Ok(Var::from_op(y, [x], move |g, _| Ok([Some(ops::rotary(g, &cos, &sin, &positions, Direction::Inverse)?)])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Check, gradcheck};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn gradient_equals_central_differences(heads in 1usize..4, half in 1usize..4, at in 0u32..4) {
            let angle: Vec<f64> = (0..4 * half).map(|i| i as f64 * 0.3).collect();
            let table = |f: fn(f64) -> f64| Tensor::from_vec(angle.iter().map(|a| f(*a)).collect(), &[4, half]).unwrap();
            let positions = Tensor::from_vec(vec![at, 0, 3], &[3]).unwrap();
            let (cos, sin) = (table(f64::cos), table(f64::sin));
            gradcheck([&[3, heads * 2 * half]], |[x]| rotary(x, &cos, &sin, &positions), Check::default()).unwrap();
        }
    }
}
