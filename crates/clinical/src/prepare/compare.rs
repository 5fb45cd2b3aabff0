//! Whether two sites hold the same prepared data, told from their manifests alone.

use super::manifest::{Manifest, OutputFile};
use std::collections::BTreeMap;

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
    pub(super) fn of(outputs: &[OutputFile]) -> CohortHash {
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

/// What two manifests say about each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// The prepared data are the same; inputs or rules may differ without effect, and the first such is named.
    Equal(Option<String>),
    /// The prepared data differ; the first difference, looked for in inputs, then rules, then outputs.
    Different(String),
}

/// Compares two manifests.
pub fn compare(a: &Manifest, b: &Manifest) -> Comparison {
    let contents = |m: &Manifest| -> BTreeMap<String, String> {
        m.inputs.iter().map(|i| (i.table(), i.content_blake3.clone())).collect()
    };
    let rules = |m: &Manifest| -> BTreeMap<String, String> {
        let rest = [("program_version", m.program_version.clone()), ("seed", m.seed.to_string())];
        m.switches.clone().into_iter().chain(rest.map(|(name, value)| (name.into(), value))).collect()
    };
    let cause = first_difference("input", &contents(a), &contents(b))
        .or_else(|| first_difference("rule", &rules(a), &rules(b)));
    if a.cohort.blake3 == b.cohort.blake3 {
        return Comparison::Equal(cause);
    }
    let output = || first_difference("output", &a.cohort.parts, &b.cohort.parts);
    Comparison::Different(cause.or_else(output).unwrap_or_else(|| "the cohort hash".into()))
}

fn first_difference(kind: &str, a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) -> Option<String> {
    let mut names: Vec<&String> = a.keys().chain(b.keys()).collect();
    names.sort();
    let name = names.into_iter().find(|name| a.get(*name) != b.get(*name))?;
    let show = |value: Option<&String>| value.map_or("absent".into(), |v| v.chars().take(40).collect::<String>());
    Some(format!("{kind} `{name}`: {} and {}", show(a.get(name)), show(b.get(name))))
}
