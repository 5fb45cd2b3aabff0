//! Writes a model, an adapter of every method and two stacks with their logits, for `tests/python/peft_round_trip.py`, which
//! loads them with the reference and prints the largest difference.

#![allow(clippy::unwrap_used, reason = "tests")]

use clinpeft_llama::{Config, Llama};
use clinpeft_nn::{AdapterHooks, Backbone, Classifier, ForwardCtx, HiddenRows, Pooling, RaggedBatch, Trainability};
use clinpeft_peft::{
    Activity, Adapter, AdapterBundle, AdapterConfig, Head, ModelShape, Stack, TaskType, load_adapter, save_adapter,
};
use clinpeft_rng::{Seed, normal};
use clinpeft_tensor::Tensor;
use clinpeft_weights::{TensorMap, save};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

const METHODS: &[(&str, &str)] = &[
    (
        "lora",
        r#"{"method": "lora", "r": 2, "alpha": 6, "dropout": 0, "targets": ["q_proj", "v_proj"], "scaling": "rank-stabilised"}"#,
    ),
    (
        "dora",
        r#"{"method": "dora", "r": 2, "alpha": 6, "dropout": 0, "targets": ["q_proj", "up_proj"], "scaling": "standard"}"#,
    ),
    (
        "adalora",
        r#"{"method": "adalora", "initial_r": 3, "target_r": 2, "alpha": 6, "dropout": 0, "targets": ["v_proj"],
        "first_steps": 0, "last_steps": 0, "every": 1, "beta1": 0.85, "beta2": 0.85, "orthogonality": 0.5}"#,
    ),
    ("prefix", r#"{"method": "prefix", "virtual_tokens": 3, "source": "table"}"#),
    ("prefix_projection", r#"{"method": "prefix", "virtual_tokens": 3, "source": {"projection": {"inner": 7}}}"#),
    ("prompt", r#"{"method": "prompt", "virtual_tokens": 3, "start": {"tokens": [1, 4]}}"#),
    ("p_tuning_mlp", r#"{"method": "p_tuning", "virtual_tokens": 3, "inner": 5, "encoder": "mlp"}"#),
    (
        "p_tuning_lstm",
        r#"{"method": "p_tuning", "virtual_tokens": 3, "inner": 5, "encoder": {"lstm": {"layers": 2, "dropout": 0}}}"#,
    ),
    ("adaptation_prompt", r#"{"method": "adaptation_prompt", "length": 4, "layers": 2}"#),
];

const SEQUENCE: [u32; 6] = [1, 5, 9, 20, 31, 2];

fn model() -> Llama {
    let mut config = Config::tiny(32, 24, 3, 4, 64);
    config.num_key_value_heads = Some(2);
    Llama::random(config, Seed(5), Trainability::Frozen).unwrap()
}

/// An adapter away from its start.
fn shaken(model: &Llama, settings: &str, name: &str, learning: Trainability) -> Box<dyn Adapter> {
    let settings: AdapterConfig = serde_json::from_str(settings).unwrap();
    let mut adapter = settings.build(model, Seed(6), learning).unwrap();
    let mut rng = Seed(7).stream(name);
    for p in adapter.parameters_mut() {
        let moved = p.value().to_f64_vec().unwrap().iter().map(|x| (x + 0.5 * normal(&mut rng)) as f32).collect();
        let moved = Tensor::from_vec(moved, p.value().dims()).unwrap();
        p.set_value(moved);
    }
    adapter
}

fn write(dir: &Path, logits: Tensor) {
    let ids = Tensor::from_vec(SEQUENCE.to_vec(), &[1, SEQUENCE.len()]).unwrap();
    let written = TensorMap::from([("logits".into(), logits), ("input_ids".into(), ids)]);
    save(&dir.join("logits.safetensors"), &written, &BTreeMap::new()).unwrap();
}

#[test]
fn saved_adapters_compute_the_same_when_they_come_back() {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peft_round_trip");
    let model = model();
    model.save(&root.join("model")).unwrap();
    let batch = RaggedBatch::from_sequences(&[SEQUENCE.to_vec()]).unwrap();
    for (name, settings) in METHODS {
        let adapter = shaken(&model, settings, name, Trainability::Frozen);
        let dir = root.join(name);
        save_adapter(&dir, &*adapter, Some(TaskType::CausalLm), &TensorMap::new()).unwrap();
        let again = load_adapter(&dir, &ModelShape::of(&model), Trainability::Frozen).unwrap().adapter;
        let logits = |adapter| {
            let mut stack = Stack::new();
            stack.push("default", adapter, Activity::Active).unwrap();
            let hooks: Arc<dyn AdapterHooks> = Arc::new(stack);
            let hidden = model.hidden(&batch, &hooks, &ForwardCtx::evaluate(), HiddenRows::All).unwrap();
            model.logits(&hidden).unwrap().value().clone()
        };
        let (before, after) = (logits(adapter), logits(again));
        assert_eq!(before.to_f64_vec().unwrap(), after.to_f64_vec().unwrap(), "{name}");
        write(&dir, before);
    }
}

#[test]
fn saved_stacks_compute_the_same_when_they_come_back() {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peft_round_trip_stacks");
    // An earlier run left its logits, which a bundle does not replace.
    let _ = std::fs::remove_dir_all(&root);
    let model = model();
    model.save(&root.join("model")).unwrap();
    let batch = RaggedBatch::from_sequences(&[SEQUENCE.to_vec()]).unwrap();
    for (name, clinical) in [("frozen", Trainability::Frozen), ("trainable", Trainability::Trainable)] {
        let mut bundle = AdapterBundle::default();
        for (adapter, learning) in [("clinical", clinical), ("downstream", Trainability::Trainable)] {
            let made = shaken(&model, METHODS[0].1, &format!("{name} {adapter}"), learning);
            bundle.stack.push(adapter, made, Activity::Active).unwrap();
        }
        let classifier = Classifier::new(3, model.width(), &mut Seed(8).stream("head")).unwrap();
        bundle.head = Some(Head { classifier, labels: ["a", "b", "c"].map(String::from).to_vec() });
        let dir = root.join(name);
        bundle.save(&dir).unwrap();
        let again = AdapterBundle::load(&dir, &ModelShape::of(&model)).unwrap();
        assert_eq!(again.stack.status(None), bundle.stack.status(None), "{name}");
        let logits = |bundle: AdapterBundle| {
            let hooks: Arc<dyn AdapterHooks> = Arc::new(bundle.stack);
            let rows = HiddenRows::Pooled(Pooling::LastToken);
            let hidden = model.hidden(&batch, &hooks, &ForwardCtx::evaluate(), rows).unwrap();
            bundle.head.unwrap().classifier.forward(&hidden.rows).unwrap().value().clone()
        };
        let (before, after) = (logits(bundle), logits(again));
        assert_eq!(before.to_f64_vec().unwrap(), after.to_f64_vec().unwrap(), "{name}");
        write(&dir, before);
    }
}
