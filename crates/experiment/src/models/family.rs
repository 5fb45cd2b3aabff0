//! What runs need to know of a model family.

use crate::error::Result;
use crate::spec::switches::PoolingRule;
use clinpeft_nn::{Backbone, Classifier, Pooling, TargetModule, Trainability};
use clinpeft_peft::{FamilyTargets, ModelShape};
use clinpeft_rng::{Seed, Stream};
use clinpeft_tensor::Device;
use clinpeft_text::{Special, Specials, Tokenizer, TokenizerKind};
use clinpeft_train::Padding;
use clinpeft_weights::{Keep, TensorMap};
use serde_json::Value;
use std::path::Path;

/// What the models of a family learn before anybody adapts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pretraining {
    /// The next token: a note is scored from its last one.
    NextToken,
    /// Masked tokens: a note is scored from its first one, through the pooler.
    MaskedTokens,
}

/// Sizes of a tiny model to be made.
#[derive(Debug, Clone, Copy)]
pub struct TinySizes {
    /// Entries of the vocabulary.
    pub vocabulary: usize,
    /// Width of a row.
    pub width: usize,
    /// Layers.
    pub layers: usize,
    /// Heads.
    pub heads: usize,
    /// Longest sequence.
    pub positions: usize,
}

/// What a configuration says of a model without making it.
#[derive(Debug, Clone)]
pub struct ConfigSizes {
    /// What adapters see of it.
    pub shape: ModelShape,
    /// Weights.
    pub parameters: usize,
    /// Width inside the feed-forward part.
    pub inner: usize,
    /// Entries of the vocabulary.
    pub vocabulary: usize,
}

/// A model family: loading, conversion, targets of adapters, memory, tokens. The list is in `registry.rs`.
pub trait ModelFamily: Sync {
    /// `model_type` of `config.json`.
    fn model_type(&self) -> &'static str;

    /// What Hugging Face's classes begin with, for example `Llama`.
    fn class(&self) -> &'static str;

    /// What its models learn first.
    fn pretraining(&self) -> Pretraining;

    /// Loads a folder. A pooler that it lacks is made from `seed` if it learns; otherwise a folder without one is an error, for
    /// one that never learns would score by chance.
    fn read(
        &self,
        folder: &Path,
        keep: Keep,
        learning: Trainability,
        seed: Seed,
        device: &Device,
    ) -> Result<Box<dyn Backbone>>;

    /// Errors if the `config.json` of a folder is none of this family.
    fn check(&self, folder: &Path) -> Result<()>;

    /// What the content of a `config.json` says.
    fn sizes(&self, config: Value) -> Result<ConfigSizes, String>;

    /// The content of `config.json` of a tiny model.
    fn tiny(&self, sizes: TinySizes) -> Value;

    /// An untrained model of the content of a `config.json`.
    fn untrained(&self, config: Value, seed: Seed, learning: Trainability) -> Result<Box<dyn Backbone>>;

    /// How its vocabularies are made here.
    fn tokenizer(&self) -> TokenizerKind;

    /// What surrounds a note.
    fn specials(&self) -> Specials;

    /// Whether its head has a bias.
    fn head_has_bias(&self) -> bool {
        self.pretraining() == Pretraining::MaskedTokens
    }

    /// The name that transformers has for a tensor today; `None` for tables that follow from the configuration.
    fn tensor_name(&self, old: &str) -> Option<String>;

    /// What the names of tensors that a model here may read begin with.
    fn tensor_prefixes(&self) -> &'static [&'static str];

    /// Values of one token that the backward pass reads of one layer of width `d` if only adapters learn, beside those of
    /// attention and with `inner` values inside the feed-forward part: inputs of normalisations and of what is trained.
    fn saved_values(&self, d: u64, inner: u64) -> u64;

    /// The same if the whole model learns.
    fn saved_values_in_full(&self, d: u64, inner: u64) -> u64;

    /// Target modules of low-rank adapters, where they are not those of the profile.
    fn targets(&self) -> Option<FamilyTargets> {
        None
    }
}

impl dyn ModelFamily {
    /// Loads a folder, all of it frozen or all of it to learn. What learns is kept in f32.
    pub(crate) fn load(
        &self,
        folder: &Path,
        learning: Trainability,
        seed: Seed,
        device: &Device,
    ) -> Result<Box<dyn Backbone>> {
        let keep = match learning {
            Trainability::Frozen => Keep::Stored,
            Trainability::Trainable => Keep::As(clinpeft_tensor::DType::F32),
        };
        let mut model = self.read(folder, keep, learning, seed, device)?;
        model.parameters_mut().into_iter().for_each(|p| p.set_trainability(learning));
        Ok(model)
    }

    /// Which row stands for a note.
    pub(crate) fn pooling(&self, rule: PoolingRule) -> Pooling {
        match (self.pretraining(), rule) {
            (Pretraining::NextToken, PoolingRule::LastToken) => Pooling::LastToken,
            (Pretraining::NextToken, PoolingRule::LastPosition) => Pooling::LastPosition,
            (Pretraining::MaskedTokens, _) => Pooling::FirstToken,
        }
    }

    /// The pad token that the pooling sees, if it sees any.
    pub(crate) fn padding(&self, rule: PoolingRule, tokenizer: &Tokenizer, length: usize) -> Result<Option<Padding>> {
        Ok(match self.pooling(rule) {
            Pooling::LastPosition => Some(Padding { id: tokenizer.special(Special::End)?, length }),
            _ => None,
        })
    }

    /// A new head: weights from N(0, 0.02), and a bias of zeros where the family has one.
    pub(crate) fn classifier(&self, classes: usize, width: usize, rng: &mut Stream) -> Result<Classifier> {
        let head = Classifier::new(classes, width, rng)?;
        Ok(if self.head_has_bias() { head.with_zero_bias()? } else { head })
    }

    /// Hugging Face's class of the model with a head, and the head's tensors.
    pub(crate) fn classifier_files(&self, head: &Classifier) -> (String, TensorMap) {
        let tensors = head.parameters().map(|p| (p.name().to_string(), p.value().clone())).collect();
        (format!("{}ForSequenceClassification", self.class()), tensors)
    }

    /// Whether a model here may read a tensor of that name.
    pub(crate) fn reads_tensor(&self, name: &str) -> bool {
        self.tensor_prefixes().iter().any(|prefix| name.starts_with(prefix))
    }
}

/// What adapters see of a model; `heads` are those of queries, those of keys and values, and their width.
pub(crate) fn shape(
    width: usize,
    layers: usize,
    (heads, kv_heads, head_width): (usize, usize, usize),
    modules: Vec<TargetModule>,
) -> ModelShape {
    ModelShape { width, layers, heads, kv_heads, head_width, modules }
}
