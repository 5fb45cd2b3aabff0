//! A LoRA step of a small LLaMA on the CPU: `cargo bench -p clinpeft-benches --bench step`.

#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

use clinpeft_autodiff::{backward, ops};
use clinpeft_llama::{Config, Llama};
use clinpeft_nn::{AdapterHooks, Backbone, Checkpointing, ForwardCtx, HiddenRows, RaggedBatch, Trainability};
use clinpeft_peft::{Activity, Lora, LoraConfig, Scaling, Stack};
use clinpeft_rng::Seed;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::sync::Arc;

fn lora_step(c: &mut Criterion) {
    let mut group = c.benchmark_group("LoRA step");
    group.sample_size(10);
    for (name, width, layers, heads, vocabulary) in [("demo", 96, 3, 3, 2560), ("tiny", 256, 4, 4, 4096)] {
        let config = Config::tiny(vocabulary, width, layers, heads, 512);
        let model = Llama::random(config, Seed(1), Trainability::Frozen).unwrap();
        let lora = LoraConfig {
            r: 16,
            alpha: 32.0,
            dropout: 0.0,
            targets: vec!["q_proj".into(), "v_proj".into()],
            scaling: Scaling::Standard,
        };
        let lora = Lora::new(lora, &model.target_modules(), Seed(2), Trainability::Trainable).unwrap();
        let mut stack = Stack::new();
        stack.push("clinical", Box::new(lora), Activity::Active).unwrap();
        let sequence: Vec<u32> = (0..128).map(|i| i % vocabulary as u32).collect();
        let batch = RaggedBatch::from_sequences(&vec![sequence; 4]).unwrap();
        group.throughput(Throughput::Elements(512));
        group.bench_function(format!("{name}, 4x128"), |t| {
            t.iter(|| {
                let hooks: Arc<dyn AdapterHooks> = Arc::new(stack.clone());
                let hidden = model
                    .hidden(&batch, &hooks, &ForwardCtx::train(Seed(3), Checkpointing::None), HiddenRows::All)
                    .unwrap();
                let (loss, n) = model.language_loss(&hidden, &batch).unwrap();
                backward(&ops::scale(&loss, 1.0 / n as f64).unwrap()).unwrap()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, lora_step);
criterion_main!(benches);
