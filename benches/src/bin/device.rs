//! LoRA steps of LLaMA's shapes with random weights on a device, and its operations one by one.
//!
//! One JSON object a line: tokens per second, share of the device's matrix rate (MFU), memory, seconds to the first step; for an
//! operation seconds, bytes and operations per second. `benches/baseline/lora_step.py` does the same steps with torch and peft.
//!
//! `cargo build --release -p clinpeft-benches --features cuda --bin device-bench` makes a program that needs nothing beside
//! the driver, NVRTC and the CUDA headers.

#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use clap::{Parser, ValueEnum};
use clinpeft_autodiff::{backward, ops as learn};
use clinpeft_llama::{Config, Llama};
use clinpeft_nn::{
    AdapterHooks, Backbone, Checkpointing, ForwardCtx, HiddenRows, Parameter, RaggedBatch, Trainability,
};
use clinpeft_peft::{Activity, Lora, LoraConfig, Scaling, Stack};
use clinpeft_rng::{Rng, Seed};
use clinpeft_tensor::ops::{self, AttentionShape, CuSeqlens, Layout, Mask};
use clinpeft_tensor::{DType, Device, Precision, Tensor};
use clinpeft_train::{Optimizer, OptimizerSettings};
use half::bf16;
use serde_json::json;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// LoRA steps of LLaMA's shapes on a device
#[derive(Debug, Parser)]
struct Options {
    /// Device: cpu, vulkan or cuda
    #[arg(long)]
    device: String,
    /// Shape of the model
    #[arg(long, value_enum, default_value_t = Shape::Seven)]
    shape: Shape,
    /// Tokens of a sequence
    #[arg(long, default_value_t = 512)]
    length: usize,
    /// Sequences of a step
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// Steps that are timed, after one that is not
    #[arg(long, default_value_t = 5)]
    steps: usize,
    /// The device's rate of bf16 products, in TFLOP/s, for the MFU: 989 of an H100 or H200, 312 of an A100
    #[arg(long, default_value_t = 989.0)]
    peak: f64,
    /// Keep activations of whole layers in place of computing them again
    #[arg(long)]
    keep: bool,
    /// Time single operations of this shape in place of steps
    #[arg(long)]
    operations: bool,
    /// Folder that keeps compiled kernels and chosen ways of computing for the next start
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// Sizes of published models.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shape {
    /// Some layers of a few units, to try the program itself
    Tiny,
    /// LLaMA 3.2 1B
    #[value(name = "1b")]
    One,
    /// LLaMA 7B
    #[value(name = "7b")]
    Seven,
}

impl Shape {
    fn config(self, positions: usize) -> Config {
        let (vocabulary, width, layers, heads, narrow, inner) = match self {
            Shape::Tiny => (512, 64, 2, 4, 2, 176),
            Shape::One => (128_256, 2048, 16, 32, 8, 8192),
            Shape::Seven => (32_000, 4096, 32, 32, 32, 11_008),
        };
        let mut config = Config::tiny(vocabulary, width, layers, heads, positions);
        (config.num_key_value_heads, config.intermediate_size) = (Some(narrow), inner);
        config
    }
}

fn main() -> Result<()> {
    let o = Options::parse();
    let device = match &o.folder {
        Some(folder) => clinpeft_kernels::open_cached(&o.device, folder)?,
        None => clinpeft_kernels::open(&o.device)?,
    };
    if o.operations { operations(&o, &device) } else { steps(&o, &device) }
}

/// Numbers around zero, in bf16: a block of them over and over, which costs no time to draw.
fn weights(dims: &[usize], name: &str) -> Result<Tensor> {
    let mut rng = Seed(1).stream(name);
    let block: Vec<bf16> = (0..4099).map(|_| bf16::from_f32((rng.next_u32() as f32 / 4.3e9 - 0.5) * 0.07)).collect();
    let count = dims.iter().product();
    Ok(Tensor::from_vec(block.into_iter().cycle().take(count).collect(), dims)?.with_precision(Precision::Bf16))
}

fn steps(o: &Options, device: &Device) -> Result<()> {
    let begun = Instant::now();
    let config = o.shape.config(o.length);
    // Made once for each shape, uploaded for each weight.
    let mut made: BTreeMap<Vec<usize>, Tensor> = BTreeMap::new();
    let model = Llama::made_of(config.clone(), |name, dims| {
        let value = match made.entry(dims.to_vec()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) if dims.len() == 1 => new.insert(Tensor::from_vec(vec![1f32; dims[0]], dims)?),
            Entry::Vacant(new) => {
                new.insert(weights(dims, name).map_err(|e| clinpeft_nn::Error::Config(e.to_string()))?)
            }
        };
        Ok(Parameter::new(name, value.to_device(device)?, Trainability::Frozen))
    })?;
    drop(made);
    let loaded = begun.elapsed().as_secs_f64();
    let lora = LoraConfig {
        r: 16,
        alpha: 32.0,
        dropout: 0.0,
        targets: vec!["q_proj".into(), "v_proj".into()],
        scaling: Scaling::Standard,
    };
    let lora = Lora::new(lora, &model.target_modules(), Seed(2), Trainability::Trainable)?;
    let mut stack = Stack::new();
    stack.push("lora", Box::new(lora), Activity::Active)?;
    stack.to_device(device)?;
    let settings = OptimizerSettings { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, clip: None };
    let mut optimizer = Optimizer::new(settings);
    let sequence: Vec<u32> = (0..o.length).map(|i| (i * 7919 % config.vocab_size) as u32).collect();
    let batch = RaggedBatch::from_sequences(&vec![sequence; o.batch])?;
    let memory = if o.keep { Checkpointing::None } else { Checkpointing::Full };
    let mut step = |stack: &mut Stack| -> Result<f64> {
        let hooks: Arc<dyn AdapterHooks> = Arc::new(stack.clone());
        let hidden = model.hidden(&batch, &hooks, &ForwardCtx::train(Seed(3), memory), HiddenRows::All)?;
        let (loss, n) = model.language_loss(&hidden, &batch)?;
        let mean = learn::scale(&loss, 1.0 / n as f64)?;
        let gradients = backward(&mean)?;
        optimizer.step(stack.trainable_mut(), &gradients, 1e-4)?;
        Ok(mean.value().item()?)
    };
    step(&mut stack)?;
    let first = begun.elapsed().as_secs_f64();
    let (begun, mut loss) = (Instant::now(), 0.0);
    for _ in 0..o.steps {
        loss = step(&mut stack)?;
    }
    let seconds = begun.elapsed().as_secs_f64() / o.steps as f64;
    let tokens = o.length * o.batch;
    let line = json!({
        "what": "lora step",
        "device": device.name(),
        "shape": format!("{:?}", o.shape).to_lowercase(),
        "sequence": o.length,
        "batch": o.batch,
        "seconds": seconds,
        "tokens_per_second": tokens as f64 / seconds,
        "mfu": work(&config, o.length, o.batch) / seconds / (o.peak * 1e12),
        "memory_mib": memory_of(device)?.map(|b| b >> 20),
        "seconds_to_load": loaded,
        "seconds_to_first_step": first,
        "loss": loss,
    });
    println!("{line}");
    Ok(())
}

/// Operations of a LoRA step that cannot be left out: each frozen product forward and for the gradient of its input, causal
/// attention forward and twice that backward. What is computed again is not counted.
fn work(c: &Config, length: usize, batch: usize) -> f64 {
    let (d, inner, v) = (c.hidden_size as f64, c.intermediate_size as f64, c.vocab_size as f64);
    let narrow = (c.kv_heads() * c.head_width()) as f64;
    let layer = 2.0 * d * d + 2.0 * d * narrow + 3.0 * d * inner;
    let tokens = (length * batch) as f64;
    let products = 4.0 * tokens * (c.num_hidden_layers as f64 * layer + d * v);
    let attention = 3.0 * 2.0 * tokens * length as f64 * d * c.num_hidden_layers as f64;
    products + attention
}

fn memory_of(device: &Device) -> Result<Option<u64>> {
    match device {
        Device::Cpu => Ok(None),
        Device::Other(backend) => Ok(backend.memory()?),
    }
}

/// Seconds of the operations of one layer, each beside the bytes that it must move and the operations that it must do.
fn operations(o: &Options, device: &Device) -> Result<()> {
    let c = o.shape.config(o.length);
    let (t, d, inner) = (o.length * o.batch, c.hidden_size, c.intermediate_size);
    let narrow = c.kv_heads() * c.head_width();
    let on = |dims: &[usize]| -> Result<Tensor> { Ok(weights(dims, "x")?.cast(DType::F32)?.to_device(device)?) };
    let stored = |dims: &[usize]| -> Result<Tensor> { Ok(weights(dims, "w")?.to_device(device)?) };
    let (x, wide, row) = (on(&[t, d])?, on(&[t, inner])?, on(&[d])?);
    let (square, up) = (stored(&[d, d])?, stored(&[inner, d])?);
    let (a, b) = (on(&[16, d])?, on(&[d, 16])?);
    let (k, mask) = (on(&[t, narrow])?, Mask::Causal);
    let shape = AttentionShape {
        heads: c.num_attention_heads,
        kv_heads: c.kv_heads(),
        head_width: c.head_width(),
        scale: 0.1,
        mask,
        dropout: None,
    };
    let cu_seqlens = CuSeqlens::same(&(0..=o.batch).map(|i| (i * o.length) as u32).collect::<Vec<_>>());
    let (out, lse) = ops::attention(&x, &k, &k, &shape, &cu_seqlens)?;
    let product = |n: usize, w: usize| (4 * t * (d + n) + 2 * w, 2 * t * w);
    let attended = 2 * t * o.length * d;
    let report = |name: &str, (bytes, operations): (usize, usize), run: &dyn Fn() -> Result<Tensor>| -> Result<()> {
        // Compiles, and chooses a way where there are several.
        ops::norm(&run()?)?.to_cpu()?;
        let begun = Instant::now();
        let mut last = None;
        for _ in 0..o.steps {
            last = Some(run()?);
        }
        // Work is done in order: when the last result is there, all are.
        if let Some(last) = last {
            ops::norm(&last)?.to_cpu()?;
        }
        let seconds = begun.elapsed().as_secs_f64() / o.steps as f64;
        let (gigabytes, rate) = (bytes as f64 / seconds / 1e9, operations as f64 / seconds / 1e12);
        let line = json!({ "what": name, "device": device.name(), "seconds": seconds, "gb_per_second": gigabytes, "tflops": rate });
        println!("{line}");
        Ok(())
    };
    report("product d x d", product(d, d * d), &|| Ok(ops::matmul(&x, &square, Layout::RightTransposed)?))?;
    report("product d x inner", product(inner, d * inner), &|| Ok(ops::matmul(&x, &up, Layout::RightTransposed)?))?;
    report("low_rank", (12 * t * d, 4 * t * 16 * d), &|| Ok(ops::low_rank(&x, &x, &a, &b, 2.0)?.0))?;
    report("rms_norm", (8 * t * d, 4 * t * d), &|| Ok(ops::rms_norm(&x, &row, 1e-5)?.0))?;
    report("silu_mul", (12 * t * inner, 5 * t * inner), &|| Ok(ops::silu_mul(&wide, &wide)?))?;
    report("add", (12 * t * d, t * d), &|| Ok(ops::add(&x, &x)?))?;
    let moved = 4 * t * (2 * d + 2 * narrow);
    report("attention", (moved, attended), &|| Ok(ops::attention(&x, &k, &k, &shape, &cu_seqlens)?.0))?;
    report("attention backward", (2 * moved, 5 * attended / 2), &|| {
        Ok(ops::attention_backward(&x, [&x, &k, &k, &out, &lse], &shape, &cu_seqlens)?.0)
    })
}
