//! `manifest.json`: what was read, what was dropped, what was written.

pub(super) mod cohort_hash;
mod compare;
pub(super) mod flow;
pub(super) mod irregularities;
pub(super) mod leaks;
pub(super) mod release;

pub use cohort_hash::{CohortHash, OutputFile};
pub use compare::{Comparison, compare};
pub use flow::{Attrition, Count};
pub use irregularities::Irregularity;
pub use leaks::{CorpusLeaks, LeakReport, SplitLeaks};
pub use release::{Deviation, ReleaseCheck};

use super::options::Fidelity;
use crate::table::InputFile;
use std::collections::BTreeMap;

/// `manifest.json` of a dataset folder.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this crate.
    pub program_version: String,
    /// The preset of rules.
    pub fidelity: Fidelity,
    /// Root seed.
    pub seed: u64,
    /// Every behaviour that the preset chose, by name.
    pub switches: BTreeMap<String, String>,
    /// Whether the tables are those of MIMIC-III v1.4 and the filters leave what is known to be left.
    pub release: ReleaseCheck,
    /// Tables that were read.
    pub inputs: Vec<InputFile>,
    /// Filters in the order in which they were applied.
    pub attrition: Vec<Attrition>,
    /// Samples per task and split.
    pub counts: Vec<Count>,
    /// What splits share with each other, and the corpus with held-out samples.
    pub leaks: LeakReport,
    /// Irregularities that were tolerated.
    pub irregularities: Vec<Irregularity>,
    /// The hash of all prepared data: equal where two sites hold the same.
    pub cohort: CohortHash,
    /// Files that were written.
    pub outputs: Vec<OutputFile>,
}
