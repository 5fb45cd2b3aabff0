//! A CSV file of one's own as a dataset folder.

use crate::error::{Error, Result};
use crate::store::Store;
use clinpeft_clinical::prepare::OutputFile;
use clinpeft_clinical::{IdKey, OwnNotes, Task, TaskKind};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Parts of a hundred that a split gets where the file names none: tasks 70, 10, 20; the corpus 90 and 10.
const TASK: [(&str, u64); 3] = [("train", 70), ("validation", 80), ("test", 100)];
const CORPUS: [(&str, u64); 2] = [("train", 90), ("test", 100)];

/// One row.
struct Note {
    subject: u64,
    split: &'static str,
    text: String,
    label: String,
}

/// Makes the dataset folder of a file once; returns its name below `<out>/data`.
///
/// Rows are numbered; a patient's rows (`subject`) stay in one split. Errors name row and column, never a value.
pub(crate) fn dataset(store: &Store, path: &Path, task: Option<Task>, seed: u64) -> Result<String> {
    let hash = clinpeft_files::hash_file(path)?;
    let part = task.map_or("adaptation", Task::name);
    let key = clinpeft_files::hash_bytes(format!("{hash} {part} {seed} {} with a key", env!("CARGO_PKG_VERSION")));
    let name = format!("own-{part}-{}", &key[..12]);
    let folder = store.data(&name);
    if folder.join("manifest.json").exists() {
        return Ok(name);
    }
    let notes = read(path, task, seed)?;
    store.open()?;
    let pending = clinpeft_files::commit_dir(&folder, clinpeft_files::Access::Private)?;
    write(pending.path(), path, (part, task), &notes, &hash)?;
    pending.commit()?;
    Ok(name)
}

fn read(path: &Path, task: Option<Task>, seed: u64) -> Result<Vec<Note>> {
    let required: &[&str] = if task.is_some() { &["id", "text", "label"] } else { &["id", "text"] };
    let mut table = OwnNotes::open(path, required, &["subject", "split"])?;
    let (subject, split) = (required.len(), required.len() + 1);
    let patient = if table.has(subject) { subject } else { 0 };
    let shares: &[(&'static str, u64)] = if task.is_some() { &TASK } else { &CORPUS };
    let known: Vec<&str> = shares.iter().map(|s| s.0).collect();
    let (has_split, mut notes, mut subjects) = (table.has(split), Vec::new(), BTreeMap::new());
    while let Some(row) = table.next_note()? {
        let next = subjects.len() as u64 + 1;
        let number = *subjects.entry(row.text(patient)?.to_string()).or_insert(next);
        let part = if has_split {
            let written = row.text(split)?;
            let found = shares.iter().map(|s| s.0).find(|s| *s == written);
            found.ok_or_else(|| row.wrong(split, "no known split", format!("known are {}", known.join(", "))))?
        } else {
            drawn(shares, row.text(patient)?, seed)
        };
        let label = if task.is_some() { row.text(2)?.to_string() } else { String::new() };
        notes.push(Note { subject: number, split: part, text: row.text(1)?.to_string(), label });
    }
    table.finish()?;
    let wrong = |what: String| Error::Config { path: path.into(), what };
    match shares.iter().find(|(split, _)| notes.iter().all(|n| n.split != *split)) {
        None => Ok(notes),
        Some((split, _)) => {
            Err(wrong(format!("no row is in the split `{split}`\nhint: give more notes, or a column `split`")))
        }
    }
}

/// The split of a patient, by a hash of seed and name.
fn drawn(shares: &[(&'static str, u64)], subject: &str, seed: u64) -> &'static str {
    let hash = clinpeft_files::hash_bytes(format!("{seed} {subject}"));
    let place = u64::from_str_radix(&hash[..12], 16).unwrap_or(0) % 100;
    shares.iter().find(|(_, until)| place < *until).map_or("train", |(split, _)| split)
}

fn write(folder: &Path, source: &Path, (part, task): (&str, Option<Task>), notes: &[Note], hash: &str) -> Result<()> {
    let labels = task.map(|task| Labels::of(task, notes, source)).transpose()?;
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut files: BTreeMap<&str, Vec<[String; 3]>> = BTreeMap::new();
    for (i, note) in notes.iter().enumerate() {
        let label = labels.as_ref().map(|l| l.written(i, note)).transpose()?.unwrap_or_default();
        files.entry(note.split).or_default().push([(i + 1).to_string(), note.text.clone(), label]);
        *counts.entry(note.split).or_default() += 1;
    }
    let columns: &[&str] = if task.is_some() { &["id", "text", "label"] } else { &["id", "text"] };
    for (split, rows) in files {
        let path = folder.join(part).join(format!("{split}.csv"));
        table(&path, columns, rows.iter().map(|row| &row[..columns.len()]))?;
    }
    if let Some(labels) = &labels {
        clinpeft_files::write_atomic(&folder.join(part).join("labels.txt"), labels.names.join("\n") + "\n")?;
        let subjects: Vec<[String; 2]> =
            notes.iter().enumerate().map(|(i, n)| [(i + 1).to_string(), n.subject.to_string()]).collect();
        table(&folder.join("subjects.csv"), &["id", "subject"], subjects.iter().map(|row| &row[..]))?;
    }
    let outputs = outputs(folder)?;
    IdKey::random()?.write(folder)?;
    let counts: Vec<_> = counts.iter().map(|(split, n)| json!({"task": part, "split": split, "samples": n})).collect();
    let manifest = json!({"program_version": env!("CARGO_PKG_VERSION"), "switches": {"source": "own notes"},
        "inputs": [{"blake3": hash}], "attrition": [], "counts": counts, "outputs": outputs});
    // Last, so that its presence says that everything before it is there.
    Ok(clinpeft_files::write_json(&folder.join("manifest.json"), &manifest)?)
}

/// Every file that was written so far, by which readers tell altered ones.
fn outputs(folder: &Path) -> Result<Vec<OutputFile>> {
    let files = clinpeft_files::walk(folder)?;
    let one = |path: &PathBuf| -> Result<OutputFile> {
        let parts = path.strip_prefix(folder).unwrap_or(path).iter().map(|p| p.to_string_lossy());
        let bytes = path.metadata().map_err(clinpeft_files::at("inspect", path))?.len();
        Ok(OutputFile { path: parts.collect::<Vec<_>>().join("/"), bytes, blake3: clinpeft_files::hash_file(path)? })
    };
    files.iter().map(one).collect()
}

fn table<'a>(path: &Path, columns: &[&str], rows: impl Iterator<Item = &'a [String]>) -> Result<()> {
    let failed = |e: csv::Error| Error::Config { path: path.into(), what: e.to_string() };
    let mut file = csv::Writer::from_writer(Vec::new());
    file.write_record(columns).map_err(failed)?;
    for row in rows {
        file.write_record(row).map_err(failed)?;
    }
    let bytes = file.into_inner().map_err(|e| failed(e.into_error().into()))?;
    Ok(clinpeft_files::write_atomic(path, bytes)?)
}

/// The labels of a task.
struct Labels<'a> {
    task: Task,
    source: &'a Path,
    names: Vec<String>,
}

impl Labels<'_> {
    /// The task's classes, or every code of the training rows in the order of the alphabet.
    fn of<'a>(task: Task, notes: &[Note], source: &'a Path) -> Result<Labels<'a>> {
        let names = match task.classes() {
            Some(classes) => classes.iter().map(|c| (*c).to_string()).collect(),
            None => {
                let torn = |label: &String| label.contains(|c: char| c == '"' || c.is_control());
                if let Some(row) = notes.iter().position(|n| codes(&n.label).any(|code| torn(&code))) {
                    let what = format!(
                        "row {}, column `label`: a name with a quote or a line end\nhint: names are separated by commas",
                        row + 1
                    );
                    return Err(Error::Config { path: source.into(), what });
                }
                let train = notes.iter().filter(|n| n.split == "train");
                let codes: BTreeSet<String> = train.flat_map(|n| codes(&n.label)).collect();
                codes.into_iter().collect()
            }
        };
        Ok(Labels { task, source, names })
    }

    /// A label as dataset folders have it: the number of a class, or known codes; codes that no training row has are left out.
    fn written(&self, row: usize, note: &Note) -> Result<String> {
        if self.task.kind() == TaskKind::Multilabel {
            let known = codes(&note.label).filter(|code| self.names.contains(code));
            return Ok(known.collect::<Vec<_>>().join(","));
        }
        let named = self.names.iter().position(|n| *n == note.label);
        let place = named.or_else(|| note.label.parse().ok().filter(|n: &usize| *n < self.names.len()));
        place.map(|n| n.to_string()).ok_or_else(|| Error::Config {
            path: self.source.into(),
            what: format!(
                "row {}, column `label`: is not of the task's classes\nhint: they are {}, or their numbers from 0",
                row + 1,
                self.names.join(", ")
            ),
        })
    }
}

fn codes(label: &str) -> impl Iterator<Item = String> {
    label.split(',').map(str::trim).filter(|c| !c.is_empty()).map(String::from)
}
