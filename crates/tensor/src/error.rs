//! Errors of tensor operations.

use crate::element::DType;
use crate::shape::Shape;

/// What can go wrong in an operation. Every variant names the operation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Shapes that do not fit together.
    #[error("{op}: {what}, got {}", list(shapes))]
    Shape {
        /// The operation.
        op: &'static str,
        /// What was expected.
        what: String,
        /// The shapes that came.
        shapes: Vec<Shape>,
    },
    /// A dtype that the operation does not take.
    #[error("{op}: expected {expected}, got {got:?}")]
    DType {
        /// The operation.
        op: &'static str,
        /// What was expected.
        expected: String,
        /// What came.
        got: DType,
    },
    /// Operands that live on different devices, or not on the CPU.
    #[error("{op}: operands are on `{left}` and `{right}`\nhint: move them with `to_device` first")]
    Device {
        /// The operation.
        op: &'static str,
        /// Device of the first operand.
        left: String,
        /// Device of the second operand, or what was needed.
        right: String,
    },
    /// The backend does not have this operation.
    #[error("{op} is not available on `{device}`\nhint: run with `--device cpu`")]
    Unsupported {
        /// The operation.
        op: &'static str,
        /// The backend.
        device: String,
    },
    /// An index outside of what it points into.
    #[error("{op}: index {index} at place {place} is outside 0..{limit}")]
    Index {
        /// The operation.
        op: &'static str,
        /// The index.
        index: usize,
        /// Where it stands.
        place: usize,
        /// The first index that is too large.
        limit: usize,
    },
    /// A backend failed: no driver, out of memory, device lost.
    #[error("{device}: {what}")]
    Backend {
        /// The backend.
        device: String,
        /// What it said, with a hint.
        what: String,
    },
}

/// Result of a tensor operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

fn list(shapes: &[Shape]) -> String {
    let all: Vec<String> = shapes.iter().map(ToString::to_string).collect();
    all.join(" and ")
}
