//! Settings and files that no method can have: each ends with an error that names what is wrong, before anything is made.
#![allow(clippy::unwrap_used, reason = "a test may end where it stands")]

use clinpeft_llama::{Config, Llama};
use clinpeft_nn::{Backbone, Trainability};
use clinpeft_peft::{AdapterConfig, Error, Lora, LoraConfig, ModelShape, Scaling, load_adapter, merge, save_adapter};
use clinpeft_rng::Seed;
use clinpeft_tensor::Tensor;
use clinpeft_weights::TensorMap;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::path::Path;

fn model() -> Llama {
    Llama::random(Config::tiny(32, 24, 2, 4, 64), Seed(3), Trainability::Frozen).unwrap()
}

/// Settings of every method that can be.
fn settings() -> Vec<Value> {
    let targets = json!(["q_proj", "v_proj"]);
    vec![
        json!({"method": "lora", "r": 2, "alpha": 4.0, "dropout": 0.0, "targets": targets, "scaling": "standard"}),
        json!({"method": "dora", "r": 2, "alpha": 4.0, "dropout": 0.0, "targets": targets, "scaling": "standard"}),
        json!({"method": "adalora", "initial_r": 3, "target_r": 2, "alpha": 4.0, "dropout": 0.0, "targets": targets,
            "first_steps": 1, "last_steps": 1, "every": 1, "beta1": 0.85, "beta2": 0.85, "orthogonality": 0.5}),
        json!({"method": "prefix", "virtual_tokens": 3, "source": {"projection": {"inner": 5}}}),
        json!({"method": "prompt", "virtual_tokens": 3, "start": "random"}),
        json!({"method": "p_tuning", "virtual_tokens": 3, "inner": 5, "encoder": {"lstm": {"layers": 2, "dropout": 0.1}}}),
        json!({"method": "adaptation_prompt", "length": 3, "layers": 1}),
    ]
}

/// Every place of a number in a JSON value.
fn numbers(value: &Value) -> Vec<String> {
    let inside = |items: Vec<(String, &Value)>| {
        items.into_iter().flat_map(|(key, v)| numbers(v).into_iter().map(move |p| format!("/{key}{p}"))).collect()
    };
    match value {
        Value::Number(_) => vec![String::new()],
        Value::Object(o) => inside(o.iter().map(|(k, v)| (k.clone(), v)).collect()),
        _ => Vec::new(),
    }
}

#[test]
fn a_setting_of_any_size_is_an_error_or_an_adapter_never_an_abort() {
    let model = model();
    let shape = ModelShape::of(&model);
    for good in settings() {
        let config: AdapterConfig = serde_json::from_value(good.clone()).unwrap();
        config.build(&model, Seed(1), Trainability::Trainable).unwrap();
        for place in numbers(&good) {
            for huge in [json!(1u64 << 62), json!(u64::MAX), json!(1e308), json!(-1.0)] {
                let mut bad = good.clone();
                *bad.pointer_mut(&place).unwrap() = huge.clone();
                let Ok(config) = serde_json::from_value::<AdapterConfig>(bad) else { continue };
                if place == "/orthogonality" && huge != json!(-1.0) {
                    continue;
                }
                let built = config.build(&model, Seed(1), Trainability::Trainable).unwrap_err();
                assert!(built.to_string().contains("\nhint: "), "{place} = {huge}: {built}");
                assert!(config.count(&shape).is_err(), "{place} = {huge}");
            }
        }
    }
}

/// The folder of an adapter with these settings, and its keys.
fn saved(settings: &Value, dir: &Path) -> Map<String, Value> {
    let config: AdapterConfig = serde_json::from_value(settings.clone()).unwrap();
    let adapter = config.build(&model(), Seed(1), Trainability::Frozen).unwrap();
    save_adapter(dir, &*adapter, None, &TensorMap::new()).unwrap();
    serde_json::from_str(&std::fs::read_to_string(dir.join("adapter_config.json")).unwrap()).unwrap()
}

fn load(dir: &Path, keys: &Map<String, Value>) -> Result<(), Error> {
    std::fs::write(dir.join("adapter_config.json"), serde_json::to_string(keys).unwrap()).unwrap();
    load_adapter(dir, &ModelShape::of(&model()), Trainability::Frozen).map(|_| ())
}

#[test]
fn a_file_of_any_numbers_is_an_error_or_an_adapter_never_an_abort() {
    for settings in settings() {
        let dir = tempfile::tempdir().unwrap();
        let keys = saved(&settings, dir.path());
        load(dir.path(), &keys).unwrap();
        for (key, value) in keys.iter().filter(|(_, v)| v.is_number()) {
            for other in [json!(0), json!(-1), json!(1u64 << 62), json!(u64::MAX), json!(1e308), json!(null)] {
                let mut keys = keys.clone();
                keys.insert(key.clone(), other.clone());
                // What only says how it was trained may be anything that is a number.
                if let Err(e) = load(dir.path(), &keys) {
                    assert!(!e.to_string().is_empty(), "{key} = {value} became {other}");
                }
            }
        }
        for key in ["r", "lora_alpha", "init_r", "num_virtual_tokens", "encoder_num_layers", "adapter_len"] {
            if key == "r" && settings["method"] == "adalora" {
                continue;
            }
            let mut keys = keys.clone();
            if keys.insert(key.into(), json!(1u64 << 62)).is_some() {
                assert!(load(dir.path(), &keys).is_err(), "{key}");
            }
        }
    }
}

#[test]
fn a_missing_key_has_a_hint_only_if_a_misspelt_one_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let keys = saved(&settings()[0], dir.path());
    let said = |change: &dyn Fn(&mut Map<String, Value>)| {
        let mut keys = keys.clone();
        change(&mut keys);
        load(dir.path(), &keys).unwrap_err().to_string()
    };
    let missing = said(&|k| drop(k.remove("lora_alpha")));
    assert!(missing.contains("`lora_alpha` is missing\nhint: ") && !missing.contains("nearest"), "{missing}");
    let null = said(&|k| drop(k.insert("lora_alpha".into(), Value::Null)));
    assert!(null.contains("`lora_alpha` is null") && !null.contains("nearest"), "{null}");
    let misspelt = said(&|k| {
        let alpha = k.remove("lora_alpha").unwrap();
        k.insert("lora_alfa".into(), alpha);
    });
    assert!(misspelt.contains("nearest key in the file is `lora_alfa`"), "{misspelt}");
    assert!(!said(&|k| drop(k.remove("r"))).contains("nearest"));
}

#[test]
fn a_pattern_of_another_number_of_ranks_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut keys = saved(&settings()[2], dir.path());
    keys.insert("rank_pattern".into(), json!({"model.layers.0.self_attn.q_proj.lora_E": [true, true, true, false]}));
    let said = load(dir.path(), &keys).unwrap_err().to_string();
    assert!(said.contains("`rank_pattern` has 4 ranks"), "{said}");
}

fn lora(model: &Llama, weight: f32) -> Lora {
    let targets = vec!["q_proj".into()];
    let config = LoraConfig { r: 2, alpha: 1e6, dropout: 0.0, targets, scaling: Scaling::Standard };
    let mut lora = Lora::new(config, &model.target_modules(), Seed(1), Trainability::Frozen).unwrap();
    let mut parameters = clinpeft_peft::Adapter::parameters_mut(&mut lora);
    let b = parameters.last_mut().unwrap();
    let dims = b.value().dims().to_vec();
    b.set_value(Tensor::from_vec(vec![weight; dims.iter().product()], &dims).unwrap());
    lora
}

#[test]
fn what_is_not_finite_is_not_merged_and_nothing_is_changed() {
    for weight in [f32::NAN, f32::INFINITY, f32::MAX] {
        let mut model = model();
        let weights =
            |m: &Llama| -> Vec<Vec<f64>> { m.parameters().iter().map(|p| p.value().to_f64_vec().unwrap()).collect() };
        let before = weights(&model);
        let bad = lora(&model, weight);
        let error = merge(&mut model, &bad).unwrap_err();
        let Error::NotFinite { name, .. } = &error else { panic!("{error}") };
        assert_eq!(name, "model.layers.1.self_attn.q_proj.weight");
        assert_eq!(weights(&model), before);
    }
}

#[test]
fn an_adapter_file_that_is_not_finite_names_the_tensor() {
    let dir = tempfile::tempdir().unwrap();
    let bad = lora(&model(), f32::NAN);
    save_adapter(dir.path(), &bad, None, &TensorMap::new()).unwrap();
    let error = load_adapter(dir.path(), &ModelShape::of(&model()), Trainability::Frozen).unwrap_err();
    assert!(error.to_string().contains("`base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight`"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn a_damaged_configuration_gives_an_error_or_an_adapter(
        method in 0usize..7, place in 0usize..2000, bytes in proptest::collection::vec(any::<u8>(), 0..4),
    ) {
        let dir = tempfile::tempdir().unwrap();
        saved(&settings()[method], dir.path());
        let path = dir.path().join("adapter_config.json");
        let mut text = std::fs::read(&path).unwrap();
        let place = place % text.len();
        let end = (place + bytes.len()).min(text.len());
        text.splice(place..end, bytes);
        std::fs::write(&path, text).unwrap();
        let _ = load_adapter(dir.path(), &ModelShape::of(&model()), Trainability::Frozen);
    }
}
