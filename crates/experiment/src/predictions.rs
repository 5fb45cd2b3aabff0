//! The predictions of a run; the form of the file is that of [`clinpeft_report::predictions`].

use crate::{Result, RunSpec};
pub(crate) use clinpeft_report::predictions::{Labels, Predictions};
use std::path::Path;

/// An id that tells nothing without the data: the first eight bytes of a hash keyed by data set and purpose. A patient has
/// the same one in every task of a data set, so that a report can resample patients over all of them.
pub(crate) fn salted(salt: &str, purpose: &str, id: u64) -> u64 {
    let hex = clinpeft_files::hash_bytes(format!("{salt}/{purpose}/{id}"));
    u64::from_str_radix(&hex[..16], 16).expect("a hash is hexadecimal")
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn salted_ids_depend_on_the_salt() {
        assert_eq!(salted("a", "id", 7), salted("a", "id", 7));
        assert_ne!(salted("a", "id", 7), salted("b", "id", 7));
        assert_ne!(salted("a", "id", 7), salted("a", "subject", 7));
    }
}
