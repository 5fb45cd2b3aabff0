//! Optimizer step, schedule, accumulation, evaluation, checkpoint and resume.
//!
//! - a [`Trainer`] trains an [`Objective`]: what it computes is [`LanguageModelling`] or [`Classification`], of any model
//!   family, or [`MaskedModelling`].
//! - The loss of a step is divided once, by what the whole step holds, so accumulation equals one large batch.
//! - The schedule counts optimizer steps; warm-up is a number of steps or a share of them, never confused.
//! - A killed run continues from its last checkpoint and ends with the same bits: everything random is a function of the
//!   seed and the step number, and a checkpoint is one file that appears whole and carries a checksum.
//! - A stop is honoured within one micro-batch, in training and in evaluation.

mod batch_schedule;
mod classification;
mod data;
mod error;
mod events;
mod language;
mod masked;
mod objective;
mod optimizer;
mod schedule;
mod settings;
mod state;
mod trainer;

pub use batch_schedule::{BatchSchedule, MicroBatchSize};
pub use classification::{Classification, Padding, Scores};
pub use data::{Examples, Targets, by_length, ragged};
pub use error::{Error, Result};
pub use events::{Event, EventLog};
pub use language::{LanguageModelling, NoteLoss};
pub use masked::{MaskedModelling, Masking};
pub use objective::{MicroBatchLoss, Objective, Parts, PartsMut};
pub use optimizer::{Optimizer, OptimizerSettings};
pub use schedule::{OptimizerStep, Rate, Schedule, Warmup};
pub use settings::{LossReduction, Selection, Settings};
pub use trainer::{TrainReport, Trainer, Validation};
