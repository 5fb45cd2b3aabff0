//! Reverse-mode differentiation: one backward rule per op, recomputation, gradient checks.
//!
//! - A [`Var`] is a tensor that may remember how it was made. What is frozen is a *constant*: operations on constants
//!   alone leave nothing on the tape, neither inputs nor gradients.
//! - Whether a leaf requires a gradient is fixed when it is created ([`Var::leaf`] or [`Var::constant`]).
//! - [`checkpoint`] trades time for memory: a block keeps only its input and is computed again in the backward pass.
//! - An operation exists here only together with its backward rule (see [`ops`]), so no value is detached in silence.
//!
//! ```
//! use clinpeft_autodiff::{Var, ops, backward};
//! use clinpeft_tensor::Tensor;
//! let x = Var::constant(Tensor::from_vec(vec![1.0f64, 2.0], &[1, 2])?);
//! let w = Var::leaf(Tensor::from_vec(vec![3.0f64, 4.0], &[1, 2])?);
//! let y = ops::linear(&x, &w)?;
//! let gradients = backward(&y)?;
//! assert_eq!(gradients.of(&w).unwrap().as_slice::<f64>()?, [1.0, 2.0]);
//! # Ok::<(), clinpeft_autodiff::Error>(())
//! ```

mod checkpoint;
mod gradcheck;
pub mod ops;
mod tape;

pub use checkpoint::checkpoint;
pub use clinpeft_tensor::Error as TensorError;
pub use gradcheck::{Check, gradcheck};
pub use tape::{Error, Gradients, Norm, Result, Var, backward, no_grad};
