//! Step 2: a task.

use crate::inputs::{self, Kept, Model, Reader};
use crate::language::provenance;
use crate::predictions::{self, Labels, Predictions};
use crate::run::{Context, Number, Report, RunResult};
use crate::switches::{EpochRule, MultilabelScore};
use crate::{Error, Family, Kind, Result, cohort};
use clinpeft_clinical::{Dataset, Example, IdKey, Label, Task, TaskKind};
use clinpeft_metrics::{Bootstrap, Evaluation, Watch, evaluate_watched};
use clinpeft_nn::{Backbone, Beside, Learning};
use clinpeft_peft::{Head, Unit};
use clinpeft_rng::Seed;
use clinpeft_text::{TokenCount, Tokenizer};
use clinpeft_train::{Classification, Examples, Fit, Objective, Outcome, Scores, Targets, Validation, fit};
use serde_json::json;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Tokens run at once where nothing is kept.
pub(crate) const EVALUATION_TOKENS: usize = 4096;

/// Trains the stack and its head, chooses the epoch on the validation split and scores the test split once.
pub(crate) fn run(context: &mut Context<'_>) -> Result<Report> {
    let folder = context.data()?;
    let task = context.spec.task.ok_or_else(|| Error::Options("a downstream run names a task".into()))?;
    let data = Dataset::load(&folder, task)?;
    if context.spec.full && !context.spec.stack.is_empty() {
        return Err(Error::Options("full fine-tuning takes no adapters\nhint: leave out `full`, or the stack".into()));
    }
    let learning = if context.spec.full { Learning::Trainable } else { Learning::Frozen };
    let Model { family, backbone, tokenizer, used } =
        inputs::model(&context.store, &context.spec, learning, &context.control.device)?;
    let reader = Reader::new(family, &tokenizer);
    let mut kept = TokenCount::default();
    let mut examples = |name, split: &[Example]| examples(context, reader, (name, split), &data, &mut kept);
    let (train, mut validation) = (examples("train", &data.train)?, examples("validation", &data.validation)?);
    // Encoded here for the cache; nothing of it is looked at before the epoch is chosen.
    let test = if context.spec.kind == Kind::Trial { None } else { Some(examples("test", &data.test)?) };
    let mut objective = objective(context, (family, backbone), train, &data, &tokenizer)?;
    if objective.only_the_head_learns() {
        objective.keep_training_features(EVALUATION_TOKENS, context.control.stop)?;
        objective.keep_features(&mut validation, EVALUATION_TOKENS, context.control.stop)?;
    }
    let outcome = train_with_validation(context, &mut objective, &validation, &data)?;
    let mut result = RunResult::new(&context.spec, &outcome);
    result.trainable_parameters = objective.parameters().iter().map(|(_, p)| p.value().count()).sum();
    let head = objective.head.classifier.parameters().map(|p| p.value().count()).sum();
    result.total_parameters = inputs::total_parameters(&*objective.backbone, &objective.stack, head);
    let Some(test) = test else {
        (result.split, result.n) = ("validation", data.validation.len());
        return Ok(Report { result, base: Some(used), id_key: None, kept: kept.kept, dropped: kept.dropped });
    };
    let key = IdKey::read(&folder)?;
    let rule = context.spec.switches.multilabel_score;
    let scored = |examples: &Examples| objective.evaluate(examples, EVALUATION_TOKENS, context.control.stop);
    let chosen_by = predictions(rule, &data, &data.validation, &scored(&validation)?, Some(&key));
    predictions::write(&context.folder.file("validation.safetensors"), &context.spec, "validation", &chosen_by)?;
    let scores = scored(&test)?;
    // Resamples number patients by their ids; without the key they are the same wherever the data were prepared.
    let evaluation =
        measure(&predictions(rule, &data, &data.test, &scores, None), &context.bootstrap(), &context.watch())?;
    let found = predictions(rule, &data, &data.test, &scores, Some(&key));
    predictions::write(&context.folder.file("predictions.safetensors"), &context.spec, "test", &found)?;
    result.n = data.test.len();
    result.metrics = evaluation.metrics.iter().map(|(name, e)| (name.to_string(), Number::from(e))).collect();
    result.undefined = evaluation.undefined.iter().map(|(name, why)| (name.to_string(), format!("{why:?}"))).collect();
    result.ceiling = cohort::ceiling(&folder, task)?;
    if context.spec.full {
        save_model(context, family, &objective, &tokenizer)?;
    }
    let unit =
        Unit { stack: objective.stack, head: Some(objective.head), provenance: provenance(context, &used.hash)? };
    unit.save(&context.folder.file("adapter"))?;
    let id_key = Some(key.fingerprint());
    Ok(Report { result, base: Some(used), id_key, kept: kept.kept, dropped: kept.dropped })
}

/// A model that has learned as a whole, with its head, as Hugging Face has it.
fn save_model(context: &Context<'_>, family: Family, o: &Classification, tokenizer: &Tokenizer) -> Result<()> {
    let (class, tensors) = family.classifier_files(&o.head.classifier);
    let labels = &o.head.labels;
    let names: BTreeMap<usize, &String> = labels.iter().enumerate().collect();
    let places: BTreeMap<&String, usize> = labels.iter().zip(0..).collect();
    let config = [("architectures", json!([class])), ("id2label", json!(names)), ("label2id", json!(places))];
    let config = config.map(|(key, value)| (key.to_string(), value)).into();
    let pending = clinpeft_files::commit_dir(&context.folder.file("model"), clinpeft_files::Access::Shared)?;
    o.backbone.save_with(pending.path(), Beside { tensors, config })?;
    tokenizer.save(&pending.path().join("tokenizer.json"))?;
    Ok(pending.commit()?)
}

fn examples(
    context: &Context<'_>,
    reader: Reader<'_>,
    (name, split): (&str, &[Example]),
    data: &Dataset,
    kept: &mut TokenCount,
) -> Result<Examples> {
    let notes = split.iter().map(|e| e.text.expose());
    let place = Kept { store: &context.store, part: format!("{}/{name}", data.task) };
    let sequences = reader.notes(notes, &context.spec, &place)?;
    *kept += sequences.count();
    let count = data.labels.len();
    let targets = match data.task.kind() {
        TaskKind::Multilabel => Targets::Labels { sets: split.iter().map(set).collect(), count },
        TaskKind::Binary | TaskKind::Multiclass => {
            Targets::Classes { labels: split.iter().map(class).collect(), count }
        }
    };
    Ok(Examples::new(sequences, targets)?)
}

fn class(e: &Example) -> u32 {
    match &e.label {
        Label::Class(c) => *c,
        Label::Set(s) => s.first().copied().unwrap_or(0),
    }
}

fn set(e: &Example) -> Vec<u32> {
    match &e.label {
        Label::Class(c) => vec![*c],
        Label::Set(s) => s.clone(),
    }
}

fn objective(
    context: &Context<'_>,
    (family, backbone): (Family, Box<dyn Backbone>),
    train: Examples,
    data: &Dataset,
    tokenizer: &Tokenizer,
) -> Result<Classification> {
    let (spec, device, init) = (&context.spec, &context.control.device, Seed(context.spec.seed).part("init"));
    let stack = inputs::stack(&context.store, &spec.stack, (&*backbone, tokenizer), init, device)?;
    let mut classifier = family.classifier(data.labels.len(), backbone.width(), &mut init.stream("head"))?;
    classifier.to_device(device)?;
    let class_weights = Classification::balanced_weights(&train.targets);
    let rule = spec.switches.pooling;
    Ok(Classification {
        backbone,
        stack,
        head: Head { classifier, labels: data.labels.clone() },
        pooling: family.pooling(rule),
        padding: family.padding(rule, tokenizer, spec.tokens.max_length)?,
        data: train,
        class_weights,
    })
}

fn train_with_validation(
    context: &mut Context<'_>,
    objective: &mut Classification,
    validation: &Examples,
    data: &Dataset,
) -> Result<Outcome> {
    let plan = inputs::batches(objective.data.sequences.lengths(), &context.spec)?;
    let (checkpoint, events) = (context.checkpoint(), context.folder.file("events.jsonl"));
    let (rule, epochs) = (context.spec.switches.multilabel_score, context.spec.switches.selection);
    let stop = context.control.stop;
    let mut validate = |o: &Classification| -> clinpeft_train::Result<Validation> {
        let scores = o.evaluate(validation, EVALUATION_TOKENS, stop)?;
        let none = Bootstrap { resamples: 0, level: 0.95, seed: Seed(0) };
        let found = predictions(rule, data, &data.validation, &scores, None);
        let wrong = |e: Error| clinpeft_train::Error::Evaluation(e.to_string());
        let metrics = measure(&found, &none, &unwatched).map_err(wrong)?.metrics;
        let auroc = || {
            let undefined =
                "the validation split has no defined AUROC\nhint: it needs notes with and without the outcome";
            metrics.get("auroc").map(|e| e.value).ok_or_else(|| wrong(Error::Options(undefined.into())))
        };
        let score = match epochs {
            EpochRule::LowestLoss => -validation_loss(data, &scores),
            EpochRule::BestAuroc => auroc()?,
            // No epoch is chosen, so an undefined AUROC does not matter.
            EpochRule::LastEpoch => auroc().unwrap_or(0.0),
        };
        Ok(Validation {
            score,
            metrics: metrics.iter().map(|(n, e)| (n.to_string(), e.value)).collect::<BTreeMap<_, _>>(),
        })
    };
    let run = Fit {
        plan: &plan,
        settings: context.spec.settings(context.control.checkpoint_every),
        checkpoint: &checkpoint,
        events: &events,
        validate: Some(&mut validate),
        observe: context.control.observe,
        stop: context.control.stop,
    };
    let outcome = fit(objective, run)?;
    if outcome.finished { Ok(outcome) } else { Err(Error::Stopped) }
}

/// Mean loss without class weights, as the later published code selects by.
fn validation_loss(data: &Dataset, scores: &Scores) -> f64 {
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

fn softmax(z: &[f64]) -> Vec<f64> {
    let top = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let e: Vec<f64> = z.iter().map(|x| (x - top).exp()).collect();
    let total: f64 = e.iter().sum();
    e.iter().map(|x| x / total).collect()
}

/// The metrics of a task.
pub(crate) fn measure(p: &Predictions, bootstrap: &Bootstrap, watch: &Watch<'_>) -> Result<Evaluation> {
    Ok(p.with_labels(|labels| evaluate_watched(labels, &p.scores, &p.subjects, bootstrap, watch))?)
}

/// For what takes no time.
pub(crate) const fn unwatched(_: usize) -> ControlFlow<()> {
    ControlFlow::Continue(())
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
