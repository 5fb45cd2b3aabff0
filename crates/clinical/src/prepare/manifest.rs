//! What was read, what was dropped, what was written.

use super::Fidelity;
use super::compare::CohortHash;
use super::leaks::LeakReport;
use super::release::ReleaseCheck;
use crate::table::InputFile;
use crate::task::Split;
use std::collections::BTreeMap;

/// One filter of one task and its effect.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attrition {
    /// The task; `notes` for the filters all tasks share; `adaptation` for the corpus.
    pub task: String,
    /// What is kept by this filter.
    pub filter: String,
    /// Rows, admissions or samples that passed.
    pub kept: u64,
    /// Those that did not.
    pub dropped: u64,
}

/// How many samples one file holds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Count {
    /// The task, or `adaptation`.
    pub task: String,
    /// The split.
    pub split: String,
    /// Samples.
    pub samples: u64,
    /// Samples per class, for tasks with classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub per_class: Vec<u64>,
}

/// A kind of oddity that was tolerated.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Irregularity {
    /// What it is and in which table.
    pub kind: String,
    /// How often it was met.
    pub count: u64,
}

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
    /// Oddities that were tolerated.
    pub irregularities: Vec<Irregularity>,
    /// The hash of all prepared data: equal where two sites hold the same.
    pub cohort: CohortHash,
    /// Files that were written.
    pub outputs: Vec<OutputFile>,
}

/// Counts what each of a fixed list of filters drops.
#[derive(Debug, Clone)]
pub(super) struct Funnel {
    task: &'static str,
    filters: &'static [&'static str],
    dropped: Vec<u64>,
    kept: u64,
}

impl Funnel {
    pub fn new(task: &'static str, filters: &'static [&'static str]) -> Funnel {
        Funnel { task, filters, dropped: vec![0; filters.len()], kept: 0 }
    }

    /// One more was dropped by the filter at `place`.
    pub fn drop_at(&mut self, place: usize) {
        self.dropped[place] += 1;
    }

    /// One more was dropped by the filter of this name.
    pub fn drop_by(&mut self, filter: &str) {
        if let Some(place) = self.filters.iter().position(|f| *f == filter) {
            self.dropped[place] += 1;
        }
    }

    /// How many passed so far.
    pub fn kept(&self) -> u64 {
        self.kept
    }

    /// One more passed all filters.
    pub fn keep(&mut self) {
        self.kept += 1;
    }

    /// The rows of the attrition table.
    pub fn steps(&self) -> Vec<Attrition> {
        let mut left = self.kept + self.dropped.iter().sum::<u64>();
        self.filters
            .iter()
            .zip(&self.dropped)
            .map(|(filter, dropped)| {
                left -= dropped;
                Attrition { task: self.task.into(), filter: (*filter).into(), kept: left, dropped: *dropped }
            })
            .collect()
    }
}

/// Oddities by kind, in a fixed order.
#[derive(Debug, Default)]
pub(super) struct Oddities(BTreeMap<&'static str, u64>);

impl Oddities {
    pub fn note(&mut self, kind: &'static str) {
        *self.0.entry(kind).or_default() += 1;
    }

    pub fn note_many(&mut self, kind: &'static str, count: u64) {
        if count > 0 {
            *self.0.entry(kind).or_default() += count;
        }
    }

    pub fn list(&self) -> Vec<Irregularity> {
        self.0.iter().map(|(kind, count)| Irregularity { kind: (*kind).into(), count: *count }).collect()
    }
}

/// Samples per split and class of one task.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    pub samples: [u64; 3],
    pub per_class: [Vec<u64>; 3],
}

impl Tally {
    pub fn new(classes: usize) -> Tally {
        Tally { samples: [0; 3], per_class: std::array::from_fn(|_| vec![0; classes]) }
    }

    pub fn add(&mut self, split: Split, class: Option<usize>) {
        self.samples[split as usize] += 1;
        if let Some(class) = class {
            self.per_class[split as usize][class] += 1;
        }
    }
}
