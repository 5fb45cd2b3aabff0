//! Shapes, dtypes, storage, the op contract and its CPU implementation.
//!
//! - One concrete [`Tensor`]: row-major, contiguous, cheap to clone, on a [`Device`] chosen at run time.
//! - One file per operation in [`ops`]: the checks that hold on every device (the contract) and the CPU code, which is
//!   written once for `f32` and `f64`; the `f64` results are the oracle of every other backend.
//! - Another backend implements [`Backend`] and is handed around as a [`Device`] value; no type parameter shows.
//! - The same inputs give the same bits at any number of threads: work is cut by shape, never by thread.
//!
//! ```
//! use clinpeft_tensor::{Tensor, ops};
//! let x = Tensor::from_vec(vec![3.0f32, 4.0], &[1, 2])?;
//! let w = Tensor::from_vec(vec![1.0f32, 1.0], &[2])?;
//! let (y, _) = ops::rms_norm(&x, &w, 0.0)?;
//! assert!((y.as_slice::<f32>()?[0] - 3.0 / 12.5f32.sqrt()).abs() < 1e-6);
//! # Ok::<(), clinpeft_tensor::Error>(())
//! ```

mod buffer;
pub mod conformance;
mod convert;
mod element;
mod error;
pub mod gemm;
mod op_list;
pub mod ops;
mod parallel;
mod params;
mod real;
mod shape;
mod special;
mod tensor;

pub use buffer::{Buffer, memory};
pub use clinpeft_rng as rng;
pub use element::{DType, Element};
pub use error::{Error, Result};
pub use gemm::Precision;
pub use shape::Shape;
pub use tensor::{Backend, Device, Tensor};
