//! Reading a dataset folder.

use crate::error::{Error, Result};
use crate::ids::{HadmId, NoteText, SubjectId};
use crate::outputs::Outputs;
use crate::table::Table;
use crate::task::{Split, Task, TaskKind};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// What a sample is labelled with: indices into [`Dataset::labels`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Label {
    /// One class.
    Class(u32),
    /// A set of labels, in the order of the file.
    Set(Vec<u32>),
}

/// One sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// The admission.
    pub id: HadmId,
    /// The patient.
    pub subject: SubjectId,
    /// The admission note.
    pub text: NoteText,
    /// The label.
    pub label: Label,
}

/// All samples of one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// The task.
    pub task: Task,
    /// Names of the classes or labels.
    pub labels: Vec<String>,
    /// Samples to learn from.
    pub train: Vec<Example>,
    /// Samples to choose by.
    pub validation: Vec<Example>,
    /// Samples to report on.
    pub test: Vec<Example>,
}

/// The two parts of the adaptation corpus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CorpusSplit {
    /// To adapt to.
    Train,
    /// To measure perplexity on.
    Test,
}

const HINT: &str = "prepare the dataset folder again";
const HINT_LABEL: &str = "labels.txt and the split files belong together; prepare the dataset folder again";

impl Dataset {
    /// Reads `<dir>/<task>/` and `<dir>/subjects.csv`. Errors if a file is not as the folder's manifest lists it.
    pub fn load(dir: &Path, task: Task) -> Result<Dataset> {
        let path = dir.join(task.name()).join("labels.txt");
        let outputs = Outputs::of(dir)?;
        let text = clinpeft_files::read_text(&path)?;
        outputs.check(&path, &clinpeft_files::hash_bytes(&text))?;
        let labels: Vec<String> = text.lines().map(str::to_string).collect();
        check_labels(&path, task, &labels)?;
        let subjects = subjects(dir, &outputs)?;
        let read = |split: Split| read_split(dir, task, split, &labels, &subjects, &outputs);
        Ok(Dataset {
            task,
            train: read(Split::Train)?,
            validation: read(Split::Validation)?,
            test: read(Split::Test)?,
            labels,
        })
    }

    /// The samples of one split.
    pub fn split(&self, split: Split) -> &[Example] {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
        }
    }
}

/// Reads `<dir>/adaptation/<split>.csv`. Errors if it is not as the folder's manifest lists it.
pub fn load_corpus(dir: &Path, split: CorpusSplit) -> Result<Vec<NoteText>> {
    let name = match split {
        CorpusSplit::Train => "train",
        CorpusSplit::Test => "test",
    };
    let mut table = Table::open_in(&dir.join("adaptation"), name, &["id", "text"], &[], HINT)?;
    let mut notes = Vec::new();
    while let Some(row) = table.next_row()? {
        notes.push(NoteText::new(row.text(1)?.to_string()));
    }
    verify(table, &Outputs::of(dir)?)?;
    Ok(notes)
}

/// Compares a table that was read with the manifest.
fn verify(table: Table, outputs: &Outputs) -> Result<()> {
    let path = table.path().to_path_buf();
    outputs.check(&path, &table.finish()?.blake3)
}

fn check_labels(path: &Path, task: Task, labels: &[String]) -> Result<()> {
    let expected = task.classes();
    if labels.is_empty() || expected.is_some_and(|classes| classes != labels) {
        return Err(Error::Inconsistent { path: path.into(), what: format!("not the labels of task `{task}`") });
    }
    Ok(())
}

fn subjects(dir: &Path, outputs: &Outputs) -> Result<BTreeMap<HadmId, SubjectId>> {
    let mut table = Table::open_in(dir, "subjects", &["id", "subject"], &[], HINT)?;
    let mut subjects = BTreeMap::new();
    while let Some(row) = table.next_row()? {
        subjects.insert(row.admission(0)?, row.subject(1)?);
    }
    verify(table, outputs)?;
    Ok(subjects)
}

fn read_split(
    dir: &Path,
    task: Task,
    split: Split,
    labels: &[String],
    subjects: &BTreeMap<HadmId, SubjectId>,
    outputs: &Outputs,
) -> Result<Vec<Example>> {
    let folder = dir.join(task.name());
    let mut table = Table::open_in(&folder, split.name(), &["id", "text", "label"], &[], HINT)?;
    let places: HashMap<&str, u32> = labels.iter().map(String::as_str).zip(0..).collect();
    let mut examples = Vec::new();
    while let Some(row) = table.next_row()? {
        let id = row.admission(0)?;
        let subject =
            *subjects.get(&id).ok_or_else(|| row.wrong(0, "subjects.csv does not list this admission", HINT))?;
        let label = match task.kind() {
            TaskKind::Multilabel => row
                .text(2)?
                .split(',')
                .filter(|name| !name.is_empty())
                .map(|name| places.get(name).copied())
                .collect::<Option<Vec<u32>>>()
                .map(Label::Set),
            TaskKind::Binary | TaskKind::Multiclass => {
                row.number(2)?.filter(|class| *class < labels.len() as u64).map(|class| Label::Class(class as u32))
            }
        };
        examples.push(Example {
            id,
            subject,
            text: NoteText::new(row.text(1)?.to_string()),
            label: label.ok_or_else(|| row.wrong(2, "a label that labels.txt does not list", HINT_LABEL))?,
        });
    }
    verify(table, outputs)?;
    if examples.is_empty() {
        return Err(Error::EmptySplit { task: task.name(), split: split.name(), hint: HINT });
    }
    Ok(examples)
}
