//! What the steps of a preparation collect for the manifest.

use super::dedup::corpus::HeldOutIndex;
use super::dedup::splits::NearDupIndex;
use super::record::flow::{Attrition, Count};
use super::record::irregularities::Irregularities;
use crate::table::InputFile;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Filled step by step.
#[derive(Default)]
pub(super) struct ManifestBuilder {
    pub inputs: Vec<InputFile>,
    pub attrition: Vec<Attrition>,
    pub counts: Vec<Count>,
    pub irregularities: Irregularities,
    pub held_out: HeldOutIndex,
    pub near_duplicates: NearDupIndex,
    /// Lines of `labels.txt` by task.
    pub labels: BTreeMap<String, u64>,
    /// Hashes of files that were hashed as they were written.
    pub written: BTreeMap<PathBuf, String>,
}
