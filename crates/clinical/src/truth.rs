//! The true probabilities behind a synthetic cohort: the best that any model can reach.

use crate::error::{Error, Result};
use crate::ids::HadmId;
use crate::table::{Table, find_table};
use crate::task::Task;
use std::collections::BTreeMap;
use std::path::Path;

/// Probabilities per admission and label.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    /// The labels, in the order of the columns.
    pub labels: Vec<String>,
    /// One probability per label.
    pub rows: BTreeMap<HadmId, Vec<f32>>,
}

const HINT: &str = "`synth` writes this folder beside the tables";

/// Reads `<dir>/<task>.csv` of a truth folder. Errors if a file of the folder is not as its seal lists it.
pub fn load(dir: &Path, task: Task) -> Result<Truth> {
    clinpeft_files::verify(dir)?;
    let path = find_table(dir, task.name())?.ok_or_else(|| Error::MissingTable {
        folder: dir.into(),
        name: task.name().into(),
        hint: HINT,
    })?;
    let names = Table::header(&path)?;
    let columns: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut table = Table::open(&path, &columns, &[])?;
    let mut rows = BTreeMap::new();
    while let Some(row) = table.next_row()? {
        let mut probabilities = Vec::with_capacity(columns.len());
        for column in 1..columns.len() {
            let value = row.text(column)?.parse::<f32>().ok();
            let probability = value
                .filter(|p| (0.0..=1.0).contains(p))
                .ok_or_else(|| row.wrong(column, "not a probability", HINT))?;
            probabilities.push(probability);
        }
        rows.insert(row.admission(0)?, probabilities);
    }
    Ok(Truth { labels: names.into_iter().skip(1).collect(), rows })
}
