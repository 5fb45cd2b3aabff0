//! Prompt tuning (Lester et al. 2021): n learned rows in front of every embedded sequence.

use crate::adapter::PROMPT_ROOT;
use crate::encoder::{Table, prompt_keys, rows_of_the_file, table};
use crate::files::{ConfigFile, TensorFile};
use crate::limits::{self, need_count};
use crate::{Adapter, AdapterMethod, Error, FileKeys, ModelShape, Result, Saved};
use clinpeft_autodiff::Var;
use clinpeft_nn::{AdapterHooks, Backbone, ForwardCtx, Parameter, Trainability};
use clinpeft_rng::Seed;
use clinpeft_tensor::Tensor;
use clinpeft_weights::TensorMap;
use serde::{Deserialize, Serialize};

/// What the rows begin as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptStart {
    /// N(0, 1).
    Random,
    /// The embeddings of these tokens, repeated or cut to n.
    Tokens(Vec<u32>),
    /// The embeddings of this text's tokens; see [`crate::AdapterConfig::tokenized`].
    Text(String),
}

/// Settings of prompt tuning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptTuningConfig {
    /// n.
    pub virtual_tokens: usize,
    /// What the rows begin as.
    pub start: PromptStart,
}

impl PromptTuningConfig {
    pub(crate) fn check(&self) -> Result<()> {
        need_count("virtual_tokens", self.virtual_tokens, limits::ROWS)
    }
}

/// A learned prompt.
#[derive(Debug, Clone)]
pub struct PromptTuning {
    start: PromptStart,
    shape: ModelShape,
    rows: Parameter,
    files: FileKeys,
}

impl PromptTuning {
    /// A new prompt. Errors if n is zero, or a token is not in the vocabulary.
    pub fn new(
        config: PromptTuningConfig,
        backbone: &dyn Backbone,
        seed: Seed,
        learning: Trainability,
    ) -> Result<PromptTuning> {
        let (n, shape) = (config.virtual_tokens, ModelShape::of(backbone));
        config.check()?;
        let rows = match &config.start {
            PromptStart::Random => table(&[n, shape.width], Table::Normal, "embedding.weight", seed)?,
            PromptStart::Text(_) => {
                return Err(Error::Config("the text that a prompt begins as was not turned into tokens".into()));
            }
            PromptStart::Tokens(ids) if ids.is_empty() => {
                return Err(Error::Config(
                    "the text that a prompt begins as has no token\nhint: give a text, or `start = \"random\"`".into(),
                ));
            }
            PromptStart::Tokens(ids) => {
                let ids: Vec<u32> = ids.iter().copied().cycle().take(n).collect();
                backbone.embed(&ids)?
            }
        };
        Ok(PromptTuning {
            start: config.start,
            shape: ModelShape { modules: Vec::new(), ..shape },
            rows: Parameter::new("embedding.weight", rows, learning),
            files: FileKeys::default(),
        })
    }
}

impl AdapterMethod for PromptTuning {
    const NAME: &'static str = "prompt";
    const PEFT_TYPE: &'static str = "PROMPT_TUNING";
    type Config = PromptTuningConfig;

    fn virtual_tokens(config: &PromptTuningConfig) -> usize {
        config.virtual_tokens
    }

    fn count(config: &PromptTuningConfig, shape: &ModelShape) -> Result<usize> {
        config.check()?;
        Ok(config.virtual_tokens * shape.width)
    }

    fn build(
        config: PromptTuningConfig,
        backbone: &dyn Backbone,
        seed: Seed,
        learning: Trainability,
    ) -> Result<PromptTuning> {
        PromptTuning::new(config, backbone, seed, learning)
    }

    fn load(
        mut config: ConfigFile,
        tensors: &TensorFile,
        shape: &ModelShape,
        learning: Trainability,
    ) -> Result<PromptTuning> {
        let n: usize = config.need("num_virtual_tokens")?;
        PromptTuningConfig { virtual_tokens: n, start: PromptStart::Random }.check()?;
        let rows: Tensor = rows_of_the_file(&mut config, tensors, n, shape.width)?;
        let files = config.finish(&prompt_keys("PROMPT_TUNING", n, shape), tensors)?;
        Ok(PromptTuning {
            start: PromptStart::Random,
            shape: ModelShape { modules: Vec::new(), ..shape.clone() },
            rows: Parameter::new("embedding.weight", rows, learning),
            files,
        })
    }
}

impl AdapterHooks for PromptTuning {
    fn inputs(&self, _: &ForwardCtx) -> clinpeft_nn::Result<Option<Var>> {
        Ok(Some(self.rows.var().clone()))
    }
}

impl Adapter for PromptTuning {
    fn method(&self) -> &'static str {
        PromptTuning::NAME
    }

    fn parameters(&self) -> Vec<&Parameter> {
        vec![&self.rows]
    }

    fn parameters_mut(&mut self) -> Vec<&mut Parameter> {
        vec![&mut self.rows]
    }

    fn saved(&self) -> Result<Saved> {
        let n = self.rows.value().dims()[0];
        let mut keys = prompt_keys("PROMPT_TUNING", n, &self.shape);
        if self.start != PromptStart::Random {
            // PEFT would want the text and a tokenizer to read TEXT; the rows are in the file either way.
            keys.insert("prompt_tuning_init".into(), "RANDOM".into());
        }
        Ok(Saved {
            peft_type: PromptTuning::PEFT_TYPE,
            keys,
            tensors: TensorMap::from([("prompt_embeddings".into(), self.rows.value().clone())]),
            encoder: TensorMap::new(),
            head_prefix: PROMPT_ROOT,
        })
    }

    fn file_keys(&self) -> &FileKeys {
        &self.files
    }
}
