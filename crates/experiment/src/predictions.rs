//! `predictions.safetensors`: what the metrics saw, never text, never an id of the data.

use crate::{Result, RunSpec};
use clinpeft_weights::{Dtype, Raw, encode_raw};
use std::collections::BTreeMap;
use std::path::Path;

/// Labels as the file holds them.
pub(crate) enum Labels {
    /// One class a row.
    Classes(Vec<u32>),
    /// 0 or 1 for each label, row by row.
    Sets(Vec<u8>),
}

/// Rows of a file.
pub(crate) struct Predictions {
    /// Hashed ids.
    pub ids: Vec<u64>,
    /// Hashed patients.
    pub subjects: Vec<u64>,
    /// What is true.
    pub labels: Labels,
    /// What was scored, row by row.
    pub scores: Vec<f32>,
    /// Scores of a row.
    pub columns: usize,
    /// Names of the classes or labels.
    pub names: Vec<String>,
}

/// An id that tells nothing without the data: the first eight bytes of a hash keyed by data set and purpose.
pub(crate) fn salted(salt: &str, purpose: &str, id: u64) -> u64 {
    let hex = clinpeft_files::hash_bytes(format!("{salt}/{purpose}/{id}"));
    u64::from_str_radix(&hex[..16], 16).expect("a hash is hexadecimal")
}

fn raw<T: bytemuck::NoUninit>(dtype: Dtype, dims: &[usize], values: &[T]) -> Raw {
    Raw { dtype, dims: dims.to_vec(), bytes: bytemuck::cast_slice(values).to_vec() }
}

/// Writes the file, whole or not at all.
pub(crate) fn write(path: &Path, spec: &RunSpec, split: &str, p: &Predictions) -> Result<()> {
    let n = p.ids.len();
    let labels = match &p.labels {
        Labels::Classes(c) => raw(Dtype::U32, &[n], c),
        Labels::Sets(s) => raw(Dtype::U8, &[n, p.columns], s),
    };
    let entries = BTreeMap::from([
        ("ids".to_string(), raw(Dtype::U64, &[n], &p.ids)),
        ("subjects".to_string(), raw(Dtype::U64, &[n], &p.subjects)),
        ("labels".to_string(), labels),
        ("scores".to_string(), raw(Dtype::F32, &[n, p.columns], &p.scores)),
    ]);
    save(path, &entries, spec, split, &p.names)
}

/// The same for a language model: loss and predictions of each note.
pub(crate) fn write_losses(path: &Path, spec: &RunSpec, nll: &[f64], predictions: &[u32]) -> Result<()> {
    let n = nll.len();
    let entries = BTreeMap::from([
        ("nll".to_string(), raw(Dtype::F64, &[n], nll)),
        ("predictions".to_string(), raw(Dtype::U32, &[n], predictions)),
    ]);
    save(path, &entries, spec, "test", &[])
}

fn save(path: &Path, entries: &BTreeMap<String, Raw>, spec: &RunSpec, split: &str, names: &[String]) -> Result<()> {
    let metadata = BTreeMap::from([
        ("task".to_string(), spec.task.map_or("adaptation".into(), |t| t.to_string())),
        ("split".to_string(), split.to_string()),
        ("names".to_string(), serde_json::to_string(names).unwrap_or_default()),
    ]);
    Ok(clinpeft_files::write_atomic(path, encode_raw(path, entries, &metadata)?)?)
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
