//! Every method by name: settings, making, counting, loading.

use crate::files::{ConfigFile, TensorFile};
use crate::{
    AdaLora, AdaLoraConfig, AdaptationPrompt, AdaptationPromptConfig, Adapter, AdapterMethod, Dora, FamilyTargets, Ia3,
    Ia3Config, Lora, LoraConfig, ModelShape, PTuning, PTuningConfig, Prefix, PrefixConfig, PromptStart, PromptTuning,
    PromptTuningConfig, Result, TaskType,
};
use clinpeft_nn::{Backbone, Trainability};
use clinpeft_rng::Seed;
use clinpeft_weights::{TensorMap, nearest};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Makes, of one list of methods, the enum of their settings and all that is chosen by it.
macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident($method:ty, $config:ty),)+) => {
        /// Settings of any method; in files, `method` says which.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "method", rename_all = "snake_case")]
        pub enum AdapterConfig {
            $($(#[$doc])* $name($config),)+
        }

        impl AdapterConfig {
            /// The name of every method.
            pub const NAMES: &'static [&'static str] = &[$(<$method>::NAME),+];

            /// A new adapter for a model. Errors if the model lacks what the settings name.
            pub fn build(&self, backbone: &dyn Backbone, seed: Seed, learning: Trainability) -> Result<Box<dyn Adapter>> {
                match self.clone() {
                    $(AdapterConfig::$name(c) => Ok(Box::new(<$method>::build(c, backbone, seed, learning)?)),)+
                }
            }

            /// Number of parameters of such an adapter; makes none of them. Errors if a setting is out of its range, or names
            /// a layer that the model lacks.
            pub fn count(&self, shape: &ModelShape) -> Result<usize> {
                match self {
                    $(AdapterConfig::$name(c) => <$method>::count(c, shape),)+
                }
            }

            /// Rows that it puts in front of every sequence, as inputs or as keys and values.
            pub fn virtual_tokens(&self) -> usize {
                match self {
                    $(AdapterConfig::$name(c) => <$method>::virtual_tokens(c),)+
                }
            }

            /// Puts the layers of another model family in the place of the targets, where the method has any.
            pub fn retarget(&mut self, layers: FamilyTargets) {
                match self {
                    $(AdapterConfig::$name(c) => <$method>::retarget(c, layers),)+
                }
            }
        }

        /// The adapter of a folder.
        fn load_method(
            mut config: ConfigFile,
            tensors: &TensorFile,
            shape: &ModelShape,
            learning: Trainability,
        ) -> Result<Box<dyn Adapter>> {
            let kind: String = config.need("peft_type")?;
            $(if kind == <$method>::PEFT_TYPE && <$method>::recognizes(&mut config)? {
                return Ok(Box::new(<$method>::load(config, tensors, shape, learning)?));
            })+
            let near = nearest(&kind, [$(<$method>::PEFT_TYPE),+]).unwrap_or_default();
            let kind = kind.escape_debug();
            Err(config.wrong(format!("unknown `peft_type` {kind}\nhint: the nearest known one is {near}")))
        }
    };
}

methods! {
    /// Low-rank adaptation.
    Lora(Lora, LoraConfig),
    /// Weight-decomposed low-rank adaptation.
    Dora(Dora, LoraConfig),
    /// Low-rank adaptation whose ranks fall where they matter least.
    Adalora(AdaLora, AdaLoraConfig),
    /// Prefix tuning.
    Prefix(Prefix, PrefixConfig),
    /// Prompt tuning.
    Prompt(PromptTuning, PromptTuningConfig),
    /// P-tuning.
    PTuning(PTuning, PTuningConfig),
    /// Adaptation prompt.
    AdaptationPrompt(AdaptationPrompt, AdaptationPromptConfig),
    /// Infused adapter by inhibiting and amplifying inner activations.
    Ia3(Ia3, Ia3Config),
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

/// Loads a PEFT folder, whatever its method. Errors if the method is unknown, a key or tensor is not understood, or the
/// adapter is for another model.
pub fn load_adapter(dir: &Path, shape: &ModelShape, learning: Trainability) -> Result<Loaded> {
    let config = ConfigFile::open(dir)?;
    let tensors = TensorFile::open(dir)?;
    let task = config.task();
    let adapter = load_method(config, &tensors, shape, learning)?;
    let head = tensors.finish(adapter.saved()?.head_prefix)?;
    Ok(Loaded { adapter, head, task })
}
