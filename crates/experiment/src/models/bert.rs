//! BERT.

use crate::error::Result;
use crate::models::family::{ConfigSizes, ModelFamily, Pretraining, TinySizes, shape};
use clinpeft_bert::{Bert, Config};
use clinpeft_nn::{Backbone, Trainability};
use clinpeft_peft::FamilyTargets;
use clinpeft_rng::Seed;
use clinpeft_tensor::Device;
use clinpeft_text::{Specials, TokenizerKind};
use clinpeft_weights::Keep;
use serde_json::{Value, json};
use std::path::Path;

/// Devlin et al. 2019.
pub(crate) struct BertFamily;

impl ModelFamily for BertFamily {
    fn model_type(&self) -> &'static str {
        "bert"
    }

    fn class(&self) -> &'static str {
        "Bert"
    }

    fn pretraining(&self) -> Pretraining {
        Pretraining::MaskedTokens
    }

    fn read(
        &self,
        folder: &Path,
        keep: Keep,
        learning: Trainability,
        seed: Seed,
        device: &Device,
    ) -> Result<Box<dyn Backbone>> {
        let model = Bert::load(folder, keep, device)?;
        let new = learning == Trainability::Trainable && !model.has_pooler();
        Ok(Box::new(if new { model.with_new_pooler(seed, learning)? } else { model }))
    }

    fn check(&self, folder: &Path) -> Result<()> {
        Ok(Config::load(folder).map(drop)?)
    }

    fn sizes(&self, config: Value) -> Result<ConfigSizes, String> {
        let c = Config::from_json(config).map_err(|e| e.to_string())?;
        let heads = (c.num_attention_heads, c.num_attention_heads, c.head_width());
        Ok(ConfigSizes {
            shape: shape(c.hidden_size, c.num_hidden_layers, heads, c.target_modules()),
            parameters: c.parameter_count(),
            inner: c.intermediate_size,
            vocabulary: c.vocab_size,
        })
    }

    fn tiny(&self, s: TinySizes) -> Value {
        json!(Config::tiny(s.vocabulary, s.width, s.layers, s.heads, s.positions))
    }

    fn untrained(&self, config: Value, seed: Seed, learning: Trainability) -> Result<Box<dyn Backbone>> {
        Ok(Box::new(Bert::random(Config::from_json(config)?, seed, learning)?))
    }

    fn tokenizer(&self) -> TokenizerKind {
        TokenizerKind::WordPiece
    }

    fn specials(&self) -> Specials {
        Specials::ClsSep
    }

    /// The first converter kept the names of TensorFlow.
    fn tensor_name(&self, old: &str) -> Option<String> {
        if old.ends_with("embeddings.position_ids") {
            return None;
        }
        let weight = old.strip_suffix("LayerNorm.gamma").map(|before| format!("{before}LayerNorm.weight"));
        let bias = old.strip_suffix("LayerNorm.beta").map(|before| format!("{before}LayerNorm.bias"));
        Some(weight.or(bias).unwrap_or_else(|| old.into()))
    }

    fn tensor_prefixes(&self) -> &'static [&'static str] {
        &["bert.", "embeddings.", "encoder.", "pooler.", "cls.predictions.", "classifier."]
    }

    fn saved_values(&self, d: u64, inner: u64) -> u64 {
        5 * d + inner
    }

    fn saved_values_in_full(&self, d: u64, inner: u64) -> u64 {
        8 * d + 2 * inner
    }

    fn targets(&self) -> Option<FamilyTargets> {
        Some(FamilyTargets {
            low_rank: &["query", "value"],
            scaled: &["key", "value", "output.dense"],
            feedforward: &["output.dense"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clinpeft_weights::TensorMap;

    #[test]
    fn a_pooler_is_made_only_where_it_learns() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::tiny(16, 8, 1, 2, 8);
        let whole = Bert::random(config, Seed(1), Trainability::Frozen).unwrap();
        whole.save(dir.path()).unwrap();
        let file = dir.path().join("model.safetensors");
        let kept = whole.parameters().into_iter().filter(|p| !p.name().contains("pooler"));
        let kept: TensorMap = kept.map(|p| (p.name().to_string(), p.value().clone())).collect();
        clinpeft_weights::save(&file, &kept, &std::collections::BTreeMap::new()).unwrap();
        let family: &dyn ModelFamily = &BertFamily;
        let count = |learning| family.load(dir.path(), learning, Seed(2), &Device::Cpu).unwrap().parameter_count();
        let pooler = 8 * 8 + 8;
        assert_eq!(count(Trainability::Trainable), whole.parameter_count());
        assert_eq!(count(Trainability::Frozen), whole.parameter_count() - pooler);
    }
}
