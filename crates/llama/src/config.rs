//! `config.json`.

use clinpeft_nn::{Error, LinearSite, Result, RopeScaling};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Sizes of a model, in Hugging Face's names. Unknown keys are left alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Config {
    /// Must be `llama`.
    pub model_type: String,
    /// Entries of the vocabulary.
    pub vocab_size: usize,
    /// Width.
    pub hidden_size: usize,
    /// Width inside the MLP.
    pub intermediate_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key-value heads; as many as query heads if absent.
    #[serde(default)]
    pub num_key_value_heads: Option<usize>,
    /// Width of a head; width / heads if absent.
    #[serde(default)]
    pub head_dim: Option<usize>,
    /// Longest sequence the angles are made for.
    pub max_position_embeddings: usize,
    /// Added to the mean square.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies (older files).
    #[serde(default)]
    pub rope_theta: Option<f64>,
    /// Scaling of the rotary frequencies (older files).
    #[serde(default)]
    pub rope_scaling: Option<Rope>,
    /// Base and scaling (newer files).
    #[serde(default)]
    pub rope_parameters: Option<Rope>,
    /// Whether the language-model head is the embedding table.
    #[serde(default)]
    pub tie_word_embeddings: bool,
    /// Only `silu` is known.
    #[serde(default = "silu")]
    pub hidden_act: String,
    /// Only `false` is known.
    #[serde(default)]
    pub attention_bias: bool,
    /// Only `false` is known.
    #[serde(default)]
    pub mlp_bias: bool,
}

/// Rotary settings as they stand in files.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rope {
    /// `default`, `linear` or `llama3`; older files call it `type`.
    #[serde(default, alias = "type")]
    pub rope_type: Option<String>,
    /// Base of the frequencies.
    #[serde(default)]
    pub rope_theta: Option<f64>,
    /// Factor of the scaling.
    #[serde(default)]
    pub factor: Option<f64>,
    /// See [`RopeScaling::Llama3`].
    #[serde(default)]
    pub low_freq_factor: Option<f64>,
    /// See [`RopeScaling::Llama3`].
    #[serde(default)]
    pub high_freq_factor: Option<f64>,
    /// See [`RopeScaling::Llama3`].
    #[serde(default)]
    pub original_max_position_embeddings: Option<f64>,
}

fn silu() -> String {
    "silu".into()
}

impl Config {
    /// Reads `config.json` of a model folder. Errors name what is not LLaMA about it.
    pub fn load(dir: &Path) -> Result<Config> {
        let config: Config = clinpeft_files::read_json(&dir.join("config.json")).map_err(|e| {
            Error::Config(format!("{e}\nhint: a LLaMA folder has config.json with `\"model_type\": \"llama\"`"))
        })?;
        config.check()?;
        Ok(config)
    }

    /// A small model for demonstrations and tests.
    pub fn tiny(vocab_size: usize, width: usize, layers: usize, heads: usize, positions: usize) -> Config {
        Config {
            model_type: "llama".into(),
            vocab_size,
            hidden_size: width,
            intermediate_size: width * 8 / 3 / 8 * 8,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: Some(heads),
            head_dim: Some(width / heads.max(1)),
            max_position_embeddings: positions,
            rms_norm_eps: 1e-5,
            rope_theta: Some(10_000.0),
            rope_scaling: None,
            rope_parameters: None,
            tie_word_embeddings: false,
            hidden_act: silu(),
            attention_bias: false,
            mlp_bias: false,
        }
    }

    /// Every linear layer that an adapter may target, without making any.
    pub fn linear_sites(&self) -> Vec<LinearSite> {
        let (d, inner, head) = (self.hidden_size, self.intermediate_size, self.head_width());
        let (wide, narrow) = (self.num_attention_heads * head, self.kv_heads() * head);
        let parts = [
            ("self_attn.q_proj", d, wide),
            ("self_attn.k_proj", d, narrow),
            ("self_attn.v_proj", d, narrow),
            ("self_attn.o_proj", wide, d),
            ("mlp.gate_proj", d, inner),
            ("mlp.up_proj", d, inner),
            ("mlp.down_proj", inner, d),
        ];
        let layer = |i: usize| {
            parts.map(|(part, input, output)| LinearSite { name: format!("model.layers.{i}.{part}"), input, output })
        };
        (0..self.num_hidden_layers).flat_map(layer).collect()
    }

    /// Weights of the model with its language-model head, without making any.
    pub fn parameter_count(&self) -> usize {
        let tables = if self.tie_word_embeddings { 1 } else { 2 } * self.vocab_size * self.hidden_size;
        let norms = (2 * self.num_hidden_layers + 1) * self.hidden_size;
        tables + norms + self.linear_sites().iter().map(|s| s.input * s.output).sum::<usize>()
    }

    /// Key-value heads.
    pub fn kv_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// Width of a head.
    pub fn head_width(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    /// Base of the rotary frequencies.
    pub fn theta(&self) -> f64 {
        self.rope_parameters.as_ref().and_then(|r| r.rope_theta).or(self.rope_theta).unwrap_or(10_000.0)
    }

    /// Scaling of the rotary frequencies.
    pub fn scaling(&self) -> Result<RopeScaling> {
        let Some(rope) = self.rope_parameters.as_ref().or(self.rope_scaling.as_ref()) else {
            return Ok(RopeScaling::None);
        };
        let need = |x: Option<f64>, key: &str| x.ok_or_else(|| Error::Config(format!("rotary scaling lacks `{key}`")));
        match rope.rope_type.as_deref() {
            None | Some("default") => Ok(RopeScaling::None),
            Some("linear") => Ok(RopeScaling::Linear { factor: need(rope.factor, "factor")? }),
            Some("llama3") => Ok(RopeScaling::Llama3 {
                factor: need(rope.factor, "factor")?,
                low: need(rope.low_freq_factor, "low_freq_factor")?,
                high: need(rope.high_freq_factor, "high_freq_factor")?,
                original: need(rope.original_max_position_embeddings, "original_max_position_embeddings")?,
            }),
            Some(other) => Err(Error::Config(format!(
                "rotary scaling `{other}` is not known\nhint: known are default, linear, llama3"
            ))),
        }
    }

    /// Errors if no LLaMA has these sizes.
    pub fn check(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::Config(what));
        if self.model_type != "llama" {
            return wrong(format!(
                "`model_type` is `{}`, not `llama`\nhint: this folder holds another kind of model",
                self.model_type
            ));
        }
        if self.hidden_act != "silu" || self.attention_bias || self.mlp_bias {
            return wrong("only `hidden_act` silu without biases is known".into());
        }
        let sizes = [self.vocab_size, self.hidden_size, self.intermediate_size, self.num_attention_heads];
        if sizes.contains(&0) || self.max_position_embeddings == 0 || self.kv_heads() == 0 {
            return wrong("a size is zero".into());
        }
        if !self.num_attention_heads.is_multiple_of(self.kv_heads()) {
            return wrong(format!(
                "{} query heads cannot share {} key-value heads",
                self.num_attention_heads,
                self.kv_heads()
            ));
        }
        self.scaling().map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_kind_of_model_is_refused() {
        let mut c = Config::tiny(16, 8, 1, 2, 8);
        c.model_type = "bert".into();
        assert!(c.check().unwrap_err().to_string().contains("not `llama`"));
    }

    #[test]
    fn sizes_alone_give_layers_and_counts_of_the_model() {
        use clinpeft_nn::{Backbone, Learning};
        let mut c = Config::tiny(32, 16, 2, 4, 64);
        c.num_key_value_heads = Some(2);
        let model = crate::Llama::random(c.clone(), clinpeft_rng::Seed(3), Learning::Frozen).unwrap();
        assert_eq!(c.linear_sites(), model.linear_sites());
        assert_eq!(c.parameter_count(), model.parameter_count());
        let seven = Config { intermediate_size: 11_008, ..Config::tiny(32_000, 4096, 32, 32, 2048) };
        assert_eq!(seven.parameter_count(), 6_738_415_616);
    }

    #[test]
    fn old_and_new_rotary_keys_are_read() {
        let common = r#""model_type":"llama","vocab_size":8,"hidden_size":8,"intermediate_size":8,"num_hidden_layers":1,
            "num_attention_heads":2,"max_position_embeddings":8,"rms_norm_eps":1e-6"#;
        let old = format!(r#"{{{common},"rope_theta":500.0,"rope_scaling":{{"type":"linear","factor":2.0}}}}"#);
        let new = format!(r#"{{{common},"rope_parameters":{{"rope_theta":500.0,"rope_type":"linear","factor":2.0}}}}"#);
        for text in [old, new] {
            let c: Config = serde_json::from_str(&text).unwrap();
            assert_eq!((c.theta(), c.scaling().unwrap()), (500.0, RopeScaling::Linear { factor: 2.0 }));
        }
    }
}
