//! `run.toml`: every switch of one run.

mod limits;
pub mod overrides;
pub mod switches;

use crate::error::{Error, Result};
use crate::models::family::TinySizes;
use crate::models::registry::Family;
use crate::spec::switches::{ClassWeights, EpochRule, ScheduleRule, Switches};
use clinpeft_clinical::Task;
use clinpeft_clinical::prepare::Fidelity;
use clinpeft_nn::Checkpointing;
use clinpeft_peft::AdapterName;
use clinpeft_tensor::Precision;
use clinpeft_text::Packing;
use clinpeft_train::{LossReduction, OptimizerSettings, Rate, Selection, Settings, Warmup};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Trains a tiny base model from nothing.
    Base,
    /// Step 1: adapts a base model to clinical notes.
    Adaptation,
    /// Step 2: a task.
    Downstream,
    /// One of the two with settings that are tried: the test split is not read. Without a task it is an adaptation.
    Trial,
}

/// Every switch of one run, resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// What it does.
    pub kind: Kind,
    /// The table it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u8>,
    /// The row of that table.
    pub row: String,
    /// The task of a downstream run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// Root seed of the run.
    pub seed: u64,
    /// Preset of the rules.
    pub fidelity: Fidelity,
    /// Dataset folder below `<out>/data`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// BLAKE3 of that folder's manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_hash: Option<String>,
    /// Behaviours in which the published code differs; see [`Switches`].
    pub switches: Switches,
    /// The rules that the dataset was made by, as its manifest names them; they cannot be changed here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data_rules: BTreeMap<String, String>,
    /// Resamples of the confidence intervals.
    pub bootstrap_resamples: usize,
    /// The base model.
    pub base: Base,
    /// Whether the base model learns too (full fine-tuning).
    #[serde(default, skip_serializing_if = "is_default")]
    pub full: bool,
    /// How text becomes tokens; absent for a bag of words.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tokens: Tokens,
    /// How to train; absent for a bag of words.
    #[serde(default, skip_serializing_if = "is_default")]
    pub training: Training,
    /// Adapters in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stack: Vec<StackEntry>,
}

/// What is as it would be without the key is not written, so that a new key does not rename the runs that lack it.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Where the base model comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "source", rename_all = "snake_case")]
pub enum Base {
    /// Trained by this run.
    New(NewBase),
    /// The base of another run, trained further by this one.
    Further(FurtherBase),
    /// Trained by another run.
    Run {
        /// Its folder below `<out>/runs`.
        run: String,
    },
    /// A Hugging Face folder.
    Folder {
        /// The folder.
        folder: PathBuf,
    },
    /// None: TF-IDF and logistic regression.
    BagOfWords(BagOfWords),
}

/// TF-IDF of words and pairs of words, and L2 logistic regression on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BagOfWords {
    /// Training notes in which a term must occur.
    pub min_df: u32,
    /// Terms at most: the most frequent ones.
    pub max_features: usize,
    /// Inverse strengths of the regularisation that the validation split chooses from, rising.
    pub c: Vec<f64>,
}

/// A tiny model to be trained on generated text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewBase {
    /// Its family.
    #[serde(default, skip_serializing_if = "is_default")]
    pub model: Family,
    /// Which text; paragraphs are taken from these kinds in turn.
    pub text: Vec<BaseText>,
    /// How much of it.
    pub paragraphs: u64,
    /// Entries of the vocabulary.
    pub vocabulary: usize,
    /// Width of the model.
    pub width: usize,
    /// Its layers.
    pub layers: usize,
    /// Its heads.
    pub heads: usize,
    /// Longest sequence.
    pub positions: usize,
    /// Share that a BERT drops in training.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dropout: f64,
}

impl NewBase {
    /// Its sizes, with a vocabulary of so many entries.
    pub(crate) fn sizes(&self, vocabulary: usize) -> TinySizes {
        let NewBase { width, layers, heads, positions, .. } = *self;
        TinySizes { vocabulary, width, layers, heads, positions }
    }
}

/// A base model to be trained further, with its tokenizer as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FurtherBase {
    /// The run that made it, below `<out>/runs`; in a profile, the name of the base.
    pub run: String,
    /// Which text; paragraphs are taken from these kinds in turn.
    pub text: Vec<BaseText>,
    /// How much of it.
    pub paragraphs: u64,
}

/// Text that a tiny base model is trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaseText {
    /// Everyday English.
    General,
    /// In the manner of medical abstracts.
    Biomedical,
    /// Pages that name the same things several times, conditions in several words.
    Glossary,
    /// Abstracts in capitals, as headings are written.
    Capitals,
    /// Notes of the data's adaptation corpus, its training split.
    Notes,
    /// The same from their middle on: the course of the stay and how it ended.
    Outcomes,
}

impl BaseText {
    /// Whether it comes from the data, not from a grammar.
    pub(crate) fn is_of_notes(self) -> bool {
        matches!(self, BaseText::Notes | BaseText::Outcomes)
    }
}

/// How text becomes tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// Longest sequence; the first tokens of a note are kept.
    pub max_length: usize,
    /// What becomes of longer notes.
    pub packing: Packing,
}

/// No tokens: only a bag of words goes without.
impl Default for Tokens {
    fn default() -> Tokens {
        Tokens { max_length: 0, packing: Packing::None }
    }
}

/// How to train. The default trains nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Share of the steps in which the rate rises.
    pub warmup_ratio: f64,
    /// Passes over the data.
    pub epochs: u64,
    /// Sequences of one optimizer step.
    pub batch_sequences: usize,
    /// Tokens that are run at once; a step is cut into micro-batches of at most so many.
    pub micro_tokens: usize,
    /// Sequences that are run at once where the class weights are divided in each micro-batch; a whole step if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micro_sequences: Option<usize>,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Largest norm of the gradient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<f64>,
    /// Epochs without a better score after which training stops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<u64>,
    /// What is kept for the backward pass.
    pub memory: MemoryPolicy,
    /// How exact matrix products with frozen weights are.
    #[serde(default)]
    pub precision: PrecisionPolicy,
}

/// How exact matrix products with frozen weights are; everything else is f32 in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrecisionPolicy {
    /// Every product of two f32 is rounded once.
    StrictF32,
    /// Errors of the size of f32, by the fastest unit of the machine.
    #[default]
    F32,
    /// Operands are rounded to bf16.
    Bf16,
}

impl From<PrecisionPolicy> for Precision {
    fn from(policy: PrecisionPolicy) -> Precision {
        match policy {
            PrecisionPolicy::StrictF32 => Precision::StrictF32,
            PrecisionPolicy::F32 => Precision::F32,
            PrecisionPolicy::Bf16 => Precision::Bf16,
        }
    }
}

/// What is kept for the backward pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryPolicy {
    /// Everything.
    #[default]
    Keep,
    /// The inputs of the layers (gradient checkpointing).
    Recompute,
}

/// One adapter of a stack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StackEntry {
    /// Its name in the stack.
    pub name: AdapterName,
    /// The run that made it, below `<out>/runs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Whether it learns.
    pub trainable: bool,
    /// Whether it takes part.
    pub active: bool,
    /// The settings of a new adapter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<AdapterSpec>,
}

/// A method with its settings.
pub type AdapterSpec = clinpeft_peft::AdapterConfig;

impl RunSpec {
    /// Reads `run.toml`.
    pub fn load(path: &Path) -> Result<RunSpec> {
        let text = clinpeft_files::read_text(path)?;
        let spec: RunSpec =
            toml::from_str(&text).map_err(|e| Error::Config { path: path.into(), what: e.to_string() })?;
        spec.check().map_err(|what| Error::Config { path: path.into(), what })?;
        Ok(spec)
    }

    /// The text of `run.toml`.
    pub fn text(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| Error::Options(format!("run cannot be written as TOML: {e}")))
    }

    /// Name of its folder: readable, then the hash of its text.
    pub fn folder_name(&self) -> Result<String> {
        let hash = clinpeft_files::hash_bytes(self.text()?);
        let task = self.task.map(|t| format!("-{t}")).unwrap_or_default();
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }
        };
        let mut row: String = self.row.chars().map(plain).collect();
        while row.contains("--") {
            row = row.replace("--", "-");
        }
        let trial = if self.kind == Kind::Trial { "trial-" } else { "" };
        Ok(format!("{trial}{}{task}-seed{}-{}", row.trim_matches('-'), self.seed, &hash[..12]))
    }

    /// Calls the runs that it reads by other names.
    pub(crate) fn rename_runs(&mut self, names: &BTreeMap<String, String>) {
        let base = match &mut self.base {
            Base::Run { run } => Some(run),
            Base::Further(further) => Some(&mut further.run),
            Base::New(_) | Base::Folder { .. } | Base::BagOfWords(_) => None,
        };
        for run in base.into_iter().chain(self.stack.iter_mut().filter_map(|e| e.from.as_mut())) {
            if let Some(name) = names.get(run) {
                run.clone_from(name);
            }
        }
    }

    /// Sequences of one micro-batch where it is counted so.
    pub(crate) fn micro_sequences(&self) -> usize {
        self.training.micro_sequences.unwrap_or(self.training.batch_sequences).max(1)
    }

    /// The settings of the training loop.
    pub fn settings(&self, checkpoint_every: Duration) -> Settings {
        let t = &self.training;
        Settings {
            learning_rate: t.learning_rate,
            rate: match self.switches.schedule {
                ScheduleRule::WarmupAndDecay => Rate::WarmupAndDecay(Warmup::Ratio(t.warmup_ratio)),
                ScheduleRule::Published => Rate::Published,
            },
            reduction: match self.switches.class_weights {
                ClassWeights::WholeStep => LossReduction::WholeStep,
                ClassWeights::MicroBatch => {
                    LossReduction::MicroBatch { full: t.batch_sequences.div_ceil(self.micro_sequences()) }
                }
            },
            optimizer: OptimizerSettings {
                beta1: 0.9,
                beta2: 0.999,
                eps: 1e-8,
                weight_decay: t.weight_decay,
                clip: t.clip,
            },
            selection: match (self.kind, self.switches.selection) {
                (Kind::Downstream | Kind::Trial, EpochRule::BestAuroc | EpochRule::LowestLoss)
                    if self.task.is_some() =>
                {
                    Selection::BestValidation
                }
                _ => Selection::LastEpoch,
            },
            patience: t.patience,
            memory: match t.memory {
                MemoryPolicy::Keep => Checkpointing::None,
                MemoryPolicy::Recompute => Checkpointing::Full,
            },
            seed: clinpeft_rng::Seed(self.seed).part("training"),
            log_every: 10,
            checkpoint_every,
        }
    }
}
