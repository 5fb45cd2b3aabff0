//! Errors of weight files.

use std::path::PathBuf;

/// What can go wrong with weight files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] clinpeft_files::Error),
    /// An operation on a tensor failed.
    #[error(transparent)]
    Tensor(#[from] clinpeft_tensor::Error),
    /// A folder without weights.
    #[error("`{}` {what}; looked for model.safetensors, pytorch_model.bin and their .index.json\nhint: {hint}", path.display())]
    NoWeights {
        /// The folder.
        path: PathBuf,
        /// What is there.
        what: String,
        /// What to do.
        hint: String,
    },
    /// An index that names files which are not there.
    #[error("`{}` names {} files that are not beside it, the first `{}`\nhint: the download or copy is incomplete", path.display(), missing.len(), missing[0])]
    NoShards {
        /// The index.
        path: PathBuf,
        /// The files, at least one.
        missing: Vec<String>,
    },
    /// A pickle that asks for more than tensors.
    #[error("`{}`: its pickle asks for `{what}`, which no weights need; nothing was run\nhint: do not trust this file; take the model's safetensors, or a pickle of its `state_dict()` alone", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// The name or instruction.
        what: String,
    },
    /// A file that is not what it should be.
    #[error("`{}`: {what}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A tensor that should be there.
    #[error("`{}` has no tensor `{name}`{}", path.display(), hint(nearest))]
    Missing {
        /// The file or folder.
        path: PathBuf,
        /// The name that was asked for.
        name: String,
        /// The most similar name that is there.
        nearest: Option<String>,
    },
    /// A tensor of another shape.
    #[error("`{}`: tensor `{name}` has shape {got:?}, expected {expected:?}\nhint: the configuration belongs to another model", path.display())]
    Shape {
        /// The file or folder.
        path: PathBuf,
        /// Its name.
        name: String,
        /// The stored shape.
        got: Vec<usize>,
        /// The shape that the configuration asks for.
        expected: Vec<usize>,
    },
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

fn hint(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|n| format!("\nhint: the nearest name is `{n}`")).unwrap_or_default()
}

/// The name among `names` that differs in the fewest characters from `wanted` (Levenshtein distance).
pub fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest_within(wanted, names, usize::MAX)
}

/// The same, if it differs in at most `most` characters.
pub fn nearest_within<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>, most: usize) -> Option<String> {
    let all = names.into_iter().map(|n| (distance(wanted, n), n)).filter(|(far, _)| *far <= most);
    all.min().map(|(_, n)| n.to_string())
}

fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut before = i;
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replace = before + usize::from(ca != *cb);
            before = row[j + 1];
            row[j + 1] = replace.min(before + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_name_has_the_fewest_changes() {
        let names = ["model.norm.weight", "model.layers.0.mlp.up_proj.weight", "lm_head.weight"];
        assert_eq!(nearest("model.norms.weight", names).as_deref(), Some("model.norm.weight"));
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
