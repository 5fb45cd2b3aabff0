//! What each correction changes, in the order of [`Switch::ALL`].
//!
//! The rules go from `code` to `paper` one correction at a time; after each, the admission notes and the samples of every
//! task are compared with those before. Texts are joined again from what was read once. Notes of the adaptation corpus are
//! judged under all rules as they stream by; held-out samples are those of the preparation itself there.

use super::options::{Fidelity, PrepareOptions};
use super::rules::{Rules, Switch};
use super::split::Splitter;
use super::tasks::inputs::TaskInputs;
use super::tasks::recipe;
use crate::error::{Error, Result};
use crate::ids::HadmId;
use crate::progress::ProgressMeter;
use crate::task::{Split, Task};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// `diff.json` of a dataset folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiffReport {
    /// One step for each correction that bears on what was prepared, each from the rules before it.
    pub steps: Vec<DiffStep>,
    /// From `code` to `paper` at once; changes of several steps may meet in one sample.
    pub all: Vec<Changes>,
}

/// One correction and what it changes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiffStep {
    /// Name of the rule.
    pub rule: String,
    /// What it does as published.
    pub code: String,
    /// What it does corrected.
    pub paper: String,
    /// What changes; parts without a change are left out.
    pub changes: Vec<Changes>,
}

/// How many admissions of one part of the dataset change, and how. A sample may change in several ways.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    /// `notes` for the admission notes of all tasks, a task, or `adaptation` for the notes of the corpus.
    pub part: String,
    /// Admissions (notes of the corpus) before.
    pub before: u64,
    /// Admissions that are new.
    pub added: u64,
    /// Admissions that are gone.
    pub removed: u64,
    /// Admissions with another text.
    pub texts: u64,
    /// Admissions with another label, or its parts in another order.
    pub labels: u64,
    /// Admissions in another split.
    pub splits: u64,
}

impl Changes {
    fn of(part: &str) -> Changes {
        Changes { part: part.into(), ..Changes::default() }
    }

    fn is_none(&self) -> bool {
        [self.added, self.removed, self.texts, self.labels, self.splits] == [0; 5]
    }

    /// Counts one sample, before and after.
    fn see(&mut self, before: Option<&Fingerprint>, after: Option<&Fingerprint>) {
        self.before += u64::from(before.is_some());
        match (before, after) {
            (Some(old), Some(new)) => {
                self.texts += u64::from(old.text != new.text);
                self.labels += u64::from(old.label != new.label);
                self.splits += u64::from(old.split != new.split);
            }
            (Some(_), None) => self.removed += 1,
            (None, Some(_)) => self.added += 1,
            (None, None) => {}
        }
    }
}

/// What the corrections that bear on the adaptation corpus change, counted while its notes stream by.
pub(super) struct CorpusChanges {
    rules: Vec<Rules>,
    steps: Vec<Changes>,
    all: Changes,
}

impl CorpusChanges {
    pub fn new() -> CorpusChanges {
        let mut rules = vec![Rules::of(Fidelity::Code)];
        for switch in corpus_switches() {
            rules.extend(rules.last().map(|before| before.correcting(switch)));
        }
        let steps = vec![Changes::of(CORPUS); rules.len() - 1];
        CorpusChanges { rules, steps, all: Changes::of(CORPUS) }
    }

    /// The rules as published, then with one correction more at a time.
    pub fn rules(&self) -> &[Rules] {
        &self.rules
    }

    /// One note under each of the rules; `None` where they drop it.
    pub fn see(&mut self, prints: &[Option<Fingerprint>]) {
        for (step, pair) in self.steps.iter_mut().zip(prints.windows(2)) {
            step.see(pair[0].as_ref(), pair[1].as_ref());
        }
        if let (Some(first), Some(last)) = (prints.first(), prints.last()) {
            self.all.see(first.as_ref(), last.as_ref());
        }
    }
}

const CORPUS: &str = "adaptation";

fn corpus_switches() -> impl Iterator<Item = Switch> {
    Switch::ALL.into_iter().filter(|switch| !switch.is_of_the_tasks())
}

/// Hashes of text and label, and the split: what a sample is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint {
    pub text: u64,
    pub label: u64,
    pub split: Option<Split>,
}

/// All samples under one set of rules; `None` is the admission note itself.
type Fingerprints = BTreeMap<Option<Task>, BTreeMap<HadmId, Fingerprint>>;

/// Compares the rules step by step; leaves `inputs` under the corrected rules.
pub(super) fn compare(
    options: &PrepareOptions,
    inputs: &mut TaskInputs,
    folder: &Path,
    splitter: &Splitter,
    meter: &ProgressMeter<'_>,
) -> Result<DiffReport> {
    let mut rules = Rules::of(Fidelity::Code);
    let mut prints = |rules: Rules| -> Result<Fingerprints> {
        inputs.apply(rules, options, folder)?;
        let mut prints: Fingerprints =
            [None].into_iter().chain(options.tasks().map(Some)).map(|p| (p, BTreeMap::new())).collect();
        inputs.each(options, splitter, meter, |sample, _| {
            for (part, known) in &mut prints {
                let print = match part {
                    None => Fingerprint { text: hash(&sample.text), label: 0, split: None },
                    Some(task) => match recipe(*task).labelled(sample) {
                        Ok(l) => Fingerprint { text: hash(l.text), label: hash(&l.label.text), split: Some(l.split) },
                        Err(_) => continue,
                    },
                };
                known.insert(sample.id, print);
            }
            Ok(())
        })?;
        Ok(prints)
    };
    let first = prints(rules)?;
    let mut before = first.clone();
    let mut steps = Vec::new();
    for switch in Switch::ALL.into_iter().filter(|s| s.is_of_the_tasks()) {
        rules = rules.correcting(switch);
        let after = prints(rules)?;
        steps.push(DiffStep::of(switch, changes(&before, &after)));
        before = after;
    }
    Ok(DiffReport { steps, all: changes(&first, &before) })
}

fn changes(before: &Fingerprints, after: &Fingerprints) -> Vec<Changes> {
    let parts = before.iter().zip(after.values()).map(|((part, before), after)| {
        let mut changes = Changes::of(part.map_or("notes", Task::name));
        for (id, old) in before {
            changes.see(Some(old), after.get(id));
        }
        for (_, new) in after.iter().filter(|(id, _)| !before.contains_key(id)) {
            changes.see(None, Some(new));
        }
        changes
    });
    parts.filter(|changes| !changes.is_none()).collect()
}

fn hash(text: &str) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..8]);
    u64::from_le_bytes(bytes)
}

impl DiffStep {
    fn of(switch: Switch, changes: Vec<Changes>) -> DiffStep {
        let word = |fidelity: Fidelity| Rules::of(fidelity).word(switch).to_string();
        DiffStep { rule: switch.name().into(), code: word(Fidelity::Code), paper: word(Fidelity::Paper), changes }
    }
}

impl DiffReport {
    /// Adds what was seen of the adaptation corpus.
    pub(super) fn add(&mut self, corpus: CorpusChanges) {
        let some = |changes: Changes| Some(changes).filter(|c| !c.is_none()).into_iter().collect::<Vec<_>>();
        let steps = corpus_switches().zip(corpus.steps);
        self.steps.extend(steps.map(|(switch, changes)| DiffStep::of(switch, some(changes))));
        self.all.extend(some(corpus.all));
    }

    /// Writes `diff.json` and `diff.md`.
    pub(super) fn write(&self, out: &Path) -> Result<()> {
        clinpeft_files::write_json(&out.join("diff.json"), self)?;
        let path = out.join("diff.md");
        std::fs::write(&path, self.markdown()).map_err(Error::at("write", &path))
    }

    /// The report as a table.
    pub fn markdown(&self) -> String {
        let mut text = String::from(
            "# From `code` to `paper`, one rule at a time\n\nAdmissions that change with each rule, counted from the rules \
             before it.\n\n| rule | code | paper | part | before | added | removed | text | label | split |\n\
             |---|---|---|---|---:|---:|---:|---:|---:|---:|\n",
        );
        let mut rows = |rule: &str, code: &str, paper: &str, changes: &[Changes]| {
            if changes.is_empty() {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "| `{rule}` | {code} | {paper} | nothing changes | | | | | | |");
            }
            for c in changes {
                let _ = writeln!(
                    text,
                    "| `{rule}` | {code} | {paper} | {} | {} | {} | {} | {} | {} | {} |",
                    c.part, c.before, c.added, c.removed, c.texts, c.labels, c.splits
                );
            }
        };
        for step in &self.steps {
            rows(&step.rule, &step.code, &step.paper, &step.changes);
        }
        rows("all", "", "", &self.all);
        text
    }
}
