//! Tiny models on sequences that continue by one.

#![allow(dead_code, reason = "each test file uses a part")]

use clinpeft_llama::{Config, Llama};
use clinpeft_nn::{Backbone, Checkpointing, Classifier, Pooling, Trainability};
use clinpeft_peft::{Activity, AdaLora, AdaLoraConfig, Head, Lora, LoraConfig, Scaling, Stack};
use clinpeft_rng::{RngExt, Seed};
use clinpeft_text::{Order, Sequences};
use clinpeft_train::*;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Nobody says stop.
pub static GO: AtomicBool = AtomicBool::new(false);

pub const SEED: Seed = Seed(42);

pub fn sequences(n: usize) -> Sequences {
    let mut rng = SEED.stream("data");
    let (mut ids, mut offsets) = (Vec::new(), vec![0u64]);
    for _ in 0..n {
        let start: u32 = rng.random_range(3..12);
        let length = rng.random_range(4..9);
        ids.extend((0..length).map(|i| (start + i) % 16));
        offsets.push(ids.len() as u64);
    }
    Sequences::new(ids, offsets, 0).unwrap()
}

pub fn model() -> (Box<dyn Backbone>, Stack) {
    let base = Llama::random(Config::tiny(16, 16, 2, 2, 32), SEED.part("base"), Trainability::Frozen).unwrap();
    let config = LoraConfig {
        r: 2,
        alpha: 4.0,
        dropout: 0.1,
        targets: vec!["q_proj".into(), "v_proj".into()],
        scaling: Scaling::Standard,
    };
    let lora = Lora::new(config, &base.target_modules(), SEED.part("lora"), Trainability::Trainable).unwrap();
    let mut stack = Stack::new();
    stack.push("clinical", Box::new(lora), Activity::Active).unwrap();
    (Box::new(base), stack)
}

pub fn language() -> LanguageModelling {
    let (backbone, stack) = model();
    LanguageModelling { backbone, stack, data: sequences(24) }
}

pub fn classification() -> Classification {
    let (backbone, stack) = model();
    let sequences = sequences(24);
    let labels: Vec<u32> = (0..24).map(|r| (sequences.lengths()[r] > 6) as u32).collect();
    let classifier = Classifier::new(2, 16, &mut SEED.stream("head")).unwrap();
    let head = Head { classifier, labels: vec!["short".into(), "long".into()] };
    let data = Examples::new(sequences, Targets::Classes { labels, count: 2 }).unwrap();
    let class_weights = Classification::balanced_weights(&data.targets);
    Classification { backbone, stack, head, pooling: Pooling::LastToken, padding: None, data, class_weights }
}

pub fn settings() -> Settings {
    Settings {
        learning_rate: 0.02,
        rate: Rate::WarmupAndDecay(Warmup::Ratio(0.1)),
        reduction: LossReduction::WholeStep,
        optimizer: OptimizerSettings { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01, clip: None },
        selection: Selection::LastEpoch,
        patience: None,
        memory: Checkpointing::None,
        seed: SEED,
        log_every: 1,
        checkpoint_every: Duration::ZERO,
    }
}

/// Three steps of eight rows, each in so many micro-batches.
pub fn plan(epochs: u64, micro: usize) -> BatchSchedule {
    BatchSchedule::new(
        sequences(24).lengths(),
        (Order::Sequential, SEED),
        epochs,
        8,
        MicroBatchSize::Sequences(8 / micro),
    )
    .unwrap()
}

/// Runs until the end, or until `stop_after` steps.
pub fn train<O: Objective>(
    o: &mut O,
    plan: &BatchSchedule,
    settings: Settings,
    dir: &Path,
    stop_after: Option<u64>,
) -> TrainReport {
    let stop = AtomicBool::new(false);
    let mut observe = |e: &Event, _: u64| {
        if let (Event::Step { step, .. }, Some(limit)) = (e, stop_after)
            && *step >= limit
        {
            stop.store(true, Ordering::Relaxed);
        }
    };
    let (checkpoint, events) = (dir.join("state.safetensors"), dir.join("events.jsonl"));
    let run = Trainer {
        batches: plan,
        settings,
        checkpoint: &checkpoint,
        events: &events,
        validate: None,
        on_event: &mut observe,
        stop: &stop,
    };
    run.train(o).unwrap()
}

pub fn values<O: Objective>(o: &O) -> Vec<(String, Vec<f64>)> {
    o.parameters().into_iter().map(|(n, p)| (n, p.value().to_f64_vec().unwrap())).collect()
}

/// Language modelling with one adapter whose ranks fall from 4 to 2 for each layer.
pub fn with_falling_ranks() -> LanguageModelling {
    let mut o = language();
    let config = AdaLoraConfig {
        initial_r: 4,
        target_r: 2,
        alpha: 4.0,
        dropout: 0.0,
        targets: vec!["q_proj".into(), "v_proj".into()],
        first_steps: 1,
        last_steps: 1,
        every: 1,
        beta1: 0.85,
        beta2: 0.85,
        orthogonality: 0.1,
    };
    let adapter = AdaLora::new(config, &o.backbone.target_modules(), SEED, Trainability::Trainable).unwrap();
    o.stack = Stack::new();
    o.stack.push("a", Box::new(adapter), Activity::Active).unwrap();
    o
}
