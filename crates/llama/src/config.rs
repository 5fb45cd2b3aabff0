//! `config.json`.

use clinpeft_nn::sizes::{self, need_positive, need_size};
use clinpeft_nn::{Error, Result, RopeScaling, TargetModule};
use clinpeft_tensor::ops::{AttentionShape, Mask};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Sizes of a model, in Hugging Face's names. Unknown keys are left alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Config {
    /// One of [`MODEL_TYPES`].
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
    /// Keys that a query sees, itself included: all if null, 4,096 if absent. See [`Config::window`].
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub sliding_window: Option<Option<usize>>,
    /// Whether `sliding_window` holds for a Qwen2; it does not if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_sliding_window: Option<bool>,
    /// Layers of a Qwen2 below those with a window; 28 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_window_layers: Option<usize>,
    /// Instead of `max_window_layers`: for each layer of a Qwen2 `full_attention` or `sliding_attention`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer_types: Option<Vec<String>>,
}

/// Models that are a LLaMA but for sliding windows (Mistral, Jiang et al. 2023) and for biases of queries, keys and values
/// (Qwen2, Yang et al. 2024).
pub const MODEL_TYPES: [&str; 3] = ["llama", "mistral", "qwen2"];

/// A key that is present, though perhaps null.
fn present<'de, D: serde::Deserializer<'de>>(value: D) -> std::result::Result<Option<Option<usize>>, D::Error> {
    Deserialize::deserialize(value).map(Some)
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

    /// Of the content of a `config.json`. Errors as [`Config::load`], before anything of the model's size is allocated.
    pub fn from_json(content: serde_json::Value) -> Result<Config> {
        let config: Config = serde_json::from_value(content).map_err(|e| Error::Config(e.to_string()))?;
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
            sliding_window: None,
            use_sliding_window: None,
            max_window_layers: None,
            layer_types: None,
        }
    }

    /// Whether queries, keys and values have a bias.
    pub fn has_qkv_bias(&self) -> bool {
        self.model_type == "qwen2"
    }

    /// Keys that a query of layer `layer` sees, itself included; `None` if all up to its own.
    pub fn window(&self, layer: usize) -> Option<usize> {
        // What transformers takes where a file does not say.
        const WINDOW: usize = 4096;
        const FULL_LAYERS: usize = 28;
        let slides = match (self.model_type.as_str(), &self.layer_types) {
            ("mistral", _) => true,
            ("qwen2", _) if self.use_sliding_window != Some(true) => false,
            ("qwen2", Some(types)) => types.get(layer).is_some_and(|kind| kind == "sliding_attention"),
            ("qwen2", None) => layer >= self.max_window_layers.unwrap_or(FULL_LAYERS),
            _ => false,
        };
        self.sliding_window.unwrap_or(Some(WINDOW)).filter(|_| slides)
    }

    /// Heads and mask of the attention of layer `layer`.
    pub(crate) fn attention_shape(&self, layer: usize) -> AttentionShape {
        AttentionShape {
            heads: self.num_attention_heads,
            kv_heads: self.kv_heads(),
            head_width: self.head_width(),
            scale: 1.0 / (self.head_width() as f64).sqrt(),
            mask: self.window(layer).map_or(Mask::Causal, Mask::SlidingWindow),
            dropout: None,
        }
    }

    /// Every linear layer that an adapter may target, without making any.
    pub fn target_modules(&self) -> Vec<TargetModule> {
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
            parts.map(|(part, input, output)| TargetModule { name: format!("model.layers.{i}.{part}"), input, output })
        };
        (0..self.num_hidden_layers).flat_map(layer).collect()
    }

    /// Weights of the model with its language-model head, without making any.
    pub fn parameter_count(&self) -> usize {
        let tables = if self.tie_word_embeddings { 1 } else { 2 } * self.vocab_size * self.hidden_size;
        let norms = (2 * self.num_hidden_layers + 1) * self.hidden_size;
        let biased = if self.has_qkv_bias() { self.num_attention_heads + 2 * self.kv_heads() } else { 0 };
        let biases = self.num_hidden_layers * biased * self.head_width();
        tables + norms + biases + self.target_modules().iter().map(|s| s.input * s.output).sum::<usize>()
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
                "rotary scaling `{}` is not known\nhint: known are default, linear, llama3",
                other.escape_debug()
            ))),
        }
    }

    /// Errors if no LLaMA has these sizes.
    pub fn check(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::Config(what));
        if !MODEL_TYPES.contains(&self.model_type.as_str()) {
            return wrong(format!(
                "`model_type` is `{}`, not `{}`\nhint: this folder holds another kind of model",
                self.model_type.escape_debug(),
                MODEL_TYPES.join("`, `")
            ));
        }
        if self.hidden_act != "silu" || self.attention_bias || self.mlp_bias {
            return wrong("only `hidden_act` silu without biases is known".into());
        }
        for (key, n, most) in [
            ("vocab_size", self.vocab_size, sizes::ENTRIES),
            ("hidden_size", self.hidden_size, sizes::WIDTH),
            ("intermediate_size", self.intermediate_size, sizes::INNER_WIDTH),
            ("num_hidden_layers", self.num_hidden_layers, sizes::LAYERS),
            ("num_attention_heads", self.num_attention_heads, sizes::HEADS),
            ("num_key_value_heads", self.kv_heads(), sizes::HEADS),
            ("head_dim", self.head_width(), sizes::HEADS),
            ("max_position_embeddings", self.max_position_embeddings, sizes::ENTRIES),
            ("sliding_window", self.sliding_window.flatten().unwrap_or(1), sizes::ENTRIES),
            (
                "num_attention_heads * head_dim",
                self.num_attention_heads.saturating_mul(self.head_width()),
                sizes::WIDTH,
            ),
        ] {
            need_size(key, n, most)?;
        }
        if !self.num_attention_heads.is_multiple_of(self.kv_heads()) {
            return wrong(format!(
                "{} query heads cannot share {} key-value heads\nhint: `num_attention_heads` is a multiple of \
                 `num_key_value_heads`",
                self.num_attention_heads,
                self.kv_heads()
            ));
        }
        if self.head_dim.is_none() && !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return wrong(format!(
                "a width of {} cannot be shared by {} heads\nhint: `hidden_size` is a multiple of `num_attention_heads`, or \
                 `head_dim` is given",
                self.hidden_size, self.num_attention_heads
            ));
        }
        if !self.head_width().is_multiple_of(2) {
            return wrong(format!("heads are {} wide\nhint: rotary embedding needs an even width", self.head_width()));
        }
        if !(self.rms_norm_eps.is_finite() && self.rms_norm_eps >= 0.0) {
            return wrong(format!("`rms_norm_eps` is {}\nhint: a finite number, 1e-5 for example", self.rms_norm_eps));
        }
        self.check_rope()
    }

    fn check_rope(&self) -> Result<()> {
        need_positive("rope_theta", self.theta())?;
        match self.scaling()? {
            RopeScaling::None => Ok(()),
            RopeScaling::Linear { factor } => need_positive("factor", factor),
            RopeScaling::Llama3 { factor, low, high, original } => {
                let all = [
                    ("factor", factor),
                    ("low_freq_factor", low),
                    ("high_freq_factor - low_freq_factor", high - low),
                    ("original_max_position_embeddings", original),
                ];
                all.into_iter().try_for_each(|(key, x)| need_positive(key, x))
            }
        }
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
    fn windows_are_those_of_transformers() {
        let read = |family: &str, keys: &str| -> Config {
            let plain = serde_json::to_value(Config::tiny(16, 8, 2, 2, 8)).unwrap();
            let mut plain = plain.as_object().unwrap().clone();
            plain.insert("model_type".into(), family.into());
            plain.extend(serde_json::from_str::<serde_json::Map<_, _>>(keys).unwrap());
            serde_json::from_value(plain.into()).unwrap()
        };
        for (family, keys, windows) in [
            ("llama", r#"{"sliding_window": 7}"#, [None, None]),
            ("mistral", "{}", [Some(4096), Some(4096)]),
            ("mistral", r#"{"sliding_window": null}"#, [None, None]),
            ("mistral", r#"{"sliding_window": 7}"#, [Some(7), Some(7)]),
            ("qwen2", r#"{"sliding_window": 7, "max_window_layers": 0}"#, [None, None]),
            ("qwen2", r#"{"sliding_window": 7, "use_sliding_window": true}"#, [None, None]),
            ("qwen2", r#"{"sliding_window": 7, "use_sliding_window": true, "max_window_layers": 1}"#, [None, Some(7)]),
            (
                "qwen2",
                r#"{"sliding_window": 7, "use_sliding_window": true, "layer_types": ["sliding_attention", "full_attention"]}"#,
                [Some(7), None],
            ),
        ] {
            let config = read(family, keys);
            config.check().unwrap();
            let again: Config = serde_json::from_value(serde_json::to_value(&config).unwrap()).unwrap();
            for config in [config, again] {
                assert_eq!([0, 1].map(|layer| config.window(layer)), windows, "{family} {keys}");
            }
        }
        let none = read("mistral", r#"{"sliding_window": 0}"#).check().unwrap_err().to_string();
        assert!(none.contains("`sliding_window`"), "{none}");
    }

    #[test]
    fn sizes_of_no_model_are_refused_by_their_key_before_anything_is_made() {
        let said = |change: &dyn Fn(&mut Config)| {
            let mut c = Config::tiny(16, 8, 1, 2, 8);
            change(&mut c);
            crate::Llama::random(c, clinpeft_rng::Seed(1), clinpeft_nn::Trainability::Frozen).unwrap_err().to_string()
        };
        type Set = fn(&mut Config, usize);
        let sizes: [(&str, Set); 8] = [
            ("vocab_size", |c, n| c.vocab_size = n),
            ("hidden_size", |c, n| c.hidden_size = n),
            ("intermediate_size", |c, n| c.intermediate_size = n),
            ("num_hidden_layers", |c, n| c.num_hidden_layers = n),
            ("num_attention_heads", |c, n| c.num_attention_heads = n),
            ("num_key_value_heads", |c, n| c.num_key_value_heads = Some(n)),
            ("head_dim", |c, n| c.head_dim = Some(n)),
            ("max_position_embeddings", |c, n| c.max_position_embeddings = n),
        ];
        for (key, set) in sizes {
            for n in [0, 1 << 32, usize::MAX] {
                let said = said(&|c| set(c, n));
                assert!(said.contains(&format!("`{key}` is {n}\nhint: ")), "{said}");
            }
        }
        assert!(said(&|c| (c.num_attention_heads, c.head_dim) = (1 << 16, Some(1 << 16))).contains("* head_dim"));
        assert!(said(&|c| (c.num_attention_heads, c.head_dim) = (6, None)).contains("cannot be shared"));
        assert!(said(&|c| c.head_dim = Some(3)).contains("even width"));
        assert!(said(&|c| c.rope_theta = Some(-1.0)).contains("`rope_theta` is -1"));
        assert!(said(&|c| c.rms_norm_eps = f64::NAN).contains("`rms_norm_eps`"));
        let control = said(&|c| c.model_type = "\u{1b}[2J".into());
        assert!(control.contains("\\u{1b}[2J") && !control.contains('\u{1b}'), "{control}");
        let long = Config { max_position_embeddings: sizes::ENTRIES, ..Config::tiny(16, 8, 1, 2, 8) };
        let model = crate::Llama::random(long, clinpeft_rng::Seed(1), clinpeft_nn::Trainability::Frozen).unwrap();
        assert_eq!(clinpeft_nn::Backbone::max_length(&model), sizes::ENTRIES);
    }

    #[test]
    fn sizes_alone_give_layers_and_counts_of_the_model() {
        use clinpeft_nn::{Backbone, Trainability};
        let mut c = Config::tiny(32, 16, 2, 4, 64);
        c.num_key_value_heads = Some(2);
        let model = crate::Llama::random(c.clone(), clinpeft_rng::Seed(3), Trainability::Frozen).unwrap();
        assert_eq!(c.target_modules(), model.target_modules());
        assert_eq!(c.parameter_count(), model.parameter_count());
        let biased = Config { model_type: "qwen2".into(), ..c.clone() };
        let model = crate::Llama::random(biased.clone(), clinpeft_rng::Seed(3), Trainability::Frozen).unwrap();
        assert_eq!(biased.parameter_count(), model.parameter_count());
        assert_eq!(biased.parameter_count(), c.parameter_count() + 2 * (16 + 8 + 8));
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
