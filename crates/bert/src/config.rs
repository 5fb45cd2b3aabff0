//! `config.json`.

use clinpeft_nn::sizes::{self, need_size};
use clinpeft_nn::{Error, Result, TargetModule};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Sizes of a model, in Hugging Face's names. Unknown keys are left alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Config {
    /// Must be `bert`.
    pub model_type: String,
    /// Entries of the vocabulary.
    pub vocab_size: usize,
    /// Width.
    pub hidden_size: usize,
    /// Width inside the feed-forward part.
    pub intermediate_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Heads.
    pub num_attention_heads: usize,
    /// Rows of the position table: the longest sequence.
    pub max_position_embeddings: usize,
    /// Rows of the token-type table; only type 0 is used.
    #[serde(default = "two")]
    pub type_vocab_size: usize,
    /// Added to the variance.
    #[serde(default = "layer_norm_eps")]
    pub layer_norm_eps: f64,
    /// Share dropped behind embeddings, attention and feed-forward parts in training.
    #[serde(default = "tenth")]
    pub hidden_dropout_prob: f64,
    /// Share of attention weights dropped in training.
    #[serde(default = "tenth")]
    pub attention_probs_dropout_prob: f64,
    /// Share dropped in front of the classifier; `hidden_dropout_prob` if absent.
    #[serde(default)]
    pub classifier_dropout: Option<f64>,
    /// Only `gelu`, the exact one, is known.
    #[serde(default = "gelu")]
    pub hidden_act: String,
    /// Only `absolute` is known.
    #[serde(default = "absolute")]
    pub position_embedding_type: String,
    /// Only `false` is known.
    #[serde(default)]
    pub is_decoder: bool,
    /// Whether the masked-token head is the word table; only `true` is known.
    #[serde(default = "tied")]
    pub tie_word_embeddings: bool,
}

fn two() -> usize {
    2
}

fn layer_norm_eps() -> f64 {
    1e-12
}

fn tenth() -> f64 {
    0.1
}

fn gelu() -> String {
    "gelu".into()
}

fn absolute() -> String {
    "absolute".into()
}

fn tied() -> bool {
    true
}

impl Config {
    /// Reads `config.json` of a model folder. Errors name what is not BERT about it.
    pub fn load(dir: &Path) -> Result<Config> {
        let config: Config = clinpeft_files::read_json(&dir.join("config.json")).map_err(|e| {
            Error::Config(format!("{e}\nhint: a BERT folder has config.json with `\"model_type\": \"bert\"`"))
        })?;
        config.check()?;
        Ok(config)
    }

    /// Of the content of a `config.json`. Errors as [`Config::load`], before anything of the model's size is allocated.
    pub fn from_json(content: serde_json::Value) -> Result<Config> {
        let config: Config = serde_json::from_value(content).map_err(|e| Error::Config(e.to_string()))?;
        config.check()?;
        Ok(config)
    }

    /// A small model without dropout for demonstrations and tests.
    pub fn tiny(vocab_size: usize, width: usize, layers: usize, heads: usize, positions: usize) -> Config {
        Config {
            model_type: "bert".into(),
            vocab_size,
            hidden_size: width,
            intermediate_size: 4 * width,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            max_position_embeddings: positions,
            type_vocab_size: two(),
            layer_norm_eps: layer_norm_eps(),
            hidden_dropout_prob: 0.0,
            attention_probs_dropout_prob: 0.0,
            classifier_dropout: None,
            hidden_act: gelu(),
            position_embedding_type: absolute(),
            is_decoder: false,
            tie_word_embeddings: tied(),
        }
    }

    /// Width of a head.
    pub fn head_width(&self) -> usize {
        self.hidden_size / self.num_attention_heads.max(1)
    }

    /// Every linear layer that an adapter may target, the pooler's among them, without making any.
    pub fn target_modules(&self) -> Vec<TargetModule> {
        let (d, wide) = (self.hidden_size, self.intermediate_size);
        let parts = [
            ("attention.self.query", d, d),
            ("attention.self.key", d, d),
            ("attention.self.value", d, d),
            ("attention.output.dense", d, d),
            ("intermediate.dense", d, wide),
            ("output.dense", wide, d),
        ];
        let layer = |i: usize| {
            let name = move |part: &str| format!("bert.encoder.layer.{i}.{part}");
            parts.map(|(part, input, output)| TargetModule { name: name(part), input, output })
        };
        let pooler = TargetModule { name: "bert.pooler.dense".into(), input: d, output: d };
        (0..self.num_hidden_layers).flat_map(layer).chain([pooler]).collect()
    }

    /// Weights of the encoder with its pooler, without making any.
    pub fn parameter_count(&self) -> usize {
        let (d, wide) = (self.hidden_size, self.intermediate_size);
        let dense = |out: usize, input: usize| out * (input + 1);
        let norm = 2 * d;
        let tables = (self.vocab_size + self.max_position_embeddings + self.type_vocab_size) * d + norm;
        let layer = 4 * dense(d, d) + dense(wide, d) + dense(d, wide) + 2 * norm;
        tables + self.num_hidden_layers * layer + dense(d, d)
    }

    /// Share dropped in front of the classifier in training.
    pub fn pooled_dropout(&self) -> f64 {
        self.classifier_dropout.unwrap_or(self.hidden_dropout_prob)
    }

    /// Errors if no BERT has these sizes.
    pub fn check(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::Config(what));
        if self.model_type != "bert" {
            return wrong(format!(
                "`model_type` is `{}`, not `bert`\nhint: this folder holds another kind of model",
                self.model_type.escape_debug()
            ));
        }
        for (key, got, known) in [
            ("hidden_act", self.hidden_act.as_str(), "gelu"),
            ("position_embedding_type", &self.position_embedding_type, "absolute"),
        ] {
            if got != known {
                return wrong(format!("`{key}` is `{}`\nhint: only `{known}` is known", got.escape_debug()));
            }
        }
        if self.is_decoder || !self.tie_word_embeddings {
            return wrong(
                "a decoder, or a masked-token head with a table of its own, is not known\n\
                 hint: `is_decoder` must be false and `tie_word_embeddings` true"
                    .into(),
            );
        }
        let rates = [
            ("hidden_dropout_prob", self.hidden_dropout_prob),
            ("attention_probs_dropout_prob", self.attention_probs_dropout_prob),
            ("classifier_dropout", self.pooled_dropout()),
        ];
        if let Some((key, rate)) = rates.iter().find(|(_, r)| !(0.0..1.0).contains(r)) {
            return wrong(format!("`{key}` is {rate}\nhint: a share from 0 to below 1"));
        }
        self.check_sizes()
    }

    fn check_sizes(&self) -> Result<()> {
        for (key, n, most) in [
            ("vocab_size", self.vocab_size, sizes::ENTRIES),
            ("hidden_size", self.hidden_size, sizes::WIDTH),
            ("intermediate_size", self.intermediate_size, sizes::INNER_WIDTH),
            ("num_hidden_layers", self.num_hidden_layers, sizes::LAYERS),
            ("num_attention_heads", self.num_attention_heads, sizes::HEADS),
            ("max_position_embeddings", self.max_position_embeddings, sizes::ENTRIES),
            ("type_vocab_size", self.type_vocab_size, sizes::ENTRIES),
        ] {
            need_size(key, n, most)?;
        }
        if !(self.layer_norm_eps.is_finite() && self.layer_norm_eps >= 0.0) {
            let what = format!("`layer_norm_eps` is {}\nhint: a finite number, 1e-12 for example", self.layer_norm_eps);
            return Err(Error::Config(what));
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(Error::Config(format!(
                "a width of {} cannot be shared by {} heads\nhint: `hidden_size` is a multiple of `num_attention_heads`",
                self.hidden_size, self.num_attention_heads
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_bert_has_is_refused_by_its_key() {
        let said = |change: fn(&mut Config)| {
            let mut c = Config::tiny(16, 8, 1, 2, 8);
            change(&mut c);
            c.check().unwrap_err().to_string()
        };
        assert!(said(|c| c.model_type = "llama".into()).contains("not `bert`"));
        assert!(said(|c| c.hidden_act = "relu".into()).contains("`hidden_act` is `relu`"));
        assert!(said(|c| c.hidden_dropout_prob = 1.0).contains("hidden_dropout_prob"));
        assert!(said(|c| c.num_attention_heads = 3).contains("cannot be shared"));
        assert!(said(|c| c.type_vocab_size = 0).contains("`type_vocab_size` is 0"));
        assert!(said(|c| c.num_hidden_layers = usize::MAX).contains("`num_hidden_layers` is"));
        assert!(said(|c| c.max_position_embeddings = 1 << 40).contains("`max_position_embeddings` is"));
        assert!(said(|c| c.vocab_size = 1 << 40).contains("`vocab_size` is"));
        assert!(said(|c| c.layer_norm_eps = -1.0).contains("`layer_norm_eps` is -1"));
        let control = said(|c| c.hidden_act = "\u{1b}[2J".into());
        assert!(!control.contains('\u{1b}'), "{control}");
    }

    #[test]
    fn weights_are_counted_without_making_any() {
        let tiny = Config::tiny(32, 16, 2, 4, 24);
        let model =
            crate::Bert::random(tiny.clone(), clinpeft_rng::Seed(1), clinpeft_nn::Trainability::Frozen).unwrap();
        assert_eq!(tiny.parameter_count(), clinpeft_nn::Backbone::parameter_count(&model));
        assert_eq!(tiny.target_modules(), clinpeft_nn::Backbone::target_modules(&model));
        // BERT-base with the vocabularies of the uncased and the cased checkpoints.
        let base = |v| Config { intermediate_size: 3072, ..Config::tiny(v, 768, 12, 12, 512) }.parameter_count();
        assert_eq!([base(30_522), base(28_996)], [109_482_240, 108_310_272]);
    }

    #[test]
    fn keys_that_old_files_lack_have_their_defaults() {
        let text = r#"{"model_type":"bert","vocab_size":8,"hidden_size":8,"intermediate_size":8,"num_hidden_layers":1,
            "num_attention_heads":2,"max_position_embeddings":8}"#;
        let c: Config = serde_json::from_str(text).unwrap();
        c.check().unwrap();
        assert_eq!((c.layer_norm_eps, c.pooled_dropout()), (1e-12, 0.1));
    }
}
