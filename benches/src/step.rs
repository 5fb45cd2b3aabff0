//! Whole LoRA steps: forward, backward, AdamW; r 16 on `q_proj` and `v_proj`.

use crate::measure::{Exactness, timed, use_isa};
use clinpeft_autodiff::{Var, backward, ops};
use clinpeft_llama::Llama;
use clinpeft_nn::{
    AdapterHooks, Backbone, Checkpointing, Classifier, ForwardCtx, HiddenRows, Parameter, Pooling, PrepackChoice,
    PrepackMode, RaggedBatch, Trainability, class_loss, prepack_weights,
};
use clinpeft_peft::{Activity, Lora, LoraConfig, Scaling, Stack};
use clinpeft_rng::{RngExt, Seed};
use clinpeft_tensor::gemm::{self, PrepackPolicy};
use clinpeft_tensor::{Device, Precision};
use clinpeft_train::{Optimizer, OptimizerSettings};
use clinpeft_weights::Keep;
use serde_json::{Value, json};
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

#[derive(clap::Args)]
pub struct Options {
    /// The model folder.
    #[arg(long)]
    model: PathBuf,
    /// What is learnt.
    #[arg(long, default_value = "causal")]
    task: Task,
    /// Tokens of each sequence.
    #[arg(long, value_delimiter = ',', default_value = "128,128,128,128")]
    lengths: Vec<usize>,
    /// How exact products with frozen weights are.
    #[arg(long, default_value = "f32")]
    precision: Exactness,
    /// Whether packs of frozen weights are cached.
    #[arg(long, default_value = "measured")]
    prepack: Prepack,
    /// Instruction set of the GEMM kernels, in place of the best; `gemm` is the `gemm` crate.
    #[arg(long)]
    isa: Option<String>,
    /// Activation checkpointing: layers are computed again in the backward pass.
    #[arg(long)]
    checkpointing: bool,
    /// Steps that are timed, at most.
    #[arg(long, default_value_t = 7)]
    steps: usize,
    /// Seconds after which no more steps begin.
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// When the process was started, in seconds since 1970.
    #[arg(long)]
    started: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, clap::ValueEnum)]
enum Task {
    Causal,
    Classification,
}

#[derive(Debug, Clone, Copy, PartialEq, clap::ValueEnum)]
enum Prepack {
    /// Where a measurement finds it worth its memory.
    Measured,
    None,
    Cached,
}

impl Prepack {
    fn policy(self, rows: usize) -> PrepackMode {
        match self {
            Prepack::Measured => {
                PrepackMode::Measured { rows, free: kib_of("/proc/meminfo", "MemAvailable:").unwrap_or(0) << 10 }
            }
            Prepack::None => PrepackMode::Fixed(PrepackPolicy::PerCall),
            Prepack::Cached => PrepackMode::Fixed(PrepackPolicy::Cached),
        }
    }
}

struct Bench {
    model: Llama,
    prepack: PrepackChoice,
    stack: Stack,
    head: Option<Classifier>,
    batch: RaggedBatch,
    memory: Checkpointing,
    optimizer: Optimizer,
}

/// Seconds of steps and evaluations, peak memory, time to the first step.
pub fn time(options: &Options) -> Result<Value, Box<dyn Error>> {
    let begin = Instant::now();
    let before = options.started.map_or(0.0, |start| now() - start);
    use_isa(options.isa.as_ref())?;
    let precision = Precision::from(options.precision);
    let mut bench = Bench::new(options, precision)?;
    let loss = bench.step()?;
    let first = before + begin.elapsed().as_secs_f64();
    let steps = timed(options.steps, options.seconds, || bench.step().map(drop))?;
    let peak = kib_of("/proc/self/status", "VmHWM:").map(|kib| kib << 10);
    let evaluations = timed(options.steps, options.seconds / 2.0, || bench.evaluate())?;
    Ok(json!({
        "loss": loss,
        "tokens": bench.batch.tokens(),
        "step_seconds": steps,
        "evaluation_seconds": evaluations,
        "first_step_after_seconds": first,
        "peak_bytes": peak,
        "isa": gemm::isa(precision),
        "prepack": bench.prepack.to_json(),
    }))
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |t| t.as_secs_f64())
}

/// A line of a file of the system.
fn kib_of(path: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|l| l.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

impl Bench {
    fn new(options: &Options, precision: Precision) -> Result<Bench, Box<dyn Error>> {
        let mut model = Llama::load(&options.model, Keep::Stored, &Device::Cpu)?;
        for p in model.parameters_mut() {
            let value = p.value().clone().with_precision(precision);
            p.set_value(value);
        }
        let prepack = prepack_weights(&mut model, options.prepack.policy(options.lengths.iter().sum()))?;
        let config = LoraConfig {
            r: 16,
            alpha: 32.0,
            dropout: 0.0,
            targets: vec!["q_proj".into(), "v_proj".into()],
            scaling: Scaling::Standard,
        };
        let lora = Lora::new(config, &model.target_modules(), Seed(2), Trainability::Trainable)?;
        let mut stack = Stack::new();
        stack.push("downstream", Box::new(lora), Activity::Active)?;
        let mut rng = Seed(3).stream("tokens");
        let vocabulary = model.vocabulary() as u32;
        let sequence = |n: &usize| (0..*n).map(|_| rng.random_range(1..vocabulary)).collect();
        let batch = RaggedBatch::from_sequences(&options.lengths.iter().map(sequence).collect::<Vec<Vec<u32>>>())?;
        let head = match options.task {
            Task::Causal => None,
            Task::Classification => Some(Classifier::new(4, model.width(), &mut Seed(4).stream("init"))?),
        };
        let memory = if options.checkpointing { Checkpointing::Full } else { Checkpointing::None };
        let settings = OptimizerSettings { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01, clip: None };
        Ok(Bench { model, prepack, stack, head, batch, memory, optimizer: Optimizer::new(settings) })
    }

    /// The mean loss.
    fn loss(&self, ctx: &ForwardCtx) -> Result<Var, Box<dyn Error>> {
        let hooks: Arc<dyn AdapterHooks> = Arc::new(self.stack.clone());
        let (loss, count) = match &self.head {
            None => {
                let hidden = self.model.hidden(&self.batch, &hooks, ctx, HiddenRows::All)?;
                self.model.language_loss(&hidden, &self.batch)?
            }
            Some(head) => {
                let hidden = self.model.hidden(&self.batch, &hooks, ctx, HiddenRows::Pooled(Pooling::LastToken))?;
                let n = self.batch.sequences();
                let classes: Vec<u32> = (0..n as u32).map(|i| i % 4).collect();
                (class_loss(&head.forward(&hidden.rows)?, &classes, &[1.0; 4])?, n)
            }
        };
        Ok(ops::scale(&loss, 1.0 / count as f64)?)
    }

    fn step(&mut self) -> Result<f64, Box<dyn Error>> {
        let loss = self.loss(&ForwardCtx::train(Seed(5), self.memory))?;
        let value = loss.value().item()?;
        let gradients = backward(&loss)?;
        drop(loss);
        let mut learning: Vec<(String, &mut Parameter)> = self.stack.trainable_mut();
        if let Some(head) = &mut self.head {
            learning.extend(head.parameters_mut().map(|p| (p.name().to_string(), p)));
        }
        self.optimizer.step(learning, &gradients, 1e-4)?;
        Ok(value)
    }

    /// Every score of the batch: logits of all tokens, or of all sequences.
    fn evaluate(&self) -> Result<(), Box<dyn Error>> {
        let hooks: Arc<dyn AdapterHooks> = Arc::new(self.stack.clone());
        let ctx = ForwardCtx::evaluate();
        let scores = clinpeft_autodiff::no_grad(|| -> Result<Var, Box<dyn Error>> {
            match &self.head {
                None => {
                    let hidden = self.model.hidden(&self.batch, &hooks, &ctx, HiddenRows::All)?;
                    Ok(self.model.logits(&hidden)?)
                }
                Some(head) => {
                    let pooled = HiddenRows::Pooled(Pooling::LastToken);
                    Ok(head.forward(&self.model.hidden(&self.batch, &hooks, &ctx, pooled)?.rows)?)
                }
            }
        });
        scores.map(drop)
    }
}
