//! A trained stack, or a bag of words, on notes of one's own: a CSV file with the columns `id`, `text` and, to evaluate, `label`.

use crate::error::{Error, Result};
use crate::models::bag_of_words::BagOfWordsModel;
use crate::models::loading::{self, Model, NoteEncoder};
use crate::resources::memory::EVALUATION_TOKENS;
use crate::run::evaluation::{measure, predictions};
use crate::run::record::Number;
use crate::spec::{Base, RunSpec};
use crate::store::{RunFolder, RunState};
use clinpeft_clinical::{Dataset, Example, HadmId, Label, NoteText, OwnNotes, SubjectId, Task, TaskKind};
use clinpeft_metrics::Bootstrap;
use clinpeft_nn::Trainability;
use clinpeft_peft::{AdapterBundle, Head, ModelShape, Stack};
use clinpeft_report::plain_cell;
use clinpeft_report::predictions::Predictions;
use clinpeft_rng::Seed;
use clinpeft_tensor::Device;
use clinpeft_text::Truncation;
use clinpeft_train::{Classification, Examples, Scores, Targets};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Writes the probability of every class of each note to `out`, whole or not at all. Returns the number of notes.
///
/// A binary task has one column, the probability of its second class. An id that a spreadsheet would take for a formula gets an
/// apostrophe before it. Errors if `out` is the input, or a file that is no such table of scores.
pub fn predict(run: &RunFolder, input: &Path, out: &Path, device: &Device, stop: &AtomicBool) -> Result<usize> {
    clinpeft_files::refuse_same_file(input, out)?;
    let notes = Notes::read(input, None)?;
    let trained = Trained::load(run, device)?;
    let header = csv_lines(out, [trained.header()])?;
    clinpeft_files::refuse_foreign_file(out, &header)?;
    let found = trained.score(notes.examples, stop)?;
    let rows = notes.ids.iter().zip(found.scores.chunks_exact(found.columns));
    let rows = rows.map(|(id, scores)| std::iter::once(id.clone()).chain(scores.iter().map(ToString::to_string)));
    let bytes = [header, csv_lines(out, rows)?].concat();
    clinpeft_files::write_private(out, bytes)?;
    Ok(notes.ids.len())
}

/// Rows of a CSV file that no spreadsheet takes for formulas.
fn csv_lines<R: IntoIterator<Item = String>>(out: &Path, rows: impl IntoIterator<Item = R>) -> Result<Vec<u8>> {
    let mut file = csv::Writer::from_writer(Vec::new());
    let failed = |e: csv::Error| Error::Config { path: out.into(), what: e.to_string() };
    for row in rows {
        let cells = row.into_iter().map(|cell| plain_cell(&cell).into_owned());
        file.write_record(cells).map_err(failed)?;
    }
    file.into_inner().map_err(|e| failed(e.into_error().into()))
}

/// The metrics of the run's task on notes with labels; intervals by note, as no patients are given.
///
/// A label is the name of a class or its number from 0; label sets are names with commas between them.
pub fn evaluate(run: &RunFolder, input: &Path, device: &Device, stop: &AtomicBool) -> Result<BTreeMap<String, Number>> {
    let trained = Trained::load(run, device)?;
    let notes = Notes::read(input, Some(&trained))?;
    let spec = &trained.spec;
    let seed = Seed(spec.seed).part("bootstrap");
    let bootstrap = Bootstrap { resamples: spec.bootstrap_resamples, level: 0.95, seed };
    let watch = |_| if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let evaluation = measure(&trained.score(notes.examples, stop)?, &bootstrap, &watch)?;
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
        let required: &[&str] = if labelled.is_some() { &["id", "text", "label"] } else { &["id", "text"] };
        let mut table = OwnNotes::open(path, required, &[])?;
        let mut notes = Notes { ids: Vec::new(), examples: Vec::new() };
        while let Some(row) = table.next_note()? {
            let label = match labelled {
                None => Label::Set(Vec::new()),
                Some(trained) => trained.label(row.text(2)?).ok_or_else(|| {
                    let hint = trained.scorer.where_labels_are();
                    row.wrong(2, "not one of this run's labels", hint)
                })?,
            };
            let text = NoteText::new(row.text(1)?.to_string());
            notes.ids.push(row.text(0)?.to_string());
            let (id, subject) = (HadmId(row.index()), SubjectId(row.index()));
            notes.examples.push(Example { id, subject, text, label });
        }
        table.finish()?;
        Ok(notes)
    }
}

/// What a finished downstream run has made.
struct Trained {
    spec: RunSpec,
    task: Task,
    labels: Vec<String>,
    scorer: Scorer,
}

/// What scores a note.
enum Scorer {
    Adapted { model: Box<Model>, stack: Stack, head: Box<Head> },
    BagOfWords(Box<BagOfWordsModel>),
}

impl Scorer {
    fn where_labels_are(&self) -> &'static str {
        match self {
            Scorer::Adapted { .. } => "`stack.json` in the run's `adapter` folder lists them",
            Scorer::BagOfWords(_) => "`config.json` in the run's `model` folder lists them",
        }
    }
}

impl Trained {
    fn load(run: &RunFolder, device: &Device) -> Result<Trained> {
        let mut spec = run.spec()?;
        if run.state()? != Some(RunState::Done) {
            let what = format!("run `{}` is not done\nhint: `clinpeft run` it first", run.name());
            return Err(Error::Options(what));
        }
        let scores_nothing = || {
            let what = format!("run `{}` scores nothing\nhint: choose the run of a task", run.name());
            Error::Options(what)
        };
        let task = spec.task.ok_or_else(scores_nothing)?;
        if let Base::BagOfWords(_) = spec.base {
            let model = BagOfWordsModel::load(&run.file("model"))?;
            let labels = model.config.labels.clone();
            return Ok(Trained { spec, task, labels, scorer: Scorer::BagOfWords(Box::new(model)) });
        }
        if spec.full {
            spec.base = Base::Folder { folder: run.file("model") };
        }
        let model = loading::model(&run.store()?, &spec, Trainability::Frozen, device)?;
        let bundle = AdapterBundle::load(&run.file("adapter"), &ModelShape::of(&*model.backbone))?;
        let mut head = bundle.head.ok_or_else(scores_nothing)?;
        let mut stack = bundle.stack;
        stack.to_device(device)?;
        head.classifier.to_device(device)?;
        let labels = head.labels.clone();
        Ok(Trained {
            spec,
            task,
            labels,
            scorer: Scorer::Adapted { model: Box::new(model), stack, head: Box::new(head) },
        })
    }

    /// The columns of a file of scores: `id`, then the classes; of two classes the second.
    fn header(&self) -> Vec<String> {
        let skipped = usize::from(self.task.kind() == TaskKind::Binary);
        let names = self.labels.iter().skip(skipped).cloned();
        std::iter::once("id".to_string()).chain(names).collect()
    }

    /// A label as a file has it; `None` if this run does not know it.
    fn label(&self, written: &str) -> Option<Label> {
        let named = |name: &str| self.labels.iter().position(|l| l == name).map(|i| i as u32);
        if self.task.kind() == TaskKind::Multilabel {
            let names = written.split(',').map(str::trim).filter(|n| !n.is_empty());
            return names.map(named).collect::<Option<_>>().map(Label::Set);
        }
        let number = || written.parse().ok().filter(|n: &u32| (*n as usize) < self.labels.len());
        named(written).or_else(number).map(Label::Class)
    }

    fn score(self, notes: Vec<Example>, stop: &AtomicBool) -> Result<Predictions> {
        let Trained { spec, task, labels, scorer } = self;
        let texts: Vec<&str> = notes.iter().map(|e| e.text.expose()).collect();
        let scores = match scorer {
            Scorer::BagOfWords(model) => model.scores(&texts),
            Scorer::Adapted { model, stack, head } => adapted(&spec, *model, (stack, *head), &texts, stop)?,
        };
        let data = Dataset { task, labels, train: Vec::new(), validation: Vec::new(), test: notes };
        Ok(predictions(spec.switches.multilabel_score, &data, &data.test, &scores, None))
    }
}

/// The logits of a model with its adapters.
fn adapted(
    spec: &RunSpec,
    model: Model,
    (stack, head): (Stack, Head),
    texts: &[&str],
    stop: &AtomicBool,
) -> Result<Scores> {
    let Model { family, backbone, tokenizer, .. } = model;
    let (length, rule) = (spec.tokens.max_length, spec.switches.pooling);
    let sequences = NoteEncoder::new(family, &tokenizer).encode(texts.iter().copied(), Truncation::First { length })?;
    let unknown = Targets::Labels { sets: vec![Vec::new(); texts.len()], count: head.labels.len() };
    let examples = Examples::new(sequences, unknown)?;
    let model = Classification {
        backbone,
        stack,
        head,
        pooling: family.pooling(rule),
        padding: family.padding(rule, &tokenizer, length)?,
        data: examples.clone(),
        class_weights: Vec::new(),
    };
    Ok(model.evaluate(&examples, EVALUATION_TOKENS, stop)?)
}
