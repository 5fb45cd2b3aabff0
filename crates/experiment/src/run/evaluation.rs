//! Scores of a task, its metrics, and the predictions file.

use crate::error::Result;
use crate::spec::RunSpec;
use crate::spec::switches::MultilabelScore;
use clinpeft_clinical::{Dataset, Example, IdKey, Label, Task, TaskKind};
use clinpeft_metrics::{Bootstrap, Evaluation, Watch, evaluate_watched, softmax, unwatched};
use clinpeft_report::predictions::{Labels, Predictions};
use clinpeft_rng::Seed;
use clinpeft_train::Scores;
use std::path::Path;

/// Writes the predictions of a split, whole or not at all.
pub(crate) fn write(path: &Path, spec: &RunSpec, split: &str, p: &Predictions) -> Result<()> {
    Ok(p.write(path, &task(spec), split)?)
}

/// The same for a language model: loss and predictions of each note.
pub(crate) fn write_losses(path: &Path, spec: &RunSpec, nll: &[f64], predictions: &[u32]) -> Result<()> {
    Ok(clinpeft_report::predictions::write_losses(path, &task(spec), nll, predictions)?)
}

fn task(spec: &RunSpec) -> String {
    spec.task.map_or("adaptation".into(), |t| t.to_string())
}

pub(super) fn class(e: &Example) -> u32 {
    match &e.label {
        Label::Class(c) => *c,
        Label::Set(s) => s.first().copied().unwrap_or(0),
    }
}

pub(super) fn set(e: &Example) -> Vec<u32> {
    match &e.label {
        Label::Class(c) => vec![*c],
        Label::Set(s) => s.clone(),
    }
}

/// Mean loss without class weights, as the later published code selects by.
pub(super) fn validation_loss(data: &Dataset, scores: &Scores) -> f64 {
    let rows = scores.logits.chunks_exact(scores.columns.max(1)).zip(&data.validation);
    let one = |(z, e): (&[f64], &Example)| match data.task.kind() {
        TaskKind::Multilabel => {
            let known = set(e);
            let cell = |(i, z): (usize, &f64)| {
                let y = f64::from(u8::from(known.contains(&(i as u32))));
                z.max(0.0) - z * y + (-z.abs()).exp().ln_1p()
            };
            z.iter().enumerate().map(cell).sum::<f64>() / z.len() as f64
        }
        TaskKind::Binary | TaskKind::Multiclass => -softmax(z)[class(e) as usize].ln(),
    };
    rows.map(one).sum::<f64>() / data.validation.len().max(1) as f64
}

/// Scores as the metrics use them: probability of class 1, softmax over classes, sigmoid for each label. Without a key the ids are
/// those of the data, for what stays in memory.
pub(crate) fn predictions(
    rule: MultilabelScore,
    data: &Dataset,
    split: &[Example],
    scores: &Scores,
    key: Option<&IdKey>,
) -> Predictions {
    let (c, task) = (scores.columns, data.task);
    let sigmoid = |z: &f64| 1.0 / (1.0 + (-z).exp());
    let rows = scores.logits.chunks_exact(c.max(1));
    let (values, labels, columns): (Vec<f32>, Labels, usize) = match task.kind() {
        TaskKind::Binary => {
            let p = rows.map(|z| softmax(z)[1] as f32).collect();
            (p, Labels::Classes(split.iter().map(class).collect()), 1)
        }
        TaskKind::Multiclass => {
            let p = rows.flat_map(|z| softmax(z).into_iter().map(|x| x as f32)).collect();
            (p, Labels::Classes(split.iter().map(class).collect()), c)
        }
        TaskKind::Multilabel => {
            let p = match rule {
                MultilabelScore::Sigmoid => scores.logits.iter().map(|z| sigmoid(z) as f32).collect(),
                MultilabelScore::Softmax => rows.flat_map(|z| softmax(z).into_iter().map(|x| x as f32)).collect(),
            };
            (p, Labels::Sets(cells(split, c)), c)
        }
    };
    Predictions {
        id_key: key.map(IdKey::fingerprint),
        ids: split.iter().map(|e| key.map_or(e.id.0, |key| key.id(e.id))).collect(),
        subjects: split.iter().map(|e| key.map_or(e.subject.0, |key| key.subject(e.subject))).collect(),
        labels,
        scores: values,
        decisions: match (task.kind(), rule) {
            // What is ranked by softmax is still decided label by label.
            (TaskKind::Multilabel, MultilabelScore::Softmax) => {
                Some(scores.logits.iter().map(|z| u8::from(*z >= 0.0)).collect())
            }
            _ => None,
        },
        columns,
        names: data.labels.clone(),
    }
}

fn cells(split: &[Example], columns: usize) -> Vec<u8> {
    let mut all = vec![0; split.len() * columns];
    for (i, e) in split.iter().enumerate() {
        for l in set(e) {
            all[i * columns + l as usize] = 1;
        }
    }
    all
}

/// The metrics of a task.
pub(crate) fn measure(p: &Predictions, bootstrap: &Bootstrap, watch: &Watch<'_>) -> Result<Evaluation> {
    Ok(p.with_labels(|labels| evaluate_watched(labels, &p.scores, &p.subjects, bootstrap, watch))?)
}

/// AUROC of given probabilities on a split; for the ceiling.
pub(crate) fn auroc_of(task: Task, data: &Dataset, split: &[Example], probabilities: Vec<f32>) -> Result<Option<f64>> {
    let columns = if task.kind() == TaskKind::Binary { 1 } else { data.labels.len() };
    let labels = match task.kind() {
        TaskKind::Multilabel => Labels::Sets(cells(split, columns)),
        _ => Labels::Classes(split.iter().map(class).collect()),
    };
    let subjects = split.iter().map(|e| e.subject.0).collect();
    let p = Predictions {
        id_key: None,
        ids: vec![],
        subjects,
        labels,
        scores: probabilities,
        decisions: None,
        columns,
        names: vec![],
    };
    let found = measure(&p, &Bootstrap { resamples: 0, level: 0.95, seed: Seed(0) }, &unwatched)?;
    Ok(found.metrics.get("auroc").map(|e| e.value))
}
