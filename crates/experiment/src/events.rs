//! Events that a caller receives while a plan runs.

use crate::error::Error;
use crate::plan::planned::PlannedRun;
use clinpeft_clinical::Progress;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEnd {
    /// It was done before.
    Before,
    /// Now, after so many whole seconds.
    Now(u64),
    /// With an error.
    Failed(String),
    /// It was stopped.
    Stopped,
}

/// An event for the caller.
#[derive(Debug)]
pub enum ProgressEvent<'a> {
    /// The data are being made.
    Cohort(Progress),
    /// Data that the program makes are damaged; they are set aside and made again.
    DataDamaged(&'a Error),
    /// All runs, before the first one.
    Plan(&'a [PlannedRun]),
    /// A run has started.
    RunStarted(&'a PlannedRun),
    /// A run has ended.
    RunEnded(&'a PlannedRun, &'a RunEnd),
    /// What a finished run left is damaged, and it is made again.
    RunDamaged(&'a PlannedRun, &'a Error),
}
