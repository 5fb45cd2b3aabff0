//! How often training waits for a device (Vulkan, or what `CLINPEFT_TEST_DEVICE` names). In a process of its own, since what is
//! counted is the whole device.
#![cfg(any(feature = "vulkan", feature = "cuda"))]
#![allow(clippy::unwrap_used, reason = "tests")]

use clinpeft_llama::{Config, Llama};
use clinpeft_nn::{Backbone, Checkpointing, Trainability};
use clinpeft_peft::*;
use clinpeft_rng::Seed;
use clinpeft_tensor::Device;
use clinpeft_text::{Order, Sequences};
use clinpeft_train::{
    BatchSchedule, Event, LanguageModelling, LossReduction, MicroBatchSize, OptimizerSettings, Rate, Selection,
    Settings, Trainer, Warmup,
};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// One of each method on this model, by its name.
fn methods(base: &dyn Backbone) -> Vec<(&'static str, Box<dyn Adapter>)> {
    let (shape, modules) = (ModelShape::of(base), base.target_modules());
    let (seed, learning) = (Seed(5), Trainability::Trainable);
    let targets = vec!["q_proj".to_string(), "v_proj".to_string()];
    let lora = LoraConfig { r: 2, alpha: 4.0, dropout: 0.1, targets: targets.clone(), scaling: Scaling::Standard };
    let adalora = AdaLoraConfig {
        initial_r: 3,
        target_r: 2,
        alpha: 4.0,
        dropout: 0.1,
        targets,
        first_steps: 1,
        last_steps: 2,
        every: 1,
        beta1: 0.85,
        beta2: 0.85,
        orthogonality: 0.5,
    };
    let prefix = PrefixConfig { virtual_tokens: 3, source: PrefixSource::Projection { inner: 8 } };
    let prompt = PromptTuningConfig { virtual_tokens: 3, start: PromptStart::Random };
    let p_tuning =
        PTuningConfig { virtual_tokens: 3, inner: 8, encoder: PromptEncoder::Lstm { layers: 2, dropout: 0.0 } };
    let gated = AdaptationPromptConfig { length: 3, layers: 2 };
    vec![
        ("lora", Box::new(Lora::new(lora.clone(), &modules, seed, learning).unwrap())),
        ("dora", Box::new(Dora::new(lora, base, seed, learning).unwrap())),
        ("adalora", Box::new(AdaLora::new(adalora, &modules, seed, learning).unwrap())),
        ("prefix", Box::new(Prefix::new(prefix, &shape, seed, learning).unwrap())),
        ("prompt", Box::new(PromptTuning::new(prompt, base, seed, learning).unwrap())),
        ("p-tuning", Box::new(PTuning::new(p_tuning, &shape, seed, learning).unwrap())),
        ("adaptation-prompt", Box::new(AdaptationPrompt::new(gated, &shape, seed, learning).unwrap())),
    ]
}

/// Each step has two micro-batches, is clipped and is logged with the norms of its gradient.
#[test]
fn a_step_is_read_once_whatever_learns() {
    let wanted = std::env::var("CLINPEFT_TEST_DEVICE").unwrap_or_else(|_| "vulkan".into());
    let device = clinpeft_kernels::open(&wanted).unwrap_or_else(|e| panic!("{e}"));
    let Device::Other(backend) = &device else { panic!("a device") };
    let (ids, offsets) = ((0..288).map(|i| i * 7 % 13).collect(), (0..=48).map(|i| i * 6).collect());
    let data = Sequences::new(ids, offsets, 0).unwrap();
    let base = || Llama::random(Config::tiny(16, 16, 2, 2, 32), Seed(4), Trainability::Frozen).unwrap();
    for (name, adapter) in methods(&base()) {
        let (mut backbone, mut stack) = (base(), Stack::new());
        stack.push(name, adapter, Activity::Active).unwrap();
        backbone.to_device(&device).unwrap();
        stack.to_device(&device).unwrap();
        let mut objective = LanguageModelling { backbone: Box::new(backbone), stack, data: data.clone() };
        let folder = tempfile::tempdir().unwrap();
        let mut read = Vec::new();
        let plan = BatchSchedule::new(data.lengths(), (Order::Sequential, Seed(1)), 1, 8, MicroBatchSize::Sequences(4))
            .unwrap();
        let run = Trainer {
            batches: &plan,
            settings: Settings {
                learning_rate: 0.01,
                rate: Rate::WarmupAndDecay(Warmup::Ratio(0.1)),
                reduction: LossReduction::WholeStep,
                optimizer: OptimizerSettings {
                    beta1: 0.9,
                    beta2: 0.999,
                    eps: 1e-8,
                    weight_decay: 0.01,
                    clip: Some(0.1),
                },
                selection: Selection::LastEpoch,
                patience: None,
                memory: Checkpointing::None,
                seed: Seed(6),
                log_every: 1,
                checkpoint_every: Duration::MAX,
            },
            checkpoint: &folder.path().join("state.safetensors"),
            events: &folder.path().join("events.jsonl"),
            validate: None,
            on_event: &mut |event, _| match event {
                Event::Step { gradient_norms, .. } => {
                    assert!(gradient_norms[name] > 0.0, "{name}");
                    read.push(backend.downloads());
                }
                Event::Status { step: 0, .. } => read.push(backend.downloads()),
                _ => {}
            },
            stop: &AtomicBool::new(false),
        };
        assert!(run.train(&mut objective).unwrap().finished);
        let of_steps: Vec<u64> = read.windows(2).map(|two| two[1] - two[0]).collect();
        assert_eq!(of_steps, [1; 6], "{name}");
    }
}
