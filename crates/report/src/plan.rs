//! What a report should hold.

use std::collections::BTreeSet;

use crate::format::heading;
use crate::store::Key;

/// The rows, tasks and seeds that are expected under a preset of the rules, in the order in which they are shown.
///
/// Row names are those of the runs; the published numbers appear beside rows of the paper's name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Preset of the rules, for example `paper`.
    pub fidelity: String,
    /// Rows of Table 2 (domain adaptation), for example `LLaMA + LoRA`.
    pub table2: Vec<String>,
    /// Rows of Table 3 (downstream tasks), for example `LLaMA + Clinical LLaMA-LoRA (Frozen)`.
    pub table3: Vec<String>,
    /// Rows of Table 4 (LoRA on the BERT models); empty leaves the table out. A row may also stand in `table3`.
    pub table4: Vec<String>,
    /// Downstream tasks, for example `mortality`; the macro average is their plain mean.
    pub tasks: Vec<String>,
    /// Seeds of every row.
    pub seeds: Vec<u64>,
    /// Run folders to look at; all if absent.
    pub folders: Option<BTreeSet<String>>,
}

impl Plan {
    /// The key of a planned run; without a task: of an adaptation.
    pub(crate) fn key(&self, row: &str, task: Option<&str>, seed: u64) -> Key {
        Key { fidelity: self.fidelity.clone(), row: row.into(), task: task.map(String::from), seed }
    }

    /// The seed of what shows one seed only.
    pub(crate) fn first_seed(&self) -> u64 {
        self.seeds.first().copied().unwrap_or_default()
    }

    /// Headings of a table of tasks.
    pub(crate) fn task_columns(&self) -> Vec<String> {
        std::iter::once("model".to_owned()).chain(self.tasks.iter().map(|task| heading(task))).collect()
    }

    /// Rows of Tables 3 and 4, each once.
    pub(crate) fn downstream_rows(&self) -> Vec<&str> {
        let mut seen = BTreeSet::new();
        let all = self.table3.iter().chain(&self.table4);
        all.map(String::as_str).filter(|row| seen.insert(*row)).collect()
    }
}
