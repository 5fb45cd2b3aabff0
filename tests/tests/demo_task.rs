//! Every method learns a task of the synthetic cohort: from raw tables to a falling loss.

#![allow(clippy::unwrap_used, reason = "tests")]

use clinpeft_clinical::prepare::{CorpusSource, Diff, Fidelity, IdSource, NearDuplicates, PrepareOptions, prepare};
use clinpeft_clinical::synth::{CohortSpec, synth};
use clinpeft_clinical::{Dataset, Label, Task};
use clinpeft_llama::{Config, Llama};
use clinpeft_metrics::{Difference, auroc_delong_difference};
use clinpeft_nn::{Backbone, Checkpointing, Classifier, Pooling, Trainability};
use clinpeft_peft::{Activity, AdapterConfig, Head, Stack};
use clinpeft_rng::Seed;
use clinpeft_tensor::Precision;
use clinpeft_tensor::ops::scale;
use clinpeft_text::{Encoder, Order, Sequences, Specials, Tokenizer, TokenizerKind, Truncation};
use clinpeft_train::{
    BatchSchedule, Classification, Event, Examples, LossReduction, MicroBatchSize, OptimizerSettings, Rate, Scores,
    Selection, Settings, Targets, Trainer, Warmup,
};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Tokens and classes of the training notes of "length of stay".
struct DemoTask {
    sequences: Sequences,
    labels: Vec<u32>,
    vocabulary: usize,
}

/// Made once for all tests.
fn demo_task() -> &'static DemoTask {
    static TASK: OnceLock<DemoTask> = OnceLock::new();
    TASK.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let spec: CohortSpec = toml::from_str(include_str!("../../datasets/cohorts/smoke.toml")).unwrap();
        synth(&spec, Seed(3), &dir.path().join("raw"), &|_| {}).unwrap();
        prepared(dir.path())
    })
}

fn prepared(dir: &Path) -> DemoTask {
    let options = PrepareOptions {
        mimic3: Some(dir.join("raw/mimic3")),
        mimic4_note: None,
        out: dir.join("data"),
        fidelity: Fidelity::Paper,
        splits: None,
        seed: Seed(3),
        tasks: vec![Task::LengthOfStay],
        corpus: CorpusSource::None,
        pmv_labels: None,
        near_duplicates: NearDuplicates::Keep,
        diff: Diff::None,
        ids: IdSource::Kept,
        threads: 2,
        stop: None,
    };
    prepare(&options, &|_| {}).unwrap();
    let data = Dataset::load(&dir.join("data"), Task::LengthOfStay).unwrap();
    let notes: Vec<&str> = data.train.iter().take(64).map(|e| e.text.expose()).collect();
    let tokenizer = Tokenizer::train(&notes, 400, TokenizerKind::ByteFallback).unwrap();
    let mut encoder = Encoder::new(&tokenizer, Specials::Bos, Truncation::First { length: 48 }).unwrap();
    encoder.push(&notes).unwrap();
    let class = |l: &Label| match l {
        Label::Class(c) => *c,
        Label::Set(_) => panic!("length of stay has classes"),
    };
    let labels = data.train.iter().take(64).map(|e| class(&e.label)).collect();
    DemoTask { sequences: encoder.finish(), labels, vocabulary: tokenizer.vocab_size() }
}

/// A trained adapter: mean training loss of the first and of the last epoch, and logits of every note.
struct Trained {
    first: f64,
    last: f64,
    scores: Scores,
}

/// Trains an adapter alone on a model whose frozen weights multiply with `precision`.
fn trained(settings: Value, precision: Precision) -> Trained {
    let task = demo_task();
    let mut model = Llama::random(Config::tiny(task.vocabulary, 32, 3, 2, 64), Seed(1), Trainability::Frozen).unwrap();
    // Fresh weights are so small that attention, through which most methods work, hardly counts.
    for p in model.parameters_mut() {
        if p.value().dims().len() == 2 {
            p.set_value(scale(p.value(), 6.0).unwrap());
        }
        let value = p.value().clone().with_precision(precision);
        p.set_value(value);
    }
    let config: AdapterConfig = serde_json::from_value(settings).unwrap();
    let mut stack = Stack::new();
    let adapter = config.build(&model, Seed(2), Trainability::Trainable).unwrap();
    stack.push("downstream", adapter, Activity::Active).unwrap();
    let mut classifier = Classifier::new(4, model.width(), &mut Seed(4).stream("head")).unwrap();
    // What falls is then the work of the adapter alone.
    classifier.parameters_mut().for_each(|p| p.set_trainability(Trainability::Frozen));
    let targets = Targets::Classes { labels: task.labels.clone(), count: 4 };
    let mut objective = Classification {
        backbone: Box::new(model),
        stack,
        head: Head { classifier, labels: (0..4).map(|c| c.to_string()).collect() },
        pooling: Pooling::LastToken,
        padding: None,
        class_weights: Classification::balanced_weights(&targets),
        data: Examples::new(task.sequences.clone(), targets).unwrap(),
    };
    let plan = BatchSchedule::new(
        task.sequences.lengths(),
        (Order::Sequential, Seed(0)),
        16,
        16,
        MicroBatchSize::Sequences(16),
    )
    .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    let mut observe = |e: &Event, _: u64| {
        if let Event::Epoch { loss, .. } = e {
            seen.push(*loss);
        }
    };
    let run = Trainer {
        batches: &plan,
        settings: training(),
        checkpoint: &dir.path().join("state.safetensors"),
        events: &dir.path().join("events.jsonl"),
        validate: None,
        on_event: &mut observe,
        stop: &AtomicBool::new(false),
    };
    assert!(run.train(&mut objective).unwrap().finished);
    let scores = objective.evaluate(&objective.data, 4096, &AtomicBool::new(false)).unwrap();
    Trained { first: seen[0], last: *seen.last().unwrap(), scores }
}

fn training() -> Settings {
    Settings {
        learning_rate: 5e-2,
        rate: Rate::WarmupAndDecay(Warmup::Ratio(0.06)),
        reduction: LossReduction::WholeStep,
        optimizer: OptimizerSettings { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, clip: Some(1.0) },
        selection: Selection::LastEpoch,
        patience: None,
        memory: Checkpointing::None,
        seed: Seed(5),
        log_every: 100,
        checkpoint_every: Duration::from_secs(600),
    }
}

macro_rules! loss_falls {
    ($($name:ident: $settings:expr;)*) => {$(
        #[test]
        fn $name() {
            let Trained { first, last, .. } = trained($settings, Precision::F32);
            assert!(last < 0.985 * first, "{first} -> {last}");
        }
    )*};
}

fn low_rank(method: &str) -> Value {
    json!({"method": method, "r": 4, "alpha": 8.0, "dropout": 0.0, "targets": ["q_proj", "v_proj"],
        "scaling": "standard"})
}

loss_falls! {
    loss_falls_with_lora: low_rank("lora");
    loss_falls_with_dora: low_rank("dora");
    loss_falls_with_adalora: json!({"method": "adalora", "initial_r": 6, "target_r": 4, "alpha": 8.0, "dropout": 0.0,
        "targets": ["q_proj", "v_proj"], "first_steps": 4, "last_steps": 4, "every": 2, "beta1": 0.85, "beta2": 0.85,
        "orthogonality": 0.1});
    loss_falls_with_prefix: json!({"method": "prefix", "virtual_tokens": 8, "source": "table"});
    loss_falls_with_projected_prefix: json!({"method": "prefix", "virtual_tokens": 8,
        "source": {"projection": {"inner": 32}}});
    loss_falls_with_prompt: json!({"method": "prompt", "virtual_tokens": 8, "start": "random"});
    loss_falls_with_p_tuning_by_mlp: json!({"method": "p_tuning", "virtual_tokens": 8, "inner": 32, "encoder": "mlp"});
    loss_falls_with_p_tuning_by_lstm: json!({"method": "p_tuning", "virtual_tokens": 8, "inner": 32,
        "encoder": {"lstm": {"layers": 2, "dropout": 0.0}}});
    loss_falls_with_ia3: json!({"method": "ia3", "targets": ["k_proj", "v_proj", "down_proj"],
                               "feedforward": ["down_proj"]});
    loss_falls_with_adaptation_prompt: json!({"method": "adaptation_prompt", "length": 8, "layers": 3});
}

/// Difference of the AUROCs of two models, paired by note, for every class that occurs against the others.
fn differences(a: &Scores, b: &Scores) -> Vec<Difference> {
    let labels = &demo_task().labels;
    let subjects: Vec<u64> = (0..labels.len() as u64).collect();
    let one = |class: usize| {
        let truth: Vec<u8> = labels.iter().map(|l| u8::from(*l as usize == class)).collect();
        let [a, b] = [a, b].map(|s| s.logits.chunks(s.columns).map(|row| row[class] as f32).collect::<Vec<f32>>());
        auroc_delong_difference(&truth, &[&a], &[&b], &subjects).ok()
    };
    (0..a.columns).filter_map(one).collect()
}

#[test]
fn aurocs_in_bf16_and_in_f32_do_not_differ_by_a_paired_test() {
    let [wide, narrow] = [Precision::F32, Precision::Bf16].map(|p| trained(low_rank("lora"), p).scores);
    let differences = differences(&wide, &narrow);
    assert!(differences.len() > 1);
    for d in differences {
        assert!(d.value.abs() <= 1.96 * d.standard_error, "{d:?}");
    }
}
