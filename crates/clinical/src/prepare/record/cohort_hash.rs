//! The hash of all prepared data.

use std::collections::BTreeMap;

/// A file of the dataset folder.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputFile {
    /// Path inside the folder, with `/`.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// BLAKE3 of the bytes.
    pub blake3: String,
}

/// The hash of all prepared data.
///
/// It is taken over the parts in order of name: ids, texts and labels of each split in the order of admissions, label lists,
/// patients. File times, folders, compression and the machine have no part in it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CohortHash {
    /// BLAKE3 over names and hashes of the parts.
    pub blake3: String,
    /// BLAKE3 of each part: the canonical table `id,text,label` (RFC 4180), or the list of labels.
    pub parts: BTreeMap<String, String>,
}

impl CohortHash {
    /// From the files of a dataset folder; reports about them are no part of the data.
    pub(in crate::prepare) fn of(outputs: &[OutputFile]) -> CohortHash {
        let name = |path: &str| {
            path.strip_suffix(".csv").or(path.strip_suffix("labels.txt").map(|_| path)).map(str::to_string)
        };
        let parts: BTreeMap<String, String> =
            outputs.iter().filter_map(|o| Some((name(&o.path)?, o.blake3.clone()))).collect();
        let mut hasher = blake3::Hasher::new();
        for (name, hash) in &parts {
            hasher.update(format!("{name}\n{hash}\n").as_bytes());
        }
        CohortHash { blake3: hasher.finalize().to_hex().to_string(), parts }
    }
}
