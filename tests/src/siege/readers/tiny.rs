//! A model of a few hundred weights, for readers that need one.

use clinpeft_llama::{Config, Llama};
use clinpeft_nn::{Checkpointing, Trainability};
use clinpeft_peft::{Activity, Lora, LoraConfig, ModelShape, Scaling, Stack};
use clinpeft_rng::Seed;
use clinpeft_tensor::Tensor;
use clinpeft_text::{CacheKey, Order, Sequences, Specials, Tokenizer, Truncation};
use clinpeft_train::{
    BatchSchedule, LanguageModelling, LossReduction, MicroBatchSize, OptimizerSettings, Rate, Result, Selection,
    Settings, Trainer, Warmup,
};
use clinpeft_weights::TensorMap;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

const SEED: Seed = Seed(42);

/// Sizes of the model.
pub fn config() -> Config {
    Config::tiny(16, 8, 2, 2, 16)
}

/// The model, frozen.
///
/// # Errors
/// None that its sizes could cause.
pub fn model() -> clinpeft_nn::Result<Llama> {
    Llama::random(config(), SEED, Trainability::Frozen)
}

/// Its shape.
pub fn shape() -> ModelShape {
    let config = config();
    ModelShape {
        width: config.hidden_size,
        layers: config.num_hidden_layers,
        heads: config.num_attention_heads,
        kv_heads: config.kv_heads(),
        head_width: config.head_width(),
        modules: config.target_modules(),
    }
}

/// A low-rank adapter for it.
///
/// # Errors
/// None that its sizes could cause.
pub fn lora(name: &str) -> clinpeft_peft::Result<Lora> {
    let targets = vec!["q_proj".into(), "v_proj".into()];
    let config = LoraConfig { r: 2, alpha: 4.0, dropout: 0.0, targets, scaling: Scaling::Standard };
    Lora::new(config, &shape().modules, SEED.part(name), Trainability::Trainable)
}

/// Bits of all values by name; NaN is equal to itself here.
pub fn values(tensors: &TensorMap) -> BTreeMap<String, (Vec<usize>, Vec<u64>)> {
    let bits = |t: &Tensor| t.to_f64_vec().unwrap_or_default().into_iter().map(f64::to_bits).collect();
    tensors.iter().map(|(name, t)| (name.clone(), (t.dims().to_vec(), bits(t)))).collect()
}

/// The key of the corpus's token cache.
pub fn key(tokenizer: &Tokenizer) -> CacheKey {
    CacheKey::new(tokenizer, Specials::None, Truncation::First { length: 32 }, "corpus")
}

/// What training of the tiny model does in a folder with `state.safetensors` and `events.jsonl`: it goes on from there, by all of
/// its steps or by none.
///
/// # Errors
/// What the training loop says about the checkpoint.
pub fn go_on(dir: &Path, stopped: bool) -> Result<()> {
    let mut stack = Stack::new();
    stack.push("clinical", Box::new(lora("init")?), Activity::Active)?;
    let data = Sequences::new((0..24).map(|i| i % 16).collect(), vec![0, 6, 12, 18, 24], 0)?;
    let mut objective = LanguageModelling { backbone: Box::new(model()?), stack, data };
    let plan =
        BatchSchedule::new(objective.data.lengths(), (Order::Sequential, SEED), 1, 2, MicroBatchSize::Sequences(2))?;
    let optimizer = OptimizerSettings { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01, clip: None };
    let settings = Settings {
        learning_rate: 0.01,
        rate: Rate::WarmupAndDecay(Warmup::Ratio(0.1)),
        reduction: LossReduction::WholeStep,
        optimizer,
        selection: Selection::LastEpoch,
        patience: None,
        memory: Checkpointing::None,
        seed: SEED,
        log_every: 1,
        checkpoint_every: Duration::ZERO,
    };
    let (checkpoint, events, stop) =
        (dir.join("state.safetensors"), dir.join("events.jsonl"), AtomicBool::new(stopped));
    let run = Trainer {
        batches: &plan,
        settings,
        checkpoint: &checkpoint,
        events: &events,
        validate: None,
        on_event: &mut |_, _| {},
        stop: &stop,
    };
    run.train(&mut objective).map(|_| ())
}
