//! The operations. Each file states formula, shapes and derivative, checks its operands for every device, and holds
//! the CPU code.
//!
//! Floats to read may be stored in f32, bf16 or f16, each operand in its own type: they are computed with in f32, and results
//! are f32. [`Tensor::cast`] stores a result shorter.

pub use crate::params::*;
pub use crate::tensor::{Clip, Learned};

macro_rules! modules {
    (differentiable { $($op:ident { $($methods:tt)* })* } in_place { $($other:ident { $($more:tt)* })* }) => {
        $(mod $op; pub use $op::*;)*
        $(mod $other; pub use $other::*;)*
    };
}
crate::for_each_op!(modules);

use crate::{DType, Device, Error, Result, Shape, Tensor};

/// The operands in f32 where they are stored in 16 bits.
macro_rules! upcast {
    ($($x:ident),+) => {
        $(
            let $x = $x.upcast()?;
            let $x = &*$x;
        )+
    };
}
pub(crate) use upcast;

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
