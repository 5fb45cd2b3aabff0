//! What holds for every method on a small model with grouped heads: it starts as promised, learns, is the same with
//! recomputation, and comes back from its files.
#![allow(clippy::unwrap_used, reason = "a test may end where it stands")]

use clinpeft_autodiff::backward;
use clinpeft_llama::{Config, Llama};
use clinpeft_nn::{AdapterHooks, Backbone, Checkpointing, ForwardCtx, HiddenRows, RaggedBatch, Trainability};
use clinpeft_peft::{
    Activity, AdaLoraConfig, AdaptationPromptConfig, Adapter, AdapterConfig, Ia3Config, LoraConfig, ModelShape,
    PTuningConfig, PrefixConfig, PrefixSource, PromptEncoder, PromptStart, PromptTuningConfig, Scaling, Stack,
    load_adapter, merge, save_adapter,
};
use clinpeft_rng::{Seed, normal};
use clinpeft_tensor::Tensor;
use clinpeft_weights::TensorMap;
use std::sync::Arc;

fn model() -> Llama {
    let mut c = Config::tiny(32, 24, 3, 6, 64);
    c.num_key_value_heads = Some(2);
    c.head_dim = Some(6);
    Llama::random(c, Seed(3), Trainability::Frozen).unwrap()
}

fn lora(r: usize) -> LoraConfig {
    LoraConfig {
        r,
        alpha: 6.0,
        dropout: 0.0,
        targets: vec!["q_proj".into(), "v_proj".into(), "down_proj".into()],
        scaling: Scaling::Standard,
    }
}

fn ia3(feedforward: &[&str]) -> Ia3Config {
    let names = |names: &[&str]| names.iter().map(|n| n.to_string()).collect();
    Ia3Config { targets: names(&["k_proj", "v_proj", "down_proj"]), feedforward: names(feedforward) }
}

fn methods() -> Vec<AdapterConfig> {
    let p_tuning = |encoder| AdapterConfig::PTuning(PTuningConfig { virtual_tokens: 3, inner: 5, encoder });
    let prefix = |source| AdapterConfig::Prefix(PrefixConfig { virtual_tokens: 3, source });
    let prompt = |start| AdapterConfig::Prompt(PromptTuningConfig { virtual_tokens: 3, start });
    vec![
        AdapterConfig::Lora(lora(2)),
        AdapterConfig::Dora(lora(2)),
        AdapterConfig::Adalora(AdaLoraConfig {
            initial_r: 3,
            target_r: 1,
            alpha: 6.0,
            dropout: 0.0,
            targets: vec!["all-linear".into()],
            first_steps: 0,
            last_steps: 1,
            every: 1,
            beta1: 0.85,
            beta2: 0.85,
            orthogonality: 0.5,
        }),
        prefix(PrefixSource::Table),
        prefix(PrefixSource::Projection { inner: 7 }),
        prompt(PromptStart::Random),
        prompt(PromptStart::Tokens(vec![1, 9])),
        p_tuning(PromptEncoder::Mlp),
        p_tuning(PromptEncoder::Lstm { layers: 2, dropout: 0.0 }),
        AdapterConfig::AdaptationPrompt(AdaptationPromptConfig { length: 4, layers: 2 }),
        AdapterConfig::Ia3(ia3(&["down_proj"])),
    ]
}

/// Moves every parameter, so that none is at its start.
fn shake(adapter: &mut dyn Adapter) {
    let mut rng = Seed(8).stream("shake");
    for p in adapter.parameters_mut() {
        let moved = p.value().to_f64_vec().unwrap().iter().map(|x| (x + 0.2 * normal(&mut rng)) as f32).collect();
        let moved = Tensor::from_vec(moved, p.value().dims()).unwrap();
        p.set_value(moved);
    }
}

fn stack(adapter: Box<dyn Adapter>) -> Stack {
    let mut s = Stack::new();
    s.push("one", adapter, Activity::Active).unwrap();
    s
}

fn batch() -> RaggedBatch {
    RaggedBatch::from_sequences(&[vec![1, 5, 9, 2], vec![1, 30], vec![1, 3, 3]]).unwrap()
}

fn logits(m: &Llama, modules: Arc<dyn AdapterHooks>) -> Vec<f64> {
    let h = m.hidden(&batch(), &modules, &ForwardCtx::evaluate(), HiddenRows::All).unwrap();
    m.logits(&h).unwrap().value().to_f64_vec().unwrap()
}

fn difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0.0, |m, (x, y)| m.max((x - y).abs()))
}

#[test]
fn every_parameter_learns_and_recomputation_changes_nothing() {
    let m = model();
    for config in methods() {
        let mut adapter = config.build(&m, Seed(1), Trainability::Trainable).unwrap();
        assert_eq!(
            adapter.parameters().iter().map(|p| p.value().count()).sum::<usize>(),
            config.count(&ModelShape::of(&m)).unwrap(),
            "{config:?}"
        );
        shake(&mut *adapter);
        let stack = stack(adapter);
        let run = |memory| {
            let modules: Arc<dyn AdapterHooks> = Arc::new(stack.clone());
            let hidden = m.hidden(&batch(), &modules, &ForwardCtx::train(Seed(2), memory), HiddenRows::All).unwrap();
            let gradients = backward(&m.language_loss(&hidden, &batch()).unwrap().0).unwrap();
            let of = |p: &clinpeft_nn::Parameter| gradients.of(p.var()).unwrap().to_f64_vec().unwrap();
            stack.trainable().into_iter().map(|(name, p)| (name, of(p))).collect::<Vec<_>>()
        };
        let (kept, again) = (run(Checkpointing::None), run(Checkpointing::Full));
        for ((name, a), (_, b)) in kept.iter().zip(&again) {
            assert!(a.iter().any(|x| *x != 0.0), "{config:?}: `{name}` has a gradient of zero");
            assert!(difference(a, b) < 1e-6, "{config:?}: `{name}` is not the same with recomputation");
        }
    }
}

#[test]
fn files_come_back_for_every_method() {
    let m = model();
    let shape = ModelShape::of(&m);
    for config in methods() {
        let mut adapter = config.build(&m, Seed(1), Trainability::Trainable).unwrap();
        shake(&mut *adapter);
        let dir = tempfile::tempdir().unwrap();
        save_adapter(dir.path(), &*adapter, None, &TensorMap::new()).unwrap();
        let again = load_adapter(dir.path(), &shape, Trainability::Trainable).unwrap().adapter;
        assert_eq!(again.method(), adapter.method());
        for (a, b) in adapter.parameters().iter().zip(again.parameters()) {
            assert_eq!((a.name(), a.value().to_f64_vec().unwrap()), (b.name(), b.value().to_f64_vec().unwrap()));
        }
        let (before, after) = (logits(&m, Arc::new(stack(adapter))), logits(&m, Arc::new(stack(again))));
        assert_eq!(difference(&before, &after), 0.0, "{config:?}");
        // As PEFT writes it, without what made the prompt: the same logits.
        let _ = std::fs::remove_file(dir.path().join("prompt_encoder.safetensors"));
        let plain = load_adapter(dir.path(), &shape, Trainability::Frozen).unwrap().adapter;
        assert!(difference(&before, &logits(&m, Arc::new(stack(plain)))) < 1e-6, "{config:?}");
        let other = ModelShape { width: 25, layers: 1, kv_heads: 3, modules: Vec::new(), ..shape.clone() };
        assert!(load_adapter(dir.path(), &other, Trainability::Frozen).is_err(), "{config:?}");
    }
}

#[test]
fn closed_gates_and_zero_matrices_begin_as_no_change() {
    let m = model();
    let plain = logits(&m, Arc::new(Stack::new()));
    for config in methods() {
        let begins_as_nothing = matches!(
            config,
            AdapterConfig::Lora(_)
                | AdapterConfig::Dora(_)
                | AdapterConfig::Adalora(_)
                | AdapterConfig::AdaptationPrompt(_)
                | AdapterConfig::Ia3(_)
        );
        if begins_as_nothing {
            let adapter = config.build(&m, Seed(1), Trainability::Trainable).unwrap();
            assert!(difference(&plain, &logits(&m, Arc::new(stack(adapter)))) < 1e-6, "{config:?}");
        }
    }
}

#[test]
fn prompt_from_text_is_those_tokens_repeated() {
    let m = model();
    let config =
        AdapterConfig::Prompt(PromptTuningConfig { virtual_tokens: 3, start: PromptStart::Tokens(vec![7, 4]) });
    let adapter = config.build(&m, Seed(1), Trainability::Frozen).unwrap();
    let modules: Arc<dyn AdapterHooks> = Arc::new(stack(adapter));
    let with_prompt = m.hidden(&batch(), &modules, &ForwardCtx::evaluate(), HiddenRows::All).unwrap();
    let written =
        RaggedBatch::from_sequences(&[vec![7, 4, 7, 1, 5, 9, 2], vec![7, 4, 7, 1, 30], vec![7, 4, 7, 1, 3, 3]])
            .unwrap();
    let none: Arc<dyn AdapterHooks> = Arc::new(Stack::new());
    let written = m.hidden(&written, &none, &ForwardCtx::evaluate(), HiddenRows::All).unwrap();
    let values = |h: &clinpeft_nn::Hidden| h.rows.value().to_f64_vec().unwrap();
    assert!(difference(&values(&with_prompt), &values(&written)) < 1e-5);
}

#[test]
fn merged_model_equals_model_with_adapter() {
    let all = methods();
    for config in all[..3].iter().chain(all.last()) {
        let mut m = model();
        let plain = logits(&m, Arc::new(Stack::new()));
        let mut adapter = config.build(&m, Seed(1), Trainability::Frozen).unwrap();
        shake(&mut *adapter);
        let with_adapter = logits(&m, Arc::new(stack(adapter.clone_box())));
        assert!(difference(&plain, &with_adapter) > 1e-4);
        merge(&mut m, &*adapter).unwrap();
        assert!(difference(&with_adapter, &logits(&m, Arc::new(Stack::new()))) < 1e-5, "{config:?}");
    }
    let prompt = methods()[5].build(&model(), Seed(1), Trainability::Frozen).unwrap();
    let e = merge(&mut model(), &*prompt).unwrap_err().to_string();
    assert!(e.contains("prompt") && e.contains("hint"), "{e}");
}

#[test]
fn ia3_scales_the_input_of_feed_forward_layers_alone() {
    let m = model();
    let count = |feedforward: &[&str]| {
        let config = AdapterConfig::Ia3(ia3(feedforward));
        let shape = ModelShape::of(&m);
        let widths = config.build(&m, Seed(1), Trainability::Frozen).unwrap();
        let dims: Vec<Vec<usize>> = widths.parameters().iter().map(|p| p.value().dims().to_vec()).collect();
        (config.count(&shape).unwrap(), dims[0].clone())
    };
    let module = |part: &str| m.target_modules().into_iter().find(|s| s.name.ends_with(part)).unwrap();
    let (down, key) = (module("down_proj"), module("k_proj"));
    assert_eq!(count(&["down_proj"]), (3 * (2 * key.output + down.input), vec![1, down.input]));
    assert_eq!(count(&[]), (3 * (2 * key.output + down.output), vec![down.output, 1]));
    let outside = AdapterConfig::Ia3(ia3(&["up_proj"])).count(&ModelShape::of(&m)).unwrap_err().to_string();
    assert!(outside.contains("up_proj") && outside.contains("\nhint: "), "{outside}");
}
