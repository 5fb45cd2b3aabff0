//! Optimizer step, schedule, accumulation, evaluation, checkpoint and resume.
//!
//! - [`fit`] trains an [`Objective`]: what it computes is [`LanguageModelling`] or [`Classification`], of any model
//!   family, or [`MaskedModelling`].
//! - The loss of a step is divided once, by what the whole step holds, so accumulation equals one large batch.
//! - The schedule counts optimizer steps; warm-up is a number of steps or a share of them, never confused.
//! - A killed run continues from its last checkpoint and ends with the same bits: everything random is a function of the
//!   seed and the step number, and a checkpoint is one file that appears whole and carries a checksum.
//! - A stop is honoured within one micro-batch, in training and in evaluation.

mod classification;
mod data;
mod error;
mod events;
mod fit;
mod language;
mod masked;
mod objective;
mod optimizer;
mod plan;
mod schedule;
mod settings;
mod state;

pub use classification::{Classification, Padding, Scores};
pub use data::{Examples, Targets, by_length, ragged};
pub use error::{Error, Result};
pub use events::{Event, EventLog};
pub use fit::{Fit, Outcome, Validation, fit};
pub use language::{LanguageModelling, NoteLoss};
pub use masked::{MaskedModelling, Masking};
pub use objective::{Objective, Part};
pub use optimizer::{Optimizer, OptimizerSettings};
pub use plan::{Cut, Plan};
pub use schedule::{OptimizerStep, Rate, Schedule, Warmup};
pub use settings::{Division, Selection, Settings};
