//! How far products in bf16, and f32 by the fastest unit, move the loss and the gradients of a LoRA step.

#![allow(clippy::unwrap_used, reason = "tests")]

use clinpeft_autodiff::{backward, ops};
use clinpeft_llama::{Config, Llama};
use clinpeft_nn::{AdapterHooks, Backbone, Checkpointing, ForwardCtx, HiddenRows, RaggedBatch, Trainability};
use clinpeft_peft::{Activity, Lora, LoraConfig, Scaling, Stack};
use clinpeft_rng::Seed;
use clinpeft_tensor::{DType, Precision};
use std::sync::Arc;

/// Loss and all gradients of one step, with base weights stored as `stored`.
fn step(precision: Precision, stored: DType) -> (f64, Vec<f64>) {
    let mut config = Config::tiny(160, 96, 3, 4, 64);
    config.num_key_value_heads = Some(2);
    let mut model = Llama::random(config, Seed(1), Trainability::Frozen).unwrap();
    for p in model.parameters_mut() {
        // Matrices in bf16 in every run, so that only products differ, and larger than fresh ones, so that they count.
        let matrix = p.value().dims().len() == 2;
        let value = if matrix { clinpeft_tensor::ops::scale(p.value(), 4.0).unwrap() } else { p.value().clone() };
        let value = if matrix { value.cast(DType::Bf16).unwrap().cast(stored).unwrap() } else { value };
        p.set_value(value.with_precision(precision));
    }
    let lora = LoraConfig {
        r: 4,
        alpha: 8.0,
        dropout: 0.0,
        targets: vec!["q_proj".into(), "v_proj".into()],
        scaling: Scaling::Standard,
    };
    let lora = Lora::new(lora, &model.target_modules(), Seed(2), Trainability::Trainable).unwrap();
    let mut stack = Stack::new();
    stack.push("downstream", Box::new(lora), Activity::Active).unwrap();
    for (_, p) in stack.trainable_mut() {
        // B begins at zero, where A would have no gradient.
        let (n, dims) = (p.value().count(), p.value().dims().to_vec());
        let values = (0..n).map(|i| ((i * 37 % 101) as f32 / 101.0 - 0.5) * 0.2).collect();
        p.set_value(clinpeft_tensor::Tensor::from_vec(values, &dims).unwrap());
    }
    let batch = RaggedBatch::from_sequences(&[(1..40).collect(), (20..30).collect(), (50..101).collect()]).unwrap();
    let hooks: Arc<dyn AdapterHooks> = Arc::new(stack.clone());
    let hidden =
        model.hidden(&batch, &hooks, &ForwardCtx::train(Seed(3), Checkpointing::None), HiddenRows::All).unwrap();
    let (loss, count) = model.language_loss(&hidden, &batch).unwrap();
    let loss = ops::scale(&loss, 1.0 / count as f64).unwrap();
    let gradients = backward(&loss).unwrap();
    let all = stack.trainable().into_iter().flat_map(|(_, p)| gradients.of(p.var()).unwrap().to_f64_vec().unwrap());
    (loss.value().item().unwrap(), all.collect())
}

/// Euclidean distance of two gradients relative to the first.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|v| v * v).sum::<f64>().sqrt();
    norm(&mut a.iter().zip(b).map(|(x, y)| x - y)) / norm(&mut a.iter().copied())
}

#[test]
fn f32_stays_within_its_tolerance_of_strict_f32() {
    let (loss, gradients) = step(Precision::StrictF32, DType::F32);
    let (fast_loss, fast) = step(Precision::F32, DType::F32);
    assert!((loss - fast_loss).abs() < 1e-5 * loss && distance(&gradients, &fast) < 1e-4);
}

#[test]
fn bf16_stays_within_its_tolerance_of_f32() {
    let (loss, gradients) = step(Precision::StrictF32, DType::F32);
    let (short_loss, short) = step(Precision::Bf16, DType::F32);
    let off = distance(&gradients, &short);
    assert!((loss - short_loss).abs() < 2e-3 * loss && off < 3e-2, "{loss} {short_loss} {off}");
}

#[test]
fn weights_stored_in_bf16_give_the_bits_of_the_same_weights_in_f32() {
    for precision in [Precision::StrictF32, Precision::F32, Precision::Bf16] {
        assert_eq!(step(precision, DType::F32), step(precision, DType::Bf16), "{precision:?}");
    }
}
