//! Recomputation saves memory and changes no bit. One test in a binary of its own, because the allocator counts for all.

#![allow(clippy::unwrap_used, reason = "tests")]

use clinpeft_autodiff::{backward, ops};
use clinpeft_llama::{Config, Llama};
use clinpeft_nn::{Backbone, Learning, Memory, Pass, Ragged, Rows, Sites};
use clinpeft_peft::{Activity, Lora, LoraConfig, Scaling, Stack};
use clinpeft_rng::Seed;
use peak_alloc::PeakAlloc;
use std::sync::Arc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Gradients of a LoRA step, and the highest memory above what was there before it.
fn step(model: &Llama, stack: &Stack, batch: &Ragged, memory: Memory) -> (Vec<Vec<f64>>, usize) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let sites: Arc<dyn Sites> = Arc::new(stack.clone());
    let pass = Pass::train(Seed(9), memory);
    let hidden = model.hidden(batch, &sites, &pass, Rows::All).unwrap();
    let (loss, count) = model.language_loss(&hidden, batch).unwrap();
    drop(hidden);
    let gradients = backward(&ops::scale(&loss, 1.0 / count as f64).unwrap()).unwrap();
    let peak = MEMORY.peak_usage() - before;
    let all = stack.trainable().iter().map(|(_, p)| gradients.of(p.var()).unwrap().to_f64_vec().unwrap()).collect();
    (all, peak)
}

#[test]
fn recomputation_gives_the_same_gradients_with_much_less_memory() {
    let model = Llama::random(Config::tiny(64, 64, 8, 4, 256), Seed(1), Learning::Frozen).unwrap();
    let config = LoraConfig {
        r: 4,
        alpha: 8.0,
        dropout: 0.1,
        targets: vec!["q_proj".into(), "v_proj".into()],
        scaling: Scaling::Standard,
    };
    let lora = Lora::new(config, &model.linear_sites(), Seed(2), Learning::Trainable).unwrap();
    let mut stack = Stack::new();
    stack.push("clinical", Box::new(lora), Activity::Active).unwrap();
    let batch = Ragged::from_sequences(&vec![(0..200).map(|i| i % 64).collect::<Vec<u32>>(); 4]).unwrap();
    step(&model, &stack, &batch, Memory::Keep);
    let (kept, much) = step(&model, &stack, &batch, Memory::Keep);
    let (again, little) = step(&model, &stack, &batch, Memory::Recompute);
    assert_eq!(kept, again);
    assert!((little as f64) < 0.5 * much as f64, "{little} bytes with recomputation, {much} without");
}
