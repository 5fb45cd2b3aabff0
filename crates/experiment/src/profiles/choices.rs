//! What a sweep has chosen for rows of the matrix.

use crate::error::{Error, Result};
use crate::spec::RunSpec;
use crate::spec::overrides::{Overrides, with};
use clinpeft_clinical::Task;
use clinpeft_clinical::prepare::Fidelity;
use serde::{Deserialize, Serialize};

/// What was chosen: `datasets/sweeps/results/NAME.toml`, written by a search.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepResult {
    /// Presets of the rules under which they hold; others keep the profile's settings.
    #[serde(default)]
    pub rules: Vec<Fidelity>,
    /// By row.
    #[serde(default)]
    pub row: Vec<RowChoice>,
}

/// What was chosen for one row, and from what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowChoice {
    /// The table of the row.
    pub table: u8,
    /// Its name.
    pub name: String,
    /// The task that it was chosen for; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// The row whose trials decided, if it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_from: Option<String>,
    /// The settings.
    pub values: Overrides,
    /// Every trial.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trial: Vec<Trial>,
}

impl RowChoice {
    fn is_for(&self, spec: &RunSpec) -> bool {
        Some(self.table) == spec.table && self.name == spec.row && self.task.is_none_or(|t| spec.task == Some(t))
    }
}

/// One point of a grid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// Mean validation AUROC of the tasks; for an adaptation the negative perplexity on the notes that it held out.
    pub score: f64,
    /// The settings.
    pub values: Overrides,
}

impl SweepResult {
    /// `spec` with what was chosen for its row.
    pub fn apply(&self, spec: RunSpec) -> Result<RunSpec> {
        let fitting = |spec: &RunSpec| -> Vec<&RowChoice> { self.row.iter().filter(|c| c.is_for(spec)).collect() };
        if !self.rules.contains(&spec.fidelity) {
            return Ok(spec);
        }
        // What is for one task stands after what is for all, and wins.
        let mut choices = fitting(&spec);
        choices.sort_by_key(|c| c.task.is_some());
        choices.into_iter().try_fold(spec, |spec, choice| with(&spec, &choice.values))
    }

    /// As the text of a file that says how it was made.
    pub fn text(&self, command: &str) -> Result<String> {
        let text = toml::to_string(self).map_err(|e| Error::Options(format!("choices cannot be written: {e}")))?;
        Ok(format!("{BEGINNING}; the test splits were not touched. Written by `{command}`.\n{text}"))
    }
}

/// How the file of choices begins.
pub const BEGINNING: &str = "# Chosen on the validation splits";
