//! The operations with their backward rules, one file each, named as in [`clinpeft_tensor::ops`], where formulas,
//! shapes and derivatives are stated.

mod attention;
mod bce_with_logits;
mod concat;
mod cross_entropy;
mod dropout;
mod elementwise;
mod embedding;
mod gelu;
mod inverse_sqrt;
mod layer_norm;
mod low_rank;
mod lstm;
mod matmul;
mod norm;
mod relu;
mod rms_norm;
mod rotary;
mod rowwise;
mod silu_mul;
mod tanh;

pub use attention::attention;
pub use bce_with_logits::bce_with_logits;
pub use concat::concat;
pub use cross_entropy::{cross_entropy, linear_cross_entropy};
pub use dropout::dropout;
pub use elementwise::{add, mul, scale};
pub use embedding::embedding;
pub use gelu::gelu;
pub use inverse_sqrt::inverse_sqrt;
pub use layer_norm::layer_norm;
pub use low_rank::low_rank;
pub use lstm::lstm;
pub use matmul::{linear, matmul};
pub use norm::norm;
pub use relu::relu;
pub use rms_norm::rms_norm;
pub use rotary::rotary;
pub use rowwise::{add_row, mul_row};
pub use silu_mul::silu_mul;
pub use tanh::tanh;

use clinpeft_tensor::{Device, Result, Tensor};

/// `t` times the gradient `g` of a one-element loss. On a device the number stays there: to read it would be to wait for all
/// work before it.
fn times(t: &Tensor, g: &Tensor) -> Result<Tensor> {
    use clinpeft_tensor::ops::{mul_row, scale};
    match g.device() {
        Device::Cpu => scale(t, g.item()?),
        Device::Other(_) => mul_row(&t.reshape(&[t.count(), 1])?, &g.reshape(&[1])?)?.reshape(t.dims()),
    }
}
