//! What a manifest says about leaks.

use std::collections::BTreeMap;

/// What a manifest says about leaks.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeakReport {
    /// The numbers behind the word `near-duplicate`, by name.
    pub parameters: BTreeMap<String, u64>,
    /// What the splits of a task share, two by two.
    pub splits: Vec<SplitLeaks>,
    /// What the adaptation corpus shares with held-out samples; absent without a corpus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corpus: Option<CorpusLeaks>,
}

/// What two splits of a task share.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitLeaks {
    /// The task.
    pub task: String,
    /// The split that is learnt or chosen from.
    pub first: String,
    /// The split that is held out from it.
    pub second: String,
    /// Patients with samples in both.
    pub patients_shared: u64,
    /// Samples of the first split whose admission note nearly equals one of the second.
    pub near_duplicates: u64,
    /// `kept` or `dropped`: what was done with them.
    pub near_duplicates_were: String,
}

/// What the adaptation corpus shares with held-out samples.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusLeaks {
    /// Validation and test samples that were compared.
    pub held_out_samples: u64,
    /// Those that were not: shorter than a sketch needs, or made of phrases alone.
    pub held_out_samples_not_compared: u64,
    /// Corpus notes that were compared.
    pub corpus_notes: u64,
    /// Corpus notes that hold the text of a held-out sample.
    pub matching_notes: u64,
    /// `kept` or `dropped`: what was done with the matching notes.
    pub matching_notes_were: String,
}
