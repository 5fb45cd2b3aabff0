//! The operations. Each file states formula, shapes and derivative, checks its operands for every device, and holds
//! the CPU code.
//!
//! Floats to read may be stored in f32, bf16 or f16, each operand in its own type: they are computed with in f32, and results
//! are f32. [`Tensor::cast`] stores a result shorter.

mod adamw;
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

pub use adamw::{AdamW, Clip, Learned, adamw};
pub use attention::{AttentionDropout, AttentionShape, CuSeqlens, Mask, attention, attention_backward};
pub use bce_with_logits::bce_with_logits;
pub use concat::{concat, cut};
pub use cross_entropy::{cross_entropy, linear_cross_entropy};
pub use dropout::dropout;
pub use elementwise::{add, mul, scale};
pub use embedding::{embedding, embedding_backward};
pub use gelu::{gelu, gelu_backward};
pub use inverse_sqrt::{inverse_sqrt, inverse_sqrt_backward};
pub use layer_norm::{layer_norm, layer_norm_backward};
pub use low_rank::low_rank;
pub use lstm::{lstm, lstm_backward};
pub use matmul::{Layout, matmul};
pub use norm::{norm, norm_backward};
pub use relu::{relu, relu_backward};
pub use rms_norm::{rms_norm, rms_norm_backward};
pub use rotary::{Direction, rotary};
pub use rowwise::{add_row, mul_row, sum_rows};
pub use silu_mul::{silu_mul, silu_mul_backward};
pub use tanh::{tanh, tanh_backward};

use crate::{DType, Device, Error, Result, Shape, Tensor};

/// The operands in f32 where they are stored in 16 bits.
macro_rules! widen {
    ($($x:ident),+) => {
        $(
            let $x = $x.widened()?;
            let $x = &*$x;
        )+
    };
}
pub(crate) use widen;

/// Runs `$body` with `$t` standing for the float type of `$x`.
macro_rules! by_float {
    ($op:literal, $x:expr, $t:ident => $body:expr) => {
        match $x.dtype() {
            crate::DType::F32 => {
                type $t = f32;
                $body
            }
            crate::DType::F64 => {
                type $t = f64;
                $body
            }
            got => Err(crate::Error::DType { op: $op, expected: "F32 or F64".into(), got }),
        }
    };
}
pub(crate) use by_float;

fn shape_error(op: &'static str, what: &str, tensors: &[&Tensor]) -> Error {
    Error::Shape { op, what: what.into(), shapes: tensors.iter().map(|t| t.shape().clone()).collect() }
}

/// Checks that `ok` holds for the shapes of `tensors`.
fn require(ok: bool, op: &'static str, what: &str, tensors: &[&Tensor]) -> Result<()> {
    if ok { Ok(()) } else { Err(shape_error(op, what, tensors)) }
}

/// The common device of all operands.
fn same_device(op: &'static str, tensors: &[&Tensor]) -> Result<Device> {
    let first = tensors[0].device();
    for t in &tensors[1..] {
        if t.device() != first {
            return Err(Error::Device { op, left: first.name(), right: t.device().name() });
        }
    }
    Ok(first)
}

/// Checks that all operands have the dtype of the first.
fn same_dtype(op: &'static str, tensors: &[&Tensor]) -> Result<()> {
    let first = tensors[0].dtype();
    match tensors.iter().find(|t| t.dtype() != first) {
        Some(t) => Err(Error::DType { op, expected: format!("{first:?} as the first operand"), got: t.dtype() }),
        None => Ok(()),
    }
}

/// Checks that ids lie in `0..limit`.
fn check_ids(op: &'static str, ids: &[u32], limit: usize) -> Result<()> {
    match ids.iter().position(|i| *i as usize >= limit) {
        Some(place) => Err(Error::Index { op, index: ids[place] as usize, place, limit }),
        None => Ok(()),
    }
}

fn require_dtype(op: &'static str, t: &Tensor, dtype: DType) -> Result<()> {
    if t.dtype() == dtype { Ok(()) } else { Err(Error::DType { op, expected: format!("{dtype:?}"), got: t.dtype() }) }
}

fn tensor<T: crate::Element>(values: Vec<T>, shape: &Shape) -> Result<Tensor> {
    Tensor::from_vec(values, &shape.0)
}
