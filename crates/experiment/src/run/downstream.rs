//! Step 2: a task.

use crate::data::dataset;
use crate::error::{Error, Result};
use crate::models::loading::{self, Model, NoteEncoder, TokenCacheKey};
use crate::models::registry::Family;
use crate::resources::memory::EVALUATION_TOKENS;
use crate::run::context::Context;
use crate::run::evaluation::{self, class, measure, predictions, set, validation_loss};
use crate::run::record::{Number, Report, RunResult};
use crate::spec::Kind;
use crate::spec::switches::EpochRule;
use clinpeft_clinical::{Dataset, Example, IdKey, TaskKind};
use clinpeft_metrics::{Bootstrap, unwatched};
use clinpeft_nn::{Backbone, ExtraTensors, Trainability};
use clinpeft_peft::{AdapterBundle, Head};
use clinpeft_rng::Seed;
use clinpeft_text::{TokenCount, Tokenizer};
use clinpeft_train::{Classification, Examples, Objective, Scores, Targets, TrainReport, Validation};
use serde_json::json;
use std::collections::BTreeMap;

/// Trains the stack and its head, chooses the epoch on the validation split and scores the test split once.
pub(crate) fn run(context: &mut Context<'_>) -> Result<Report> {
    let folder = context.data()?;
    let task = context.spec.task.ok_or_else(|| Error::Options("a downstream run names a task".into()))?;
    let data = Dataset::load(&folder, task)?;
    if context.spec.full && !context.spec.stack.is_empty() {
        return Err(Error::Options("full fine-tuning takes no adapters\nhint: leave out `full`, or the stack".into()));
    }
    let learning = if context.spec.full { Trainability::Trainable } else { Trainability::Frozen };
    let Model { family, backbone, tokenizer, used } =
        loading::model(&context.store, &context.spec, learning, &context.control.device)?;
    let reader = NoteEncoder::new(family, &tokenizer);
    let (mut kept, trial) = (TokenCount::default(), context.spec.kind == Kind::Trial);
    let mut examples = |name, split: &[Example]| examples(context, reader, (name, split), &data, &mut kept);
    let (train, mut validation) = (examples("train", &data.train)?, examples("validation", &data.validation)?);
    // Encoded here for the cache; nothing of it is looked at before the epoch is chosen.
    let test = if trial { None } else { Some(examples("test", &data.test)?) };
    let mut objective = objective(context, (family, backbone), train, &data, &tokenizer)?;
    if objective.only_the_head_learns() {
        objective.keep_training_features(EVALUATION_TOKENS, context.control.stop)?;
        objective.keep_features(&mut validation, EVALUATION_TOKENS, context.control.stop)?;
    }
    let outcome = train_with_validation(context, &mut objective, &validation, &data)?;
    let mut result = RunResult::new(&context.spec, &outcome);
    result.trainable_parameters = objective.parameters().iter().map(|(_, p)| p.value().count()).sum();
    let head = objective.head.classifier.parameters().map(|p| p.value().count()).sum();
    result.total_parameters = loading::total_parameters(&*objective.backbone, &objective.stack, head);
    let Some(test) = test else {
        (result.split, result.n) = ("validation", data.validation.len());
        return Ok(Report { result, base: Some(used), id_key: None, kept: kept.kept, dropped: kept.dropped });
    };
    let scored = |examples: &Examples| objective.evaluate(examples, EVALUATION_TOKENS, context.control.stop);
    let id_key = Some(report_scores(context, &data, (&scored(&validation)?, &scored(&test)?), &mut result)?);
    if context.spec.full {
        save_model(context, family, &objective, &tokenizer)?;
    }
    let bundle = AdapterBundle {
        stack: objective.stack,
        head: Some(objective.head),
        provenance: context.provenance(&used.hash)?,
    };
    bundle.save(&context.folder.file("adapter"))?;
    Ok(Report { result, base: Some(used), id_key, kept: kept.kept, dropped: kept.dropped })
}

/// Writes the predictions of both splits and puts the metrics of the test split into `result`. Returns the fingerprint of the key
/// of the ids.
pub(super) fn report_scores(
    context: &Context<'_>,
    data: &Dataset,
    (validation, test): (&Scores, &Scores),
    result: &mut RunResult,
) -> Result<String> {
    let folder = context.data()?;
    let (key, rule) = (IdKey::read(&folder)?, context.spec.switches.multilabel_score);
    let chosen_by = predictions(rule, data, &data.validation, validation, Some(&key));
    evaluation::write(&context.folder.file("validation.safetensors"), &context.spec, "validation", &chosen_by)?;
    // Resamples number patients by their ids; without the key they are the same wherever the data were prepared.
    let evaluation = measure(&predictions(rule, data, &data.test, test, None), &context.bootstrap(), &context.watch())?;
    let found = predictions(rule, data, &data.test, test, Some(&key));
    evaluation::write(&context.folder.file("predictions.safetensors"), &context.spec, "test", &found)?;
    result.n = data.test.len();
    result.metrics = evaluation.metrics.iter().map(|(name, e)| (name.to_string(), Number::from(e))).collect();
    result.undefined = evaluation.undefined.iter().map(|(name, why)| (name.to_string(), format!("{why:?}"))).collect();
    result.ceiling = dataset::ceiling(&folder, data.task)?;
    Ok(key.fingerprint())
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
    o.backbone.save_with(pending.path(), ExtraTensors { tensors, config })?;
    tokenizer.save(&pending.path().join("tokenizer.json"))?;
    Ok(pending.commit()?)
}

fn examples(
    context: &mut Context<'_>,
    reader: NoteEncoder<'_>,
    (name, split): (&str, &[Example]),
    data: &Dataset,
    kept: &mut TokenCount,
) -> Result<Examples> {
    let notes = split.iter().map(|e| e.text.expose());
    let part = format!("{}/{name}", data.task);
    let place = TokenCacheKey { store: &context.store, part, warn: &mut *context.control.warn };
    let sequences = reader.notes(notes, &context.spec, place)?;
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

fn objective(
    context: &Context<'_>,
    (family, backbone): (Family, Box<dyn Backbone>),
    train: Examples,
    data: &Dataset,
    tokenizer: &Tokenizer,
) -> Result<Classification> {
    let (spec, device, init) = (&context.spec, &context.control.device, Seed(context.spec.seed).part("init"));
    let stack = loading::stack(&context.store, &spec.stack, (&*backbone, tokenizer), init, device)?;
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
) -> Result<TrainReport> {
    let lengths = objective.data.sequences.lengths();
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
    context.fit(objective, lengths, Some(&mut validate))
}
