//! Every method by name: settings, making, counting, loading.

use crate::files::{ConfigFile, TensorFile};
use crate::{
    AdaLora, AdaLoraConfig, AdaptationPrompt, AdaptationPromptConfig, Adapter, Dora, Error, Lora, LoraConfig,
    ModelShape, PTuning, PTuningConfig, Prefix, PrefixConfig, PromptStart, PromptTuning, PromptTuningConfig, Result,
    TaskType,
};
use clinpeft_nn::{Backbone, Trainability};
use clinpeft_rng::Seed;
use clinpeft_weights::{TensorMap, nearest};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Settings of any method; in files, `method` says which.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum AdapterConfig {
    /// Low-rank adaptation.
    Lora(LoraConfig),
    /// Weight-decomposed low-rank adaptation.
    Dora(LoraConfig),
    /// Low-rank adaptation whose ranks fall where they matter least.
    Adalora(AdaLoraConfig),
    /// Prefix tuning.
    Prefix(PrefixConfig),
    /// Prompt tuning.
    Prompt(PromptTuningConfig),
    /// P-tuning.
    PTuning(PTuningConfig),
    /// Adaptation prompt.
    AdaptationPrompt(AdaptationPromptConfig),
}

impl AdapterConfig {
    /// The same with texts as the tokens that `encode` makes of them, without special tokens.
    pub fn tokenized<E>(
        self,
        encode: impl FnOnce(&str) -> std::result::Result<Vec<u32>, E>,
    ) -> std::result::Result<Self, E> {
        match self {
            AdapterConfig::Prompt(PromptTuningConfig { virtual_tokens, start: PromptStart::Text(text) }) => {
                let start = PromptStart::Tokens(encode(&text)?);
                Ok(AdapterConfig::Prompt(PromptTuningConfig { virtual_tokens, start }))
            }
            other => Ok(other),
        }
    }

    /// A new adapter for a model. Errors if the model lacks what the settings name.
    pub fn build(&self, backbone: &dyn Backbone, seed: Seed, learning: Trainability) -> Result<Box<dyn Adapter>> {
        let shape = ModelShape::of(backbone);
        Ok(match self.clone() {
            AdapterConfig::Lora(c) => Box::new(Lora::new(c, &shape.sites, seed, learning)?),
            AdapterConfig::Dora(c) => Box::new(Dora::new(c, backbone, seed, learning)?),
            AdapterConfig::Adalora(c) => Box::new(AdaLora::new(c, &shape.sites, seed, learning)?),
            AdapterConfig::Prefix(c) => Box::new(Prefix::new(c, &shape, seed, learning)?),
            AdapterConfig::Prompt(c) => Box::new(PromptTuning::new(c, backbone, seed, learning)?),
            AdapterConfig::PTuning(c) => Box::new(PTuning::new(c, &shape, seed, learning)?),
            AdapterConfig::AdaptationPrompt(c) => Box::new(AdaptationPrompt::new(c, &shape, seed, learning)?),
        })
    }

    /// Errors if a setting is not finite, is zero, or is above its limit; what of it depends on the layers of a model is
    /// checked there.
    fn check(&self, shape: &ModelShape) -> Result<()> {
        match self {
            AdapterConfig::Lora(_) | AdapterConfig::Dora(_) | AdapterConfig::Adalora(_) => Ok(()),
            AdapterConfig::Prefix(c) => c.check(),
            AdapterConfig::Prompt(c) => c.check(),
            AdapterConfig::PTuning(c) => c.check(),
            AdapterConfig::AdaptationPrompt(c) => c.check(shape),
        }
    }

    /// Number of parameters of such an adapter; makes none of them. Errors if a setting cannot be.
    pub fn count(&self, shape: &ModelShape) -> Result<usize> {
        self.check(shape)?;
        match self {
            AdapterConfig::Lora(c) => c.count(&shape.sites),
            AdapterConfig::Dora(c) => Dora::count(c, &shape.sites),
            AdapterConfig::Adalora(c) => c.count(&shape.sites),
            AdapterConfig::Prefix(c) => Ok(c.count(shape)),
            AdapterConfig::Prompt(c) => Ok(c.count(shape)),
            AdapterConfig::PTuning(c) => Ok(c.count(shape)),
            AdapterConfig::AdaptationPrompt(c) => Ok(c.count(shape)),
        }
    }
}

/// An adapter from a folder.
#[derive(Debug)]
pub struct Loaded {
    /// The adapter.
    pub adapter: Box<dyn Adapter>,
    /// Tensors of a head saved with it, under their names in the model.
    pub head: TensorMap,
    /// What it was trained for, if the file says so.
    pub task: Option<TaskType>,
}

/// Loads a PEFT folder, whatever its method. Errors if the method is not known, a key or tensor is not understood, or the
/// adapter is for another model.
pub fn load_adapter(dir: &Path, shape: &ModelShape, learning: Trainability) -> Result<Loaded> {
    let mut config = ConfigFile::open(dir)?;
    let tensors = TensorFile::open(dir)?;
    let task = config.task();
    let kind: String = config.need("peft_type")?;
    let adapter: Box<dyn Adapter> = match kind.as_str() {
        "LORA" if config.get("use_dora")? == Some(true) => Box::new(Dora::load(config, &tensors, shape, learning)?),
        "LORA" => Box::new(Lora::load(config, &tensors, shape, learning)?),
        "ADALORA" => Box::new(AdaLora::load(config, &tensors, shape, learning)?),
        "PREFIX_TUNING" => Box::new(Prefix::load(config, &tensors, shape, learning)?),
        "PROMPT_TUNING" => Box::new(PromptTuning::load(config, &tensors, shape, learning)?),
        "P_TUNING" => Box::new(PTuning::load(config, &tensors, shape, learning)?),
        "ADAPTION_PROMPT" => Box::new(AdaptationPrompt::load(config, &tensors, shape, learning)?),
        other => return Err(unknown(&config, other)),
    };
    let head = tensors.finish(adapter.saved()?.head_prefix)?;
    Ok(Loaded { adapter, head, task })
}

fn unknown(config: &ConfigFile, kind: &str) -> Error {
    let known = ["LORA", "ADALORA", "PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING", "ADAPTION_PROMPT"];
    let near = nearest(kind, known).unwrap_or_default();
    let kind = kind.escape_debug();
    config.wrong(format!("`peft_type` {kind} is not known\nhint: the nearest known one is {near}"))
}
