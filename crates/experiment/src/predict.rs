//! A trained stack on notes of one's own: a CSV file with the columns `id`, `text` and, to evaluate, `label`.

use crate::downstream::{EVALUATION_TOKENS, measure, predictions};
use crate::inputs::{self, Model, Reader};
use crate::predictions::Predictions;
use crate::run::Number;
use crate::{Base, Error, Result, RunFolder, RunSpec, RunState};
use clinpeft_clinical::{Dataset, Example, HadmId, Label, NoteText, SubjectId, Task, TaskKind};
use clinpeft_metrics::Bootstrap;
use clinpeft_nn::Learning;
use clinpeft_peft::{Head, ModelShape, Stack, Unit};
use clinpeft_rng::Seed;
use clinpeft_tensor::Device;
use clinpeft_text::Truncation;
use clinpeft_train::{Classification, Examples, Targets};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Writes the probability of every class of each note to `out`, whole or not at all. Returns the number of notes.
///
/// A binary task has one column, the probability of its second class.
pub fn predict(run: &RunFolder, input: &Path, out: &Path, device: &Device) -> Result<usize> {
    let trained = Trained::load(run, device)?;
    let notes = Notes::read(input, None)?;
    let found = trained.score(notes.examples)?;
    let names = &found.names[found.names.len() - found.columns..];
    let mut file = csv::Writer::from_writer(Vec::new());
    let failed = |e: csv::Error| Error::Config { path: out.into(), what: e.to_string() };
    file.write_record(std::iter::once("id").chain(names.iter().map(String::as_str))).map_err(failed)?;
    for (id, scores) in notes.ids.iter().zip(found.scores.chunks_exact(found.columns)) {
        let scores = scores.iter().map(ToString::to_string);
        file.write_record(std::iter::once(id.clone()).chain(scores)).map_err(failed)?;
    }
    let bytes = file.into_inner().map_err(|e| failed(e.into_error().into()))?;
    clinpeft_files::write_atomic(out, bytes)?;
    Ok(notes.ids.len())
}

/// The metrics of the run's task on notes with labels; intervals by note, as no patients are given.
///
/// A label is the name of a class or its number from 0; label sets are names with commas between them.
pub fn evaluate(run: &RunFolder, input: &Path, device: &Device) -> Result<BTreeMap<String, Number>> {
    let trained = Trained::load(run, device)?;
    let notes = Notes::read(input, Some(&trained))?;
    let spec = &trained.spec;
    let seed = Seed(spec.seed).part("bootstrap");
    let bootstrap = Bootstrap { resamples: spec.bootstrap_resamples, level: 0.95, seed };
    let evaluation = measure(&trained.score(notes.examples)?, &bootstrap)?;
    Ok(evaluation.metrics.iter().map(|(name, e)| (name.to_string(), Number::from(e))).collect())
}

/// Notes of a file.
struct Notes {
    ids: Vec<String>,
    examples: Vec<Example>,
}

impl Notes {
    /// Reads the file; labels too if it is for a trained run to be evaluated.
    fn read(path: &Path, labelled: Option<&Trained>) -> Result<Notes> {
        let wrong = |what: String| Error::Config { path: path.into(), what };
        let bytes = clinpeft_files::read_text(path)?;
        let mut table = csv::Reader::from_reader(bytes.as_bytes());
        // The library's errors name rows and fields, never values.
        let header = table.headers().map_err(|e| wrong(e.to_string()))?.clone();
        let place = |column: &str| {
            header.iter().position(|h| h == column).ok_or_else(|| {
                wrong(format!("has no column `{column}`\nhint: columns are id, text and, to evaluate, label"))
            })
        };
        let (id, text) = (place("id")?, place("text")?);
        let label = labelled.map(|t| Ok::<_, Error>((place("label")?, t))).transpose()?;
        let mut notes = Notes { ids: Vec::new(), examples: Vec::new() };
        for (i, row) in table.records().enumerate() {
            let row = row.map_err(|e| wrong(e.to_string()))?;
            let label = match label {
                None => Label::Set(Vec::new()),
                Some((column, trained)) => trained.label(&row[column]).ok_or_else(|| {
                    let what =
                        "is not of this run's labels\nhint: `stack.json` in the run's `adapter` folder lists them";
                    wrong(format!("row {}, column `label`: {what}", i + 1))
                })?,
            };
            notes.ids.push(row[id].to_string());
            let (id, subject, text) = (HadmId(i as u64), SubjectId(i as u64), NoteText::new(row[text].to_string()));
            notes.examples.push(Example { id, subject, text, label });
        }
        if notes.ids.is_empty() {
            return Err(wrong("has no rows\nhint: one note a row".into()));
        }
        Ok(notes)
    }
}

/// What a finished downstream run has made.
struct Trained {
    spec: RunSpec,
    task: Task,
    model: Model,
    stack: Stack,
    head: Head,
}

impl Trained {
    fn load(run: &RunFolder, device: &Device) -> Result<Trained> {
        let mut spec = run.spec()?;
        if run.state()? != Some(RunState::Done) {
            let what = format!("run `{}` is not done\nhint: `clinpeft run` it first", run.name());
            return Err(Error::Options(what));
        }
        if spec.full {
            spec.base = Base::Folder { folder: run.file("model") };
        }
        let model = inputs::model(&run.store()?, &spec, Learning::Frozen, device)?;
        let unit = Unit::load(&run.file("adapter"), &ModelShape::of(&*model.backbone))?;
        let (Some(mut head), Some(task)) = (unit.head, spec.task) else {
            let what = format!("run `{}` scores nothing\nhint: choose the run of a task", run.name());
            return Err(Error::Options(what));
        };
        let mut stack = unit.stack;
        stack.to_device(device)?;
        head.classifier.to_device(device)?;
        Ok(Trained { spec, task, model, stack, head })
    }

    /// A label as a file has it; `None` if this run does not know it.
    fn label(&self, written: &str) -> Option<Label> {
        let named = |name: &str| self.head.labels.iter().position(|l| l == name).map(|i| i as u32);
        if self.task.kind() == TaskKind::Multilabel {
            let names = written.split(',').map(str::trim).filter(|n| !n.is_empty());
            return names.map(named).collect::<Option<_>>().map(Label::Set);
        }
        let number = || written.parse().ok().filter(|n: &u32| (*n as usize) < self.head.labels.len());
        named(written).or_else(number).map(Label::Class)
    }

    fn score(self, notes: Vec<Example>) -> Result<Predictions> {
        let Model { family, backbone, tokenizer, .. } = self.model;
        let (length, rule) = (self.spec.tokens.max_length, self.spec.switches);
        let texts = notes.iter().map(|e| e.text.expose());
        let sequences = Reader::new(family, &tokenizer).encode(texts, Truncation::First { length })?;
        let labels = self.head.labels.clone();
        let unknown = Targets::Labels { sets: vec![Vec::new(); notes.len()], count: labels.len() };
        let examples = Examples::new(sequences, unknown)?;
        let model = Classification {
            backbone,
            stack: self.stack,
            head: self.head,
            pooling: family.pooling(rule.pooling),
            padding: family.padding(rule.pooling, &tokenizer, length)?,
            data: examples.clone(),
            class_weights: Vec::new(),
        };
        let scores = model.evaluate(&examples, EVALUATION_TOKENS, &AtomicBool::new(false))?;
        let data = Dataset { task: self.task, labels, train: Vec::new(), validation: Vec::new(), test: notes };
        Ok(predictions(rule.multilabel_score, &data, &data.test, &scores, ""))
    }
}
