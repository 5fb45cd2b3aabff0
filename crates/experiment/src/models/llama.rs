//! LLaMA, and the families that differ from it by their configuration.

use crate::error::Result;
use crate::models::family::{ConfigSizes, ModelFamily, Pretraining, TinySizes, shape};
use clinpeft_llama::{Config, Llama};
use clinpeft_nn::{Backbone, Trainability};
use clinpeft_rng::Seed;
use clinpeft_tensor::Device;
use clinpeft_text::{Specials, TokenizerKind};
use clinpeft_weights::Keep;
use serde_json::{Value, json};
use std::path::Path;

/// A family whose models [`Llama`] runs.
pub(crate) struct LlamaFamily {
    model_type: &'static str,
    class: &'static str,
    specials: Specials,
}

/// Touvron et al. 2023.
pub(crate) static LLAMA: LlamaFamily = LlamaFamily { model_type: "llama", class: "Llama", specials: Specials::Bos };

/// With a sliding window (Jiang et al. 2023).
pub(crate) static MISTRAL: LlamaFamily =
    LlamaFamily { model_type: "mistral", class: "Mistral", specials: Specials::Bos };

/// With biases of queries, keys and values (Yang et al. 2024); it knows no token that begins a text.
pub(crate) static QWEN2: LlamaFamily = LlamaFamily { model_type: "qwen2", class: "Qwen2", specials: Specials::None };

impl ModelFamily for LlamaFamily {
    fn model_type(&self) -> &'static str {
        self.model_type
    }

    fn class(&self) -> &'static str {
        self.class
    }

    fn pretraining(&self) -> Pretraining {
        Pretraining::NextToken
    }

    fn read(&self, folder: &Path, keep: Keep, _: Trainability, _: Seed, device: &Device) -> Result<Box<dyn Backbone>> {
        Ok(Box::new(Llama::load(folder, keep, device)?))
    }

    fn check(&self, folder: &Path) -> Result<()> {
        Ok(Config::load(folder).map(drop)?)
    }

    fn sizes(&self, config: Value) -> Result<ConfigSizes, String> {
        let c = Config::from_json(config).map_err(|e| e.to_string())?;
        let heads = (c.num_attention_heads, c.kv_heads(), c.head_width());
        Ok(ConfigSizes {
            shape: shape(c.hidden_size, c.num_hidden_layers, heads, c.target_modules()),
            parameters: c.parameter_count(),
            inner: c.intermediate_size,
            vocabulary: c.vocab_size,
        })
    }

    fn tiny(&self, s: TinySizes) -> Value {
        let config = Config::tiny(s.vocabulary, s.width, s.layers, s.heads, s.positions);
        json!(Config { model_type: self.model_type.into(), ..config })
    }

    fn untrained(&self, config: Value, seed: Seed, learning: Trainability) -> Result<Box<dyn Backbone>> {
        Ok(Box::new(Llama::random(Config::from_json(config)?, seed, learning)?))
    }

    fn tokenizer(&self) -> TokenizerKind {
        TokenizerKind::ByteFallback
    }

    fn specials(&self) -> Specials {
        self.specials
    }

    fn tensor_name(&self, old: &str) -> Option<String> {
        (!old.ends_with("rotary_emb.inv_freq")).then(|| old.into())
    }

    fn tensor_prefixes(&self) -> &'static [&'static str] {
        &["model.", "lm_head.", "score."]
    }

    fn saved_values(&self, d: u64, inner: u64) -> u64 {
        3 * d + 2 * inner
    }

    fn saved_values_in_full(&self, d: u64, inner: u64) -> u64 {
        4 * d + 3 * inner
    }
}
