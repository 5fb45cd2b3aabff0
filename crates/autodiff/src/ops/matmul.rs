//! Matrix product and linear layer. See [`clinpeft_tensor::ops::matmul`].

use crate::{Result, Var};
use clinpeft_tensor::Tensor;
use clinpeft_tensor::ops::{self, Layout};

/// `a b`, with either operand transposed.
pub fn matmul(a: &Var, b: &Var, layout: Layout) -> Result<Var> {
    let y = ops::matmul(a.value(), b.value(), layout)?;
    // The gradient of one operand needs the other one only.
    let left = b.requires_grad().then(|| a.saved()).transpose()?;
    let right = a.requires_grad().then(|| b.saved()).transpose()?;
    Ok(Var::from_op(y, [a, b], move |g, _| {
        let da = right.map(|b| left_gradient(g, &b, layout)).transpose()?;
        let db = left.map(|a| right_gradient(g, &a, layout)).transpose()?;
        Ok([da, db])
    }))
}

/// `y = x W^T` with x `[t, in]` and W `[out, in]`, which may be stored in 16 bits if it is frozen.
pub fn linear(x: &Var, weight: &Var) -> Result<Var> {
    matmul(x, weight, Layout::RightTransposed)
}

fn left_gradient(g: &Tensor, b: &Tensor, layout: Layout) -> Result<Tensor> {
    Ok(match layout {
        Layout::Normal => ops::matmul(g, b, Layout::RightTransposed)?,
        Layout::RightTransposed => ops::matmul(g, b, Layout::Normal)?,
        Layout::LeftTransposed => ops::matmul(b, g, Layout::RightTransposed)?,
    })
}

fn right_gradient(g: &Tensor, a: &Tensor, layout: Layout) -> Result<Tensor> {
    Ok(match layout {
        Layout::Normal => ops::matmul(a, g, Layout::LeftTransposed)?,
        Layout::RightTransposed => ops::matmul(g, a, Layout::LeftTransposed)?,
        Layout::LeftTransposed => ops::matmul(a, g, Layout::Normal)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Check, gradcheck};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn gradient_equals_central_differences(m in 1usize..5, k in 1usize..5, n in 1usize..5, batch in 1usize..3) {
            for layout in [Layout::Normal, Layout::RightTransposed, Layout::LeftTransposed] {
                let mut a = vec![m, k];
                let mut b = vec![k, n];
                if layout == Layout::LeftTransposed { a.swap(0, 1) }
                if layout == Layout::RightTransposed { b.swap(0, 1) }
                gradcheck([&a, &b], |[a, b]| matmul(a, b, layout), Check::default()).unwrap();
                a.insert(0, batch);
                b.insert(0, batch);
                gradcheck([&a, &b], |[a, b]| matmul(a, b, layout), Check::default()).unwrap();
            }
        }
    }
}
