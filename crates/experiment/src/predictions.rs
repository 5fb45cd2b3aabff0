//! The predictions of a run; the form of the file is that of [`clinpeft_report::predictions`].

use crate::{Result, RunSpec};
pub(crate) use clinpeft_report::predictions::{Labels, Predictions};
use std::path::Path;

/// Writes the predictions of a split, whole or not at all.
pub(crate) fn write(path: &Path, spec: &RunSpec, split: &str, p: &Predictions) -> Result<()> {
    Ok(p.write(path, &task(spec), split)?)
}

/// The same for a language model: loss and predictions of each note.
pub(crate) fn write_losses(path: &Path, spec: &RunSpec, nll: &[f64], predictions: &[u32]) -> Result<()> {
    Ok(clinpeft_report::predictions::write_losses(path, &task(spec), nll, predictions)?)
}

fn task(spec: &RunSpec) -> String {
    spec.task.map_or("adaptation".into(), |t| t.to_string())
}
