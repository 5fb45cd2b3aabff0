//! `predictions.safetensors`: what the metrics saw. Never text, never an id of the data.
//!
//! | entry | type | content |
//! |---|---|---|
//! | `ids` | u64 `[n]` | keyed hash of each row's id; the key never leaves the dataset folder |
//! | `subjects` | u64 `[n]` | keyed hash of its patient, the same for a patient in every task of a data set |
//! | `labels` | u32 `[n]` or u8 `[n, c]` | class, or 0 and 1 for each label |
//! | `scores` | f32 `[n, c]` | as the metrics use them; for a binary task `c = 1`: the probability of class 1 |
//! | `decisions` | u8 `[n, c]` | where F1 decides by something else than the scores |
//! | `nll`, `predictions` | f64, u32 `[n]` | language models: loss and predicted tokens of each note, in place of the others |
//!
//! Metadata: `task`, `split`, `names` of the classes or labels as a JSON list, and `id_key`, the fingerprint of the key: files can
//! be joined by id where it is equal. `validation.safetensors` has the same form.

use std::collections::BTreeMap;
use std::path::Path;

use clinpeft_weights::{Checkpoint, Dtype, Raw, encode_raw};

use crate::error::Result;

/// Labels as the file holds them.
#[derive(Debug, Clone, PartialEq)]
pub enum Labels {
    /// One class a row.
    Classes(Vec<u32>),
    /// 0 or 1 for each label, row by row.
    Sets(Vec<u8>),
}

/// Rows of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    /// Fingerprint of the key of the hashes.
    pub id_key: Option<String>,
    /// Hashed ids.
    pub ids: Vec<u64>,
    /// Hashed patients.
    pub subjects: Vec<u64>,
    /// What is true.
    pub labels: Labels,
    /// What was scored, row by row.
    pub scores: Vec<f32>,
    /// 0 or 1 for each score, where F1 decides by something else.
    pub decisions: Option<Vec<u8>>,
    /// Scores of a row; 1 for a binary task.
    pub columns: usize,
    /// Names of the classes or labels.
    pub names: Vec<String>,
}

impl Predictions {
    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// Lengths that do not fit; a file that cannot be written.
    pub fn write(&self, path: &Path, task: &str, split: &str) -> Result<()> {
        let n = self.ids.len();
        let labels = match &self.labels {
            Labels::Classes(c) => raw(Dtype::U32, &[n], c),
            Labels::Sets(s) => raw(Dtype::U8, &[n, self.columns], s),
        };
        let mut entries = BTreeMap::from([
            ("ids".to_string(), raw(Dtype::U64, &[n], &self.ids)),
            ("subjects".to_string(), raw(Dtype::U64, &[n], &self.subjects)),
            ("labels".to_string(), labels),
            ("scores".to_string(), raw(Dtype::F32, &[n, self.columns], &self.scores)),
        ]);
        let decisions = self.decisions.iter().map(|d| ("decisions".to_string(), raw(Dtype::U8, &[n, self.columns], d)));
        entries.extend(decisions);
        save(path, &entries, task, split, (&self.names, self.id_key.as_deref()))
    }

    /// Reads the file.
    ///
    /// # Errors
    /// A file that is missing, damaged or of another form.
    pub fn read(path: &Path) -> Result<Self> {
        let file = Checkpoint::open_file(path)?;
        file.verify()?;
        let ids = numbers(&file, "ids", Dtype::U64, u64::from_le_bytes)?;
        let subjects = numbers(&file, "subjects", Dtype::U64, u64::from_le_bytes)?;
        let scores = numbers(&file, "scores", Dtype::F32, f32::from_le_bytes)?;
        let sets = file.raw("labels")?.dims.len() == 2;
        let labels = match sets {
            true => Labels::Sets(numbers(&file, "labels", Dtype::U8, u8::from_le_bytes)?),
            false => Labels::Classes(numbers(&file, "labels", Dtype::U32, u32::from_le_bytes)?),
        };
        let has = file.has("decisions");
        let decisions = has.then(|| numbers(&file, "decisions", Dtype::U8, u8::from_le_bytes)).transpose()?;
        let names = file.metadata().get("names").map(String::as_str).unwrap_or("[]");
        let names: Vec<String> = serde_json::from_str(names).map_err(|_| form(path, "names"))?;
        let columns = *file.raw("scores")?.dims.get(1).ok_or_else(|| form(path, "scores"))?;
        let (count, n) = (labels.len(), ids.len());
        let wanted = if sets { n * columns } else { n };
        if subjects.len() != n || scores.len() != n * columns || count != wanted {
            return Err(form(path, "labels"));
        }
        let id_key = file.metadata().get(ID_KEY).cloned();
        Ok(Self { id_key, ids, subjects, labels, scores, decisions, columns, names })
    }

    /// The patients alone, without reading the scores, and the fingerprint of the key of their hashes.
    ///
    /// # Errors
    /// As [`Predictions::read`].
    pub fn read_subjects(path: &Path) -> Result<(Option<String>, Vec<u64>)> {
        let file = Checkpoint::open_file(path)?;
        let subjects = numbers(&file, "subjects", Dtype::U64, u64::from_le_bytes)?;
        Ok((file.metadata().get(ID_KEY).cloned(), subjects))
    }

    /// Calls `measure` with the labels in the form of the metrics.
    pub fn with_labels<T>(&self, measure: impl FnOnce(clinpeft_metrics::Labels<'_>) -> T) -> T {
        use clinpeft_metrics::Labels as Known;
        match &self.labels {
            Labels::Classes(classes) if self.columns == 1 => {
                let binary: Vec<u8> = classes.iter().map(|c| u8::try_from(*c).unwrap_or(u8::MAX)).collect();
                measure(Known::Binary(&binary))
            }
            Labels::Classes(labels) => measure(Known::Classes { labels, classes: self.columns }),
            Labels::Sets(labels) => {
                measure(Known::Multilabel { labels, columns: self.columns, decisions: self.decisions.as_deref() })
            }
        }
    }
}

impl Labels {
    fn len(&self) -> usize {
        match self {
            Self::Classes(c) => c.len(),
            Self::Sets(s) => s.len(),
        }
    }
}

/// Errors if a file of predictions is damaged.
///
/// # Errors
/// It cannot be read, or differs from its checksum.
pub fn verify(path: &Path) -> Result<()> {
    // Files of an older version have no checksum.
    Checkpoint::open_file(path)?.verify()?;
    Ok(())
}

/// Writes the file of a language model: summed loss and predicted tokens of each note.
///
/// # Errors
/// As [`Predictions::write`].
pub fn write_losses(path: &Path, task: &str, nll: &[f64], predictions: &[u32]) -> Result<()> {
    let n = nll.len();
    let entries = BTreeMap::from([
        ("nll".to_string(), raw(Dtype::F64, &[n], nll)),
        ("predictions".to_string(), raw(Dtype::U32, &[n], predictions)),
    ]);
    save(path, &entries, task, "test", (&[], None))
}

const ID_KEY: &str = "id_key";

fn save(
    path: &Path,
    entries: &BTreeMap<String, Raw>,
    task: &str,
    split: &str,
    (names, id_key): (&[String], Option<&str>),
) -> Result<()> {
    let mut metadata = BTreeMap::from([
        ("task".to_string(), task.to_string()),
        ("split".to_string(), split.to_string()),
        ("names".to_string(), serde_json::to_string(names).unwrap_or_default()),
    ]);
    metadata.extend(id_key.map(|key| (ID_KEY.to_string(), key.to_string())));
    Ok(clinpeft_files::write_private(path, encode_raw(path, entries, &metadata)?)?)
}

fn raw<T: bytemuck::NoUninit>(dtype: Dtype, dims: &[usize], values: &[T]) -> Raw {
    Raw { dtype, dims: dims.to_vec(), bytes: bytemuck::cast_slice(values).to_vec() }
}

fn numbers<T, const N: usize>(file: &Checkpoint, name: &str, dtype: Dtype, read: fn([u8; N]) -> T) -> Result<Vec<T>> {
    let raw = file.raw(name)?;
    if raw.dtype != dtype {
        return Err(form(file.path(), name));
    }
    Ok(raw.bytes.as_chunks::<N>().0.iter().map(|bytes| read(*bytes)).collect())
}

fn form(path: &Path, entry: &str) -> crate::error::Error {
    let what = format!("`{entry}` has another form than the labels and scores of a task\nhint: make the run again");
    clinpeft_weights::Error::Format { path: path.into(), what }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("predictions.safetensors");
        let sets = Predictions {
            id_key: Some("0123456789abcdef".into()),
            ids: vec![1, u64::MAX],
            subjects: vec![7, 7],
            labels: Labels::Sets(vec![0, 1, 1, 0]),
            scores: vec![0.25, 0.5, 0.75, 1.0],
            decisions: Some(vec![0, 1, 1, 1]),
            columns: 2,
            names: vec!["a \"b\"".into(), "c".into()],
        };
        let binary = Predictions {
            labels: Labels::Classes(vec![0, 1]),
            scores: vec![0.25, 0.5],
            decisions: None,
            columns: 1,
            ..sets.clone()
        };
        for p in [sets, binary] {
            p.write(&path, "diagnoses", "test").unwrap();
            assert_eq!(Predictions::read(&path).unwrap(), p);
            assert_eq!(Predictions::read_subjects(&path).unwrap(), (p.id_key.clone(), vec![7, 7]));
        }
    }

    #[test]
    fn another_form_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("predictions.safetensors");
        write_losses(&path, "adaptation", &[1.0], &[2]).unwrap();
        assert!(Predictions::read(&path).unwrap_err().to_string().contains("ids"));
        std::fs::write(&path, b"short").unwrap();
        assert!(Predictions::read(&path).is_err());
    }
}
