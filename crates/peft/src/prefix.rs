//! Prefix tuning (Li & Liang 2021): n learned keys and values in front of every layer's attention.
//!
//! A table `[n, 2 L w]` holds, for layer l, the keys in part 2l and the values in part 2l + 1 (w: width of all keys of a
//! layer). With a projection the table is made of a smaller one: `[n, w] -> linear -> tanh -> linear`.

use crate::adapter::PROMPT_ROOT;
use crate::encoder::{self, Network, Part, Table, linear_parts, prompt_keys, rows_of_the_file};
use crate::files::{ConfigFile, TensorFile};
use crate::limits::{self, need_count};
use crate::{Adapter, AdapterMethod, FileKeys, ModelShape, Result, Saved};
use clinpeft_autodiff::{Var, ops};
use clinpeft_nn::{AdapterHooks, Backbone, ForwardCtx, Parameter, Trainability};
use clinpeft_rng::Seed;
use clinpeft_tensor::Tensor;
use clinpeft_weights::TensorMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Where keys and values come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrefixSource {
    /// They are the parameters.
    Table,
    /// A network over a smaller table, with an inner width.
    Projection {
        /// Width inside.
        inner: usize,
    },
}

/// Settings of prefix tuning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrefixConfig {
    /// n.
    pub virtual_tokens: usize,
    /// Where keys and values come from.
    pub source: PrefixSource,
}

impl PrefixConfig {
    fn parts(&self, shape: &ModelShape) -> Vec<Part> {
        let (n, w, all) = (self.virtual_tokens, shape.key_width(), 2 * shape.layers * shape.key_width());
        let table = |width: usize| ("embedding.weight".to_string(), vec![n, width], Table::Normal);
        match self.source {
            PrefixSource::Table => vec![table(all)],
            PrefixSource::Projection { inner } => {
                let mut parts = vec![table(w)];
                parts.extend(linear_parts("transform.0", inner, w));
                parts.extend(linear_parts("transform.2", all, inner));
                parts
            }
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        need_count("virtual_tokens", self.virtual_tokens, limits::ROWS)?;
        match self.source {
            PrefixSource::Table => Ok(()),
            PrefixSource::Projection { inner } => need_count("inner", inner, limits::INNER),
        }
    }
}

/// A learned prefix.
#[derive(Debug, Clone)]
pub struct Prefix {
    config: PrefixConfig,
    shape: ModelShape,
    network: Network,
    files: FileKeys,
}

impl Prefix {
    /// A new prefix.
    pub fn new(config: PrefixConfig, shape: &ModelShape, seed: Seed, learning: Trainability) -> Result<Prefix> {
        config.check()?;
        let network = Network::new(&config.parts(shape), seed, learning)?;
        Ok(Prefix::of(config, shape, network, FileKeys::default()))
    }

    fn of(config: PrefixConfig, shape: &ModelShape, network: Network, files: FileKeys) -> Prefix {
        let shape = ModelShape { modules: Vec::new(), ..shape.clone() };
        Prefix { config, shape, network, files }
    }

    /// `[n, 2 L w]`.
    fn rows(&self) -> Result<Var> {
        let table = self.network.var("embedding.weight")?;
        if self.network.parameters().len() == 1 {
            return Ok(table.clone());
        }
        let inner = ops::tanh(&self.network.linear("transform.0", table)?)?;
        self.network.linear("transform.2", &inner)
    }

    fn pairs(&self) -> Result<Vec<(Var, Var)>> {
        let (n, layers, w) = (self.config.virtual_tokens, self.shape.layers, self.shape.key_width());
        let rows = self.rows()?;
        let device = rows.value().device();
        // One row for each token and part, so that a part of every token is a set of rows.
        let parts = rows.reshape(&[n * 2 * layers, w])?;
        let part = |number: usize| -> Result<Var> {
            let places: Vec<u32> = (0..n).map(|i| (i * 2 * layers + number) as u32).collect();
            let places = Tensor::from_vec(places, &[n])?.to_device(&device)?;
            Ok(ops::embedding(&parts, &places)?)
        };
        (0..layers).map(|l| Ok((part(2 * l)?, part(2 * l + 1)?))).collect()
    }
}

fn keys(config: &PrefixConfig, shape: &ModelShape) -> Map<String, Value> {
    let mut keys = prompt_keys("PREFIX_TUNING", config.virtual_tokens, shape);
    let mut set = |key: &str, value: Value| keys.insert(key.into(), value);
    set("token_dim", shape.key_width().into());
    set("num_attention_heads", shape.kv_heads.into());
    let inner = match config.source {
        PrefixSource::Table => shape.key_width(),
        PrefixSource::Projection { inner } => inner,
    };
    set("encoder_hidden_size", inner.into());
    set("prefix_projection", (config.source != PrefixSource::Table).into());
    keys
}

impl AdapterMethod for Prefix {
    const NAME: &'static str = "prefix";
    const PEFT_TYPE: &'static str = "PREFIX_TUNING";
    type Config = PrefixConfig;

    fn virtual_tokens(config: &PrefixConfig) -> usize {
        config.virtual_tokens
    }

    fn count(config: &PrefixConfig, shape: &ModelShape) -> Result<usize> {
        config.check()?;
        Ok(encoder::count(&config.parts(shape)))
    }

    fn build(config: PrefixConfig, backbone: &dyn Backbone, seed: Seed, learning: Trainability) -> Result<Prefix> {
        Prefix::new(config, &ModelShape::of(backbone), seed, learning)
    }

    fn load(
        mut config: ConfigFile,
        tensors: &TensorFile,
        shape: &ModelShape,
        learning: Trainability,
    ) -> Result<Prefix> {
        let n: usize = config.need("num_virtual_tokens")?;
        let inner: usize = config.get("encoder_hidden_size")?.unwrap_or(shape.key_width());
        let projected = config.get("prefix_projection")?.unwrap_or(false);
        let settings = PrefixConfig {
            virtual_tokens: n,
            source: if projected { PrefixSource::Projection { inner } } else { PrefixSource::Table },
        };
        settings.check()?;
        let rows = rows_of_the_file(&mut config, tensors, n, 2 * shape.layers * shape.key_width())?;
        let encoder = match settings.source {
            PrefixSource::Table => None,
            PrefixSource::Projection { .. } => Network::load(&settings.parts(shape), tensors, learning)?,
        };
        let network = encoder.unwrap_or_else(|| Network::of_rows(rows, learning));
        let files = config.finish(&keys(&settings, shape), tensors)?;
        Ok(Prefix::of(settings, shape, network, files))
    }
}

impl AdapterHooks for Prefix {
    fn keys_values(&self, _: &ForwardCtx) -> clinpeft_nn::Result<Option<Vec<(Var, Var)>>> {
        let pairs = self.pairs().map_err(|e| clinpeft_nn::Error::Adapter(e.to_string()))?;
        Ok(Some(pairs))
    }
}

impl Adapter for Prefix {
    fn method(&self) -> &'static str {
        Prefix::NAME
    }

    fn parameters(&self) -> Vec<&Parameter> {
        self.network.parameters()
    }

    fn parameters_mut(&mut self) -> Vec<&mut Parameter> {
        self.network.parameters_mut()
    }

    fn saved(&self) -> Result<Saved> {
        let encoder = if self.network.parameters().len() > 1 { self.network.tensors() } else { TensorMap::new() };
        let mut keys = keys(&self.config, &self.shape);
        if self.config.source == PrefixSource::Table {
            self.files.restore(&["encoder_hidden_size"], &mut keys);
        }
        Ok(Saved {
            peft_type: Prefix::PEFT_TYPE,
            keys,
            tensors: TensorMap::from([("prompt_embeddings".into(), self.rows()?.value().clone())]),
            encoder,
            head_prefix: PROMPT_ROOT,
        })
    }

    fn file_keys(&self) -> &FileKeys {
        &self.files
    }
}
