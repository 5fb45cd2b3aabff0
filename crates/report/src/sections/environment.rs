//! What the runs were made with, from their `manifest.json`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::document::{Cell, Section};
use crate::store::Store;

const FIELDS: [&str; 6] = ["program", "git", "target", "device", "threads", "data_hash"];

/// One line for each set of circumstances.
pub(crate) fn environment(store: &Store) -> Section {
    let mut section = Section {
        title: "Environment".into(),
        caption:
            "Circumstances of the runs, with the number of runs that share them. A difference within a table is a \
                  reason to run again."
                .into(),
        columns: std::iter::once("runs").chain(FIELDS).map(|name| name.replace('_', " ")).collect(),
        ..Section::default()
    };
    let mut counts: BTreeMap<Vec<String>, usize> = BTreeMap::new();
    for run in &store.runs {
        let Ok(manifest) = clinpeft_files::read_json::<Value>(&run.path.join("manifest.json")) else { continue };
        let field = |name: &&str| match &manifest[*name] {
            Value::String(text) => text.chars().take(40).collect(),
            Value::Number(n) => n.to_string(),
            _ => "–".to_owned(),
        };
        *counts.entry(FIELDS.iter().map(field).collect()).or_default() += 1;
    }
    for (fields, count) in counts {
        section.rows.push((count.to_string(), fields.into_iter().map(Cell::text).collect()));
    }
    if section.rows.is_empty() {
        section.notes.push("Not recorded.".into());
    }
    section
}
