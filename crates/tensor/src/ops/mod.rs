//! The operations. Each file states formula, shapes and derivative, checks its operands for every device, and holds
//! the CPU code.
//!
//! Floats to read may be stored in f32, bf16 or f16, each operand in its own type: they are computed with in f32, and results
//! are f32. [`Tensor::cast`] stores a result shorter.

pub use crate::params::*;
pub use crate::tensor::{AdamWParam, Clip};

use crate::parallel::for_rows;
use crate::real::Real;
use crate::{Buffer, DType, Device, Error, Result, Shape, Tensor};

/// The operands in f32 where they are stored in 16 bits.
macro_rules! upcast {
    ($($x:ident),+) => {
        $(
            let $x = $x.upcast()?;
            let $x = &*$x;
        )+
    };
}

/// Runs `$body` with `$t` standing for the float type of `$x`.
macro_rules! by_float {
    ($op:expr, $x:expr, $t:ident => $body:expr) => {
        match $x.dtype() {
            $crate::DType::F32 => {
                type $t = f32;
                $body
            }
            $crate::DType::F64 => {
                type $t = f64;
                $body
            }
            got => Err($crate::Error::DType { op: $op, expected: "F32 or F64".into(), got }),
        }
    };
}

/// An operation on each element of one tensor, or of two of one shape, with `$t` standing for their float type. Errors if
/// shapes, dtypes or devices differ.
macro_rules! elementwise {
    ($(#[$doc:meta])* $op:ident($x:ident), $t:ident => $y:expr) => {
        $(#[$doc])*
        pub fn $op($x: &$crate::Tensor) -> $crate::Result<$crate::Tensor> {
            upcast!($x);
            match $x.device() {
                $crate::Device::Other(backend) => backend.$op($x),
                $crate::Device::Cpu => by_float!(stringify!($op), $x, $t => {
                    super::each::<$t>($x, $x, #[inline(always)] |$x, _| $y)
                }),
            }
        }
    };
    ($(#[$doc:meta])* $op:ident($a:ident, $b:ident), $t:ident => $y:expr) => {
        $(#[$doc])*
        pub fn $op($a: &$crate::Tensor, $b: &$crate::Tensor) -> $crate::Result<$crate::Tensor> {
            upcast!($a, $b);
            let device = super::operands(stringify!($op), $a.dims() == $b.dims(), "equal shapes", &[$a, $b])?;
            match device {
                $crate::Device::Other(backend) => backend.$op($a, $b),
                $crate::Device::Cpu => by_float!(stringify!($op), $a, $t => {
                    super::each::<$t>($a, $b, #[inline(always)] |$a, $b| $y)
                }),
            }
        }
    };
}

macro_rules! modules {
    (differentiable { $($op:ident { $($methods:tt)* })* } in_place { $($other:ident { $($more:tt)* })* }) => {
        $(mod $op; pub use $op::*;)*
        $(mod $other; pub use $other::*;)*
    };
}
crate::for_each_op!(modules);

/// `f` of the elements at the same place.
#[inline(always)]
fn each<T: Real>(a: &Tensor, b: &Tensor, f: impl Fn(T, T) -> T + Sync) -> Result<Tensor> {
    let (x, y) = (a.as_slice::<T>()?, b.as_slice::<T>()?);
    let mut out = Buffer::<T>::uninit(x.len());
    for_rows(
        &mut out,
        1,
        #[inline(always)]
        |first, out| {
            let n = out.len();
            let (x, y) = (&x[first..first + n], &y[first..first + n]);
            for i in 0..n {
                out[i] = f(x[i], y[i]);
            }
        },
    );
    Tensor::from_buffer(out, a.dims())
}

/// The common device of float operands. Errors unless `ok` holds for their shapes, and they have one dtype and one device.
fn operands(op: &'static str, ok: bool, what: &str, tensors: &[&Tensor]) -> Result<Device> {
    require(ok, op, what, tensors)?;
    same_dtype(op, tensors)?;
    same_device(op, tensors)
}

/// Checks that `ok` holds for the shapes of `tensors`.
fn require(ok: bool, op: &'static str, what: &str, tensors: &[&Tensor]) -> Result<()> {
    if ok {
        return Ok(());
    }
    Err(Error::Shape { op, what: what.into(), shapes: tensors.iter().map(|t| t.shape().clone()).collect() })
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
