//! The operations with their backward rules, one file each, named as in [`clinpeft_tensor::ops`], where formulas,
//! shapes and derivatives are stated.

use clinpeft_tensor::{Device, Result, Tensor};

/// An operation of one operand whose backward rule needs its operand (`saves x`), its result (`saves y`), or both.
macro_rules! unary {
    ($(#[$doc:meta])* $op:ident, $backward:ident, saves x) => {
        unary! { @ $(#[$doc])* $op, x, y, [x.saved()?], |g, [x]| clinpeft_tensor::ops::$backward(g, &x) }
    };
    ($(#[$doc:meta])* $op:ident, $backward:ident, saves y) => {
        unary! { @ $(#[$doc])* $op, x, y, [y.clone()], |g, [y]| clinpeft_tensor::ops::$backward(g, &y) }
    };
    ($(#[$doc:meta])* $op:ident, $backward:ident, saves x, y) => {
        unary! { @ $(#[$doc])* $op, x, y, [x.saved()?, y.clone()], |g, [x, y]| clinpeft_tensor::ops::$backward(g, &x, &y) }
    };
    (@ $(#[$doc:meta])* $op:ident, $x:ident, $y:ident, $saved:expr, |$g:ident, $parts:pat_param| $rule:expr) => {
        $(#[$doc])*
        pub fn $op($x: &crate::Var) -> crate::Result<crate::Var> {
            let $y = clinpeft_tensor::ops::$op($x.value())?;
            let saved = $saved;
            Ok(crate::Var::from_op($y, [$x], move |$g, _| {
                let $parts = saved;
                Ok([Some($rule?)])
            }))
        }
    };
}
macro_rules! modules {
    (differentiable { $($op:ident { $($methods:tt)* })* } in_place { $($other:tt)* }) => {
        $(mod $op; pub use $op::*;)*
    };
}
clinpeft_tensor::for_each_op!(modules);

/// `t` times the gradient `g` of a one-element loss. On a device the number stays there: to read it would be to wait for all
/// work before it.
fn times(t: &Tensor, g: &Tensor) -> Result<Tensor> {
    use clinpeft_tensor::ops::{mul_row, scale};
    match g.device() {
        Device::Cpu => scale(t, g.item()?),
        Device::Other(_) => mul_row(&t.reshape(&[t.count(), 1])?, &g.reshape(&[1])?)?.reshape(t.dims()),
    }
}
