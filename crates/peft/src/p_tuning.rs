//! P-tuning (Liu et al. 2021): a learned prompt that is the output of a small network over a learned table.
//!
//! ```text
//! MLP:   W3 relu(W2 relu(W1 E + b1) + b2) + b3
//! LSTM:  W2 relu(W1 [forward; backward] + b1) + b2, over k bidirectional layers of e units each
//! ```
//! With an LSTM the encoder stays on the CPU, whatever the model's device: it is a few steps over n rows, and only
//! its result is moved.

use crate::adapter::PROMPT_ROOT;
use crate::encoder::{self, Network, Part, Table, linear_parts, prompt_keys, rows_of_the_file};
use crate::files::{ConfigFile, TensorFile};
use crate::limits::{self, need_count, need_share};
use crate::{Adapter, AdapterMethod, FileKeys, ModelShape, Result, Saved};
use clinpeft_autodiff::{Var, ops};
use clinpeft_nn::{AdapterHooks, Backbone, ForwardCtx, Parameter, Trainability};
use clinpeft_rng::Seed;
use clinpeft_tensor::{Device, Tensor};
use clinpeft_weights::TensorMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Which network.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptEncoder {
    /// Three linear layers.
    Mlp,
    /// Bidirectional LSTM and two linear layers.
    Lstm {
        /// k.
        layers: usize,
        /// Share dropped between the layers in training.
        dropout: f64,
    },
}

/// Settings of P-tuning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PTuningConfig {
    /// n.
    pub virtual_tokens: usize,
    /// e, the width inside.
    pub inner: usize,
    /// Which network.
    pub encoder: PromptEncoder,
}

impl PTuningConfig {
    fn parts(&self, shape: &ModelShape) -> Vec<Part> {
        let (n, d, e) = (self.virtual_tokens, shape.width, self.inner);
        let mut parts = vec![("embedding.weight".to_string(), vec![n, d], Table::Normal)];
        match self.encoder {
            PromptEncoder::Mlp => {
                parts.extend(linear_parts("mlp_head.0", e, d));
                parts.extend(linear_parts("mlp_head.2", e, e));
                parts.extend(linear_parts("mlp_head.4", d, e));
            }
            PromptEncoder::Lstm { layers, .. } => {
                let from = Table::Uniform(1.0 / (e.max(1) as f64).sqrt());
                for layer in 0..layers {
                    let input = if layer == 0 { d } else { 2 * e };
                    for end in ["", "_reverse"] {
                        let name = |part: &str| format!("lstm_head.{part}_l{layer}{end}");
                        parts.push((name("weight_ih"), vec![4 * e, input], from));
                        parts.push((name("weight_hh"), vec![4 * e, e], from));
                        parts.push((name("bias_ih"), vec![4 * e], from));
                        parts.push((name("bias_hh"), vec![4 * e], from));
                    }
                }
                parts.extend(linear_parts("mlp_head.0", 2 * e, 2 * e));
                parts.extend(linear_parts("mlp_head.2", d, 2 * e));
            }
        }
        parts
    }

    pub(crate) fn check(&self) -> Result<()> {
        need_count("virtual_tokens", self.virtual_tokens, limits::ROWS)?;
        need_count("inner", self.inner, limits::INNER)?;
        match self.encoder {
            PromptEncoder::Mlp => Ok(()),
            PromptEncoder::Lstm { layers, dropout } => {
                need_count("layers", layers, limits::LSTM_LAYERS)?;
                need_share(dropout)
            }
        }
    }
}

/// A prompt with its encoder, or, from a file that holds no more, the prompt alone.
#[derive(Debug, Clone)]
pub struct PTuning {
    config: PTuningConfig,
    shape: ModelShape,
    network: Network,
    files: FileKeys,
}

impl PTuning {
    /// A new prompt.
    pub fn new(config: PTuningConfig, shape: &ModelShape, seed: Seed, learning: Trainability) -> Result<PTuning> {
        config.check()?;
        let network = Network::new(&config.parts(shape), seed, learning)?;
        Ok(PTuning::of(config, shape, network, FileKeys::default()))
    }

    fn of(config: PTuningConfig, shape: &ModelShape, network: Network, files: FileKeys) -> PTuning {
        let shape = ModelShape { modules: Vec::new(), ..shape.clone() };
        PTuning { config, shape, network, files }
    }

    /// The prompt, `[n, d]`.
    fn rows(&self, ctx: &ForwardCtx) -> Result<Var> {
        let (net, table) = (&self.network, self.network.var("embedding.weight")?);
        if net.parameters().len() == 1 {
            return Ok(table.clone());
        }
        let x = match self.config.encoder {
            PromptEncoder::Mlp => {
                let x = ops::relu(&net.linear("mlp_head.0", table)?)?;
                let x = ops::relu(&net.linear("mlp_head.2", &x)?)?;
                net.linear("mlp_head.4", &x)?
            }
            PromptEncoder::Lstm { layers, dropout } => {
                let mut x = table.clone();
                for layer in 0..layers {
                    x = self.both_ways(layer, &x)?;
                    let key = ctx.dropout_key(&format!("prompt_encoder.{layer}"));
                    if let (Some(key), true) = (key, dropout > 0.0 && layer + 1 < layers) {
                        x = ops::dropout(&x, dropout, key)?;
                    }
                }
                let x = ops::relu(&net.linear("mlp_head.0", &x)?)?;
                net.linear("mlp_head.2", &x)?
            }
        };
        Ok(x)
    }

    /// A bidirectional layer: `[n, in]` to `[n, 2e]`.
    fn both_ways(&self, layer: usize, x: &Var) -> Result<Var> {
        let (n, e) = (x.dims()[0], self.config.inner);
        let device = x.value().device();
        let backwards = Tensor::from_vec((0..n as u32).rev().collect(), &[n])?.to_device(&device)?;
        let one = |end: &str, x: &Var| -> Result<Var> {
            let part = |part: &str| self.network.var(&format!("lstm_head.{part}_l{layer}{end}"));
            let a = ops::add_row(&ops::linear(x, part("weight_ih")?)?, part("bias_ih")?)?;
            Ok(ops::lstm(&ops::add_row(&a, part("bias_hh")?)?, part("weight_hh")?)?)
        };
        let forward = one("", x)?;
        let reverse = one("_reverse", &ops::embedding(x, &backwards)?)?;
        let reverse = ops::embedding(&reverse, &backwards)?;
        // Side by side: products with [1 0] and [0 1] are exact.
        let placed = |half: &Var, first| ops::linear(half, &beside(e, first, &device)?);
        Ok(ops::add(&placed(&forward, 0)?, &placed(&reverse, e)?)?)
    }
}

/// `[2e, e]` with ones that put column j at j + `first`.
fn beside(e: usize, first: usize, device: &Device) -> clinpeft_autodiff::Result<Var> {
    let mut values = vec![0f32; 2 * e * e];
    for j in 0..e {
        values[(first + j) * e + j] = 1.0;
    }
    Ok(Var::constant(Tensor::from_vec(values, &[2 * e, e])?.to_device(device)?))
}

fn keys(config: &PTuningConfig, shape: &ModelShape) -> Map<String, Value> {
    let mut keys = prompt_keys("P_TUNING", config.virtual_tokens, shape);
    let (kind, layers, dropout) = match config.encoder {
        PromptEncoder::Mlp => ("MLP", 2, 0.0),
        PromptEncoder::Lstm { layers, dropout } => ("LSTM", layers, dropout),
    };
    let mut set = |key: &str, value: Value| keys.insert(key.into(), value);
    set("encoder_reparameterization_type", kind.into());
    set("encoder_hidden_size", config.inner.into());
    set("encoder_num_layers", layers.into());
    set("encoder_dropout", dropout.into());
    keys
}

impl AdapterMethod for PTuning {
    const NAME: &'static str = "p_tuning";
    const PEFT_TYPE: &'static str = "P_TUNING";
    type Config = PTuningConfig;

    fn virtual_tokens(config: &PTuningConfig) -> usize {
        config.virtual_tokens
    }

    fn count(config: &PTuningConfig, shape: &ModelShape) -> Result<usize> {
        config.check()?;
        Ok(encoder::count(&config.parts(shape)))
    }

    fn build(config: PTuningConfig, backbone: &dyn Backbone, seed: Seed, learning: Trainability) -> Result<PTuning> {
        PTuning::new(config, &ModelShape::of(backbone), seed, learning)
    }

    fn load(mut file: ConfigFile, tensors: &TensorFile, shape: &ModelShape, learning: Trainability) -> Result<PTuning> {
        let n: usize = file.need("num_virtual_tokens")?;
        let layers = file.get("encoder_num_layers")?.unwrap_or(2);
        let dropout = file.get("encoder_dropout")?.unwrap_or(0.0);
        let kind: String = file.need("encoder_reparameterization_type")?;
        let config = PTuningConfig {
            virtual_tokens: n,
            inner: file.get("encoder_hidden_size")?.unwrap_or(shape.width),
            encoder: match kind.as_str() {
                "MLP" => PromptEncoder::Mlp,
                "LSTM" => PromptEncoder::Lstm { layers, dropout },
                other => {
                    return Err(file.wrong(format!(
                        "`encoder_reparameterization_type` {} is not known\nhint: known are MLP and LSTM",
                        other.escape_debug()
                    )));
                }
            },
        };
        config.check()?;
        let rows = rows_of_the_file(&mut file, tensors, n, shape.width)?;
        let encoder = Network::load(&config.parts(shape), tensors, learning)?;
        let network = encoder.unwrap_or_else(|| Network::of_rows(rows, learning));
        let files = file.finish(&keys(&config, shape), tensors)?;
        Ok(PTuning::of(config, shape, network, files))
    }
}

impl AdapterHooks for PTuning {
    fn inputs(&self, ctx: &ForwardCtx) -> clinpeft_nn::Result<Option<Var>> {
        let rows = self.rows(ctx).map_err(|e| clinpeft_nn::Error::Adapter(e.to_string()))?;
        Ok(Some(rows))
    }
}

impl Adapter for PTuning {
    fn method(&self) -> &'static str {
        PTuning::NAME
    }

    fn parameters(&self) -> Vec<&Parameter> {
        self.network.parameters()
    }

    fn parameters_mut(&mut self) -> Vec<&mut Parameter> {
        self.network.parameters_mut()
    }

    fn saved(&self) -> Result<Saved> {
        let encoder = if self.network.parameters().len() > 1 { self.network.tensors() } else { TensorMap::new() };
        let rows = self.rows(&ForwardCtx::evaluate())?.value().clone();
        let mut keys = keys(&self.config, &self.shape);
        if self.config.encoder == PromptEncoder::Mlp {
            self.files.restore(&["encoder_num_layers", "encoder_dropout"], &mut keys);
        }
        Ok(Saved {
            peft_type: PTuning::PEFT_TYPE,
            keys,
            tensors: TensorMap::from([("prompt_embeddings".into(), rows)]),
            encoder,
            head_prefix: PROMPT_ROOT,
        })
    }

    fn file_keys(&self) -> &FileKeys {
        &self.files
    }
}
