//! The operations with their backward rules, one file each, named as in [`clinpeft_tensor::ops`], where formulas,
//! shapes and derivatives are stated.

mod attention;
mod bce_with_logits;
mod concat;
mod cross_entropy;
mod dropout;
mod elementwise;
mod embedding;
mod low_rank;
mod matmul;
mod rms_norm;
mod rotary;
mod silu_mul;

pub use attention::attention;
pub use bce_with_logits::bce_with_logits;
pub use concat::concat;
pub use cross_entropy::{cross_entropy, linear_cross_entropy};
pub use dropout::dropout;
pub use elementwise::{add, scale};
pub use embedding::embedding;
pub use low_rank::low_rank;
pub use matmul::{linear, matmul};
pub use rms_norm::rms_norm;
pub use rotary::rotary;
pub use silu_mul::silu_mul;

use clinpeft_tensor::{Result, Tensor};

/// The gradient of a one-element loss as a number.
fn scalar(g: &Tensor) -> Result<f64> {
    g.item()
}
