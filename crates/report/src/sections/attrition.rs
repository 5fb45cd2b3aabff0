//! Who was left out and what leaks, from the manifest of the data set.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use crate::document::{Cell, Section};
use crate::format::{heading, thousands};
use crate::view::View;

/// The parts of a data set's `manifest.json` that are shown. Leaks have no fixed form here: whatever counts there are.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Manifest {
    attrition: Vec<FilterCount>,
    leaks: Value,
}

/// One filter and its effect.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FilterCount {
    task: String,
    filter: String,
    kept: f64,
    dropped: f64,
}

impl View<'_, '_> {
    /// Adds attrition and leaks of the data sets that the runs name.
    pub(crate) fn attrition(&mut self) {
        let runs = self.store.runs.iter().filter(|run| run.key.fidelity == self.plan.fidelity);
        let folders = runs.filter_map(|run| {
            let out = run.path.parent()?.parent()?;
            Some((run.data.clone()?, out.to_owned()))
        });
        let (mut steps, mut leaks) = (self.section("Attrition"), self.section("Leaks"));
        steps.caption = format!("What each filter kept and dropped. Fidelity: {}.", self.plan.fidelity);
        steps.columns = ["part", "filter", "kept", "dropped"].map(String::from).into();
        leaks.caption = format!(
            "Whether held-out samples were seen before: in the adaptation corpus or in another split. Fidelity: {}.",
            self.plan.fidelity
        );
        leaks.columns = ["what", "found"].map(String::from).into();
        for (name, out) in folders.collect::<BTreeSet<_>>() {
            match clinpeft_files::read_json::<Manifest>(&out.join("data").join(&name).join("manifest.json")) {
                Ok(manifest) => show(&manifest, &mut steps, &mut leaks),
                Err(_) => steps.notes.push(format!("The manifest of data set {name} cannot be read.")),
            }
        }
        for mut section in [steps, leaks] {
            if section.rows.is_empty() {
                section.notes.push("Not recorded.".into());
            }
            self.document.sections.push(section);
        }
    }
}

fn show(manifest: &Manifest, steps: &mut Section, leaks: &mut Section) {
    for step in &manifest.attrition {
        let cells = [step.filter.clone(), thousands(step.kept), thousands(step.dropped)];
        steps.rows.push((heading(&step.task), cells.map(Cell::text).into()));
    }
    flat("", &manifest.leaks, &mut |what, found| leaks.rows.push((what, vec![Cell::text(found)])));
}

/// Most lines of a leak report.
const MOST: usize = 200;

/// Numbers, switches and short words of any JSON, each with the path to it.
fn flat(path: &str, value: &Value, each: &mut dyn FnMut(String, String)) {
    let below = |name: &str| if path.is_empty() { heading(name) } else { format!("{path}: {}", heading(name)) };
    match value {
        Value::Object(entries) => entries.iter().for_each(|(name, value)| flat(&below(name), value, each)),
        Value::Array(values) => {
            for (i, value) in values.iter().take(MOST).enumerate() {
                let (mut name, mut found) = (Vec::new(), Vec::new());
                // One line for each entry: its words name it, its numbers are what was found.
                flat("", value, &mut |key, text| match text.starts_with(|c: char| c.is_ascii_digit()) {
                    true => found.push(format!("{key} {text}")),
                    false => name.push(heading(&text)),
                });
                let name = if name.is_empty() { (i + 1).to_string() } else { name.join(", ") };
                each(below(&name), found.join(", "));
            }
        }
        Value::Number(n) => each(path.into(), n.as_u64().map_or_else(|| n.to_string(), |n| thousands(n as f64))),
        Value::Bool(b) => each(path.into(), if *b { "yes" } else { "no" }.into()),
        Value::String(word) if word.len() <= 60 => each(path.into(), word.clone()),
        Value::String(_) | Value::Null => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_counts_become_lines() {
        let json = serde_json::json!({"held_out_samples": 1200, "splits": [{"task": "mortality", "pairs": 0, "patients": 2, "other": "test"}],
            "dropped": false, "long": "x".repeat(100)});
        let mut lines = Vec::new();
        flat("", &json, &mut |what, found| lines.push(format!("{what} = {found}")));
        let expected = ["dropped = no", "held out samples = 1,200", "splits: test, mortality = pairs 0, patients 2"];
        assert_eq!(lines, expected);
    }
}
