//! Where the patients come from and how many there are.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::error::Result;

/// Where the patients come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cohort {
    /// Made by the program; the models are tiny stand-ins.
    Synthetic,
    /// Brought by a person: MIMIC, or notes of one's own.
    Own,
}

impl Cohort {
    /// What every table says of its models.
    pub(crate) fn models(self) -> &'static str {
        match self {
            Self::Synthetic => " Every model is a tiny stand-in under the name of the published one.",
            Self::Own => "",
        }
    }

    /// The first line of every output.
    pub(crate) fn banner(self) -> &'static str {
        match self {
            Self::Synthetic => {
                "Synthetic cohort and tiny stand-in models: the numbers show that the method runs, not how well it works; they can \
                 neither confirm nor refute the paper's."
            }
            Self::Own => {
                "Cohort of real notes: keep what is made from them under the terms of their data use agreement."
            }
        }
    }
}

/// Sizes of the tasks, as the data set's `manifest.json` has them; fields of no interest here are ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct CohortCounts {
    /// By name of the task.
    #[serde(default)]
    pub tasks: BTreeMap<String, TaskCounts>,
    /// Notes of the adaptation corpus.
    #[serde(default)]
    pub adaptation: Option<Splits>,
}

/// Size of one task.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TaskCounts {
    /// Classes or labels.
    pub classes: u64,
    /// `binary`, `classes` or `multilabel`.
    pub kind: String,
    /// Examples.
    pub splits: Splits,
}

/// Examples of each split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Splits {
    /// To train on.
    pub train: u64,
    /// To choose by.
    pub validation: u64,
    /// To report.
    pub test: u64,
}

impl CohortCounts {
    /// Reads a data set's `manifest.json`.
    ///
    /// # Errors
    /// The file cannot be read or has another form.
    pub fn read(path: &Path) -> Result<Self> {
        Ok(clinpeft_files::read_json(path)?)
    }
}
