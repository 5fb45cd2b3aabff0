//! Step 2 without a language model: TF-IDF and logistic regression on whole notes. It is the floor that a model must beat.

use crate::error::{Error, Result};
use crate::models::bag_of_words::{BagOfWordsConfig, BagOfWordsModel, scores};
use crate::resources::machine;
use crate::resources::memory::{bag_of_words, gib};
use crate::run::context::Context;
use crate::run::downstream::report_scores;
use crate::run::evaluation::{class, measure, predictions, set};
use crate::run::record::{Report, RunResult};
use crate::spec::BagOfWords;
use crate::spec::switches::MultilabelScore;
use clinpeft_clinical::{Dataset, Example, Task, TaskKind};
use clinpeft_linear::{LogisticPath, SparseMatrix, Target, TfidfSettings, TfidfVectorizer};
use clinpeft_metrics::{Bootstrap, unwatched};
use clinpeft_rng::Seed;
use clinpeft_train::{Event, EventLog, Scores, TrainReport};
use std::collections::BTreeMap;
use std::time::Instant;

/// Labels that `C` is chosen on, where a task has more.
const CHOOSING: usize = 128;

/// Chooses `C` on the validation split and scores the test split once. Nothing is drawn: every seed gives the same scores.
pub(super) fn run(context: &Context<'_>, task: Task, settings: &BagOfWords) -> Result<Report> {
    let (folder, started) = (context.data()?, Instant::now());
    let data = Dataset::load(&folder, task)?;
    let terms = TfidfSettings { min_df: settings.min_df, max_features: settings.max_features };
    let vectorizer = TfidfVectorizer::fit(&texts(&data.train), terms)?;
    let target = target(&data);
    check_memory(vectorizer.terms().len(), data.labels.len())?;
    let [train, validation, test] =
        [&data.train, &data.validation, &data.test].map(|s| vectorizer.transform(&texts(s)));
    let found = choose(context, settings, (&train, &validation), (&target, &data))?;
    let mut path = LogisticPath::new(&train, &target, context.control.stop)?;
    path.fit(found.c)?;
    let (steps, classifier) = (found.steps + path.steps(), path.into_model());
    tell(context, &found, &train)?;
    let outcome = TrainReport {
        finished: true,
        epoch: 0,
        score: Some(found.score),
        steps,
        tokens: 0,
        seconds: started.elapsed().as_secs_f64(),
        last_loss: 0.0,
    };
    let mut result = RunResult::new(&context.spec, &outcome);
    result.trainable_parameters = classifier.outputs() * (train.columns() + 1);
    result.total_parameters = result.trainable_parameters;
    let [validation, test] = [validation, test].map(|rows| scores(&classifier, data.labels.len(), &rows));
    let id_key = report_scores(context, &data, (&validation, &test), &mut result)?;
    drop(train);
    let config = BagOfWordsConfig::new(data.labels.clone(), found.c);
    BagOfWordsModel { vectorizer, classifier, config }.save(&context.folder.file("model"))?;
    Ok(Report { result, base: None, id_key: Some(id_key), kept: 0, dropped: 0 })
}

/// The value of `C` with the best validation AUROC.
struct Chosen {
    c: f64,
    score: f64,
    steps: u64,
    /// Every value with its score.
    tried: Vec<(f64, f64)>,
}

fn choose(
    context: &Context<'_>,
    settings: &BagOfWords,
    (train, validation): (&SparseMatrix, &SparseMatrix),
    (target, data): (&Target, &Dataset),
) -> Result<Chosen> {
    let mut path = LogisticPath::of_labels(train, target, CHOOSING, context.control.stop)?;
    let mut tried = Vec::new();
    for c in &settings.c {
        path.fit(*c)?;
        tried.push((*c, auroc(data, &scores(path.model(), data.labels.len(), validation))?));
    }
    // Of equal ones the first, which is regularised most.
    let best = tried.iter().copied().reduce(|best, next| if next.1 > best.1 { next } else { best });
    let (c, score) = best.ok_or_else(|| Error::Options("`base.c` is empty\nhint: give a value".into()))?;
    Ok(Chosen { c, score, steps: path.steps(), tried })
}

/// AUROC of the validation split, of label sets always label by label: each is a problem of its own.
fn auroc(data: &Dataset, scores: &Scores) -> Result<f64> {
    let none = Bootstrap { resamples: 0, level: 0.95, seed: Seed(0) };
    let found = predictions(MultilabelScore::Sigmoid, data, &data.validation, scores, None);
    let auroc = measure(&found, &none, &unwatched)?.metrics.get("auroc").map(|e| e.value);
    let undefined = "the validation split has no defined AUROC\nhint: it needs notes with and without the outcome";
    auroc.ok_or_else(|| Error::Options(undefined.into()))
}

fn texts(split: &[Example]) -> Vec<&str> {
    split.iter().map(|e| e.text.expose()).collect()
}

fn target(data: &Dataset) -> Target {
    let train = data.train.iter();
    match data.task.kind() {
        TaskKind::Binary => Target::OneVsRest { sets: train.map(|e| vec![0; class(e) as usize]).collect(), count: 1 },
        TaskKind::Multiclass => Target::Softmax { classes: train.map(class).collect(), count: data.labels.len() },
        TaskKind::Multilabel => Target::OneVsRest { sets: train.map(set).collect(), count: data.labels.len() },
    }
}

fn check_memory(features: usize, labels: usize) -> Result<()> {
    let (need, free) = (bag_of_words(features as u64, labels as u64), machine::free());
    match free {
        Some(free) if need > free => Err(Error::Options(format!(
            "the bag of words needs {} GiB of memory, {} are free\nhint: fewer terms, `--set base.max_features={}`",
            gib(need),
            gib(free),
            features / 2
        ))),
        _ => Ok(()),
    }
}

/// Says in the events what was chosen.
fn tell(context: &Context<'_>, found: &Chosen, train: &SparseMatrix) -> Result<()> {
    let tried: Vec<String> = found.tried.iter().map(|(c, score)| format!("{c}: {:.2}", 100.0 * score)).collect();
    let table = format!(
        "bag of words: {} terms, {} training notes\nvalidation AUROC x 100 by C  {}\nC = {}",
        train.columns(),
        train.rows(),
        tried.join("  "),
        found.c
    );
    let event = Event::Status { step: found.steps, table, gradient_norms: BTreeMap::new() };
    Ok(EventLog::open(&context.folder.file("events.jsonl"), 0)?.write(&event)?)
}
