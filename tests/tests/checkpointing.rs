//! Recomputation saves memory and changes no bit. One test in a binary of its own, because the allocator counts for all.

#![allow(clippy::unwrap_used, reason = "tests")]

use clinpeft_autodiff::{backward, ops};
use clinpeft_llama::{Config, Llama};
use clinpeft_nn::{AdapterHooks, Backbone, Checkpointing, ForwardCtx, HiddenRows, RaggedBatch, Trainability};
use clinpeft_peft::{Activity, AdapterConfig, Stack};
use clinpeft_rng::Seed;
use clinpeft_tensor::memory;
use peak_alloc::PeakAlloc;
use serde_json::json;
use std::sync::Arc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Gradients of a LoRA step, and the highest memory above what was there before it.
fn step(model: &Llama, stack: &Stack, batch: &RaggedBatch, memory: Checkpointing) -> (Vec<Vec<f64>>, usize) {
    let before = MEMORY.current_usage() + memory::in_use();
    MEMORY.reset_peak_usage();
    memory::reset_peak();
    let hooks: Arc<dyn AdapterHooks> = Arc::new(stack.clone());
    let ctx = ForwardCtx::train(Seed(9), memory);
    let hidden = model.hidden(batch, &hooks, &ctx, HiddenRows::All).unwrap();
    let (loss, count) = model.language_loss(&hidden, batch).unwrap();
    drop(hidden);
    let gradients = backward(&ops::scale(&loss, 1.0 / count as f64).unwrap()).unwrap();
    // Large tensors are pages, which the allocator does not see.
    let peak = MEMORY.peak_usage() + memory::peak() - before;
    let all = stack.trainable().iter().map(|(_, p)| gradients.of(p.var()).unwrap().to_f64_vec().unwrap()).collect();
    (all, peak)
}

/// Every method with small settings.
fn methods() -> Vec<(&'static str, serde_json::Value)> {
    let low_rank =
        json!({"r": 4, "alpha": 8.0, "dropout": 0.1, "targets": ["q_proj", "v_proj"], "scaling": "standard"});
    let with = |method: &str| {
        let mut settings = low_rank.clone();
        settings["method"] = method.into();
        settings
    };
    let adalora = json!({"method": "adalora", "initial_r": 6, "target_r": 4, "alpha": 8.0, "dropout": 0.1,
        "targets": ["q_proj", "v_proj"], "first_steps": 1, "last_steps": 1, "every": 1, "beta1": 0.85, "beta2": 0.85,
        "orthogonality": 0.5});
    vec![
        ("LoRA", with("lora")),
        ("DoRA", with("dora")),
        ("AdaLoRA", adalora),
        ("prefix", json!({"method": "prefix", "virtual_tokens": 5, "source": "table"})),
        (
            "prefix, projected",
            json!({"method": "prefix", "virtual_tokens": 5, "source": {"projection": {"inner": 16}}}),
        ),
        ("prompt", json!({"method": "prompt", "virtual_tokens": 5, "start": "random"})),
        ("P-tuning, MLP", json!({"method": "p_tuning", "virtual_tokens": 5, "inner": 16, "encoder": "mlp"})),
        (
            "P-tuning, LSTM",
            json!({"method": "p_tuning", "virtual_tokens": 5, "inner": 16,
                "encoder": {"lstm": {"layers": 2, "dropout": 0.0}}}),
        ),
        ("adaptation prompt", json!({"method": "adaptation_prompt", "length": 5, "layers": 6})),
    ]
}

#[test]
fn recomputation_gives_the_same_gradients_with_much_less_memory_for_every_method() {
    let model = Llama::random(Config::tiny(64, 64, 8, 4, 256), Seed(1), Trainability::Frozen).unwrap();
    let batch = RaggedBatch::from_sequences(&vec![(0..200).map(|i| i % 64).collect::<Vec<u32>>(); 4]).unwrap();
    println!("{:<20} {:>12} {:>12}", "method", "kept", "recomputed");
    for (name, settings) in methods() {
        let config: AdapterConfig = serde_json::from_value(settings).unwrap();
        let adapter = config.build(&model, Seed(2), Trainability::Trainable).unwrap();
        let mut stack = Stack::new();
        stack.push("clinical", adapter, Activity::Active).unwrap();
        step(&model, &stack, &batch, Checkpointing::None);
        let (kept, much) = step(&model, &stack, &batch, Checkpointing::None);
        let (again, little) = step(&model, &stack, &batch, Checkpointing::Full);
        println!("{name:<20} {:>9} KiB {:>9} KiB", much / 1024, little / 1024);
        assert_eq!(kept, again, "{name}");
        assert!((little as f64) < 0.5 * much as f64, "{name}: {little} bytes with recomputation, {much} without");
    }
}
