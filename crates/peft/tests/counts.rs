//! Trainable parameters of every method equal the published counts (Gema et al. 2023, table 2), without making any.

use clinpeft_nn::TargetModule;
use clinpeft_peft::{
    AdaptationPromptConfig, AdapterConfig, LoraConfig, ModelShape, PTuningConfig, PrefixConfig, PrefixSource,
    PromptEncoder, PromptStart, PromptTuningConfig, Scaling,
};

/// The shape of a LLaMA without grouped heads.
fn llama(width: usize, layers: usize, heads: usize, inner: usize) -> ModelShape {
    let mut modules = Vec::new();
    for layer in 0..layers {
        let mut module = |part: &str, output: usize, input: usize| {
            let name = format!("model.layers.{layer}.{part}");
            modules.push(TargetModule { name, input, output });
        };
        for part in ["q_proj", "k_proj", "v_proj", "o_proj"] {
            module(&format!("self_attn.{part}"), width, width);
        }
        module("mlp.gate_proj", inner, width);
        module("mlp.up_proj", inner, width);
        module("mlp.down_proj", width, inner);
    }
    ModelShape { width, layers, heads, kv_heads: heads, head_width: width / heads, modules }
}

fn llama_7b() -> ModelShape {
    llama(4096, 32, 32, 11_008)
}

fn bert_base() -> ModelShape {
    let modules = (0..12).flat_map(|layer| {
        ["query", "key", "value"].map(|part| TargetModule {
            name: format!("bert.encoder.layer.{layer}.attention.self.{part}"),
            input: 768,
            output: 768,
        })
    });
    ModelShape { width: 768, layers: 12, heads: 12, kv_heads: 12, head_width: 64, modules: modules.collect() }
}

fn lora(r: usize, targets: [&str; 2]) -> AdapterConfig {
    AdapterConfig::Lora(LoraConfig {
        r,
        alpha: 32.0,
        dropout: 0.0,
        targets: targets.map(String::from).to_vec(),
        scaling: Scaling::Standard,
    })
}

fn prefix(virtual_tokens: usize, source: PrefixSource) -> AdapterConfig {
    AdapterConfig::Prefix(PrefixConfig { virtual_tokens, source })
}

fn prompt(virtual_tokens: usize) -> AdapterConfig {
    let start = PromptStart::Random;
    AdapterConfig::Prompt(PromptTuningConfig { virtual_tokens, start })
}

#[test]
fn published_counts_of_the_7b_models() {
    let p_tuning =
        |virtual_tokens, encoder| AdapterConfig::PTuning(PTuningConfig { virtual_tokens, inner: 256, encoder });
    let lstm = PromptEncoder::Lstm { layers: 4, dropout: 0.0 };
    let adaptation = AdaptationPromptConfig { length: 10, layers: 30 };
    let shape = llama_7b();
    for (config, published) in [
        (lora(16, ["q_proj", "v_proj"]), 8_388_608),
        (lora(4, ["q_proj", "v_proj"]), 2_097_152),
        (AdapterConfig::AdaptationPrompt(adaptation), 1_228_830),
        (prefix(20, PrefixSource::Table), 5_242_880),
        (prefix(10, PrefixSource::Table), 2_621_440),
        (prompt(15), 61_440),
        (prompt(10), 40_960),
        (p_tuning(20, lstm), 16_093_696),
        (p_tuning(1, PromptEncoder::Mlp), 2_171_392),
        (prefix(20, PrefixSource::Projection { inner: 4096 }), 1_090_867_200),
        (lora(2, ["q_proj", "v_proj"]), 1_048_576),
        (lora(8, ["q_proj", "v_proj"]), 4_194_304),
    ] {
        assert_eq!(config.count(&shape).unwrap(), published, "{config:?}");
    }
}

#[test]
fn lora_counts_of_13b_and_bert() {
    let large = llama(5120, 40, 40, 13_824);
    assert_eq!(lora(16, ["q_proj", "v_proj"]).count(&large).unwrap(), 13_107_200);
    for (r, count) in [(2, 73_728), (4, 147_456), (8, 294_912), (16, 589_824)] {
        assert_eq!(lora(r, ["query", "value"]).count(&bert_base()).unwrap(), count);
    }
}

#[test]
fn settings_are_read_from_text_and_a_wrong_key_is_named() {
    let text = r#"{"method": "p_tuning", "virtual_tokens": 20, "inner": 256, "encoder": {"lstm": {"layers": 4, "dropout": 0.1}}}"#;
    let config: AdapterConfig = serde_json::from_str(text).unwrap();
    assert!(matches!(config, AdapterConfig::PTuning(_)));
    let again: AdapterConfig = serde_json::from_str(&serde_json::to_string(&config).unwrap()).unwrap();
    assert_eq!(again, config);
    let wrong = r#"{"method": "prompt", "virtual_token": 20, "start": "random"}"#;
    let e = serde_json::from_str::<AdapterConfig>(wrong).unwrap_err().to_string();
    assert!(e.contains("virtual_token"), "{e}");
}
