//! What a run reads: base model, tokenizer, tokens, adapters.

use crate::error::{Error, Result};
use crate::models::registry::Family;
use crate::resources::machine;
use crate::resources::memory;
use crate::resources::sizes::Sizes;
use crate::spec::switches::ClassWeights;
use crate::spec::{Base, RunSpec, StackEntry};
use crate::store::{RunState, Store};
use clinpeft_nn::{Backbone, PrepackChoice, PrepackMode, Trainability, prepack_weights};
use clinpeft_peft::{Activity, Adapter, ModelShape, Stack, load_adapter};
use clinpeft_rng::Seed;
use clinpeft_tensor::Device;
use clinpeft_text::{Cache, CacheKey, Encoder, Order, Packed, Sequences, Source, Specials, Tokenizer, Truncation};
use clinpeft_train::{BatchSchedule, MicroBatchSize};
use std::path::{Path, PathBuf};

/// A base model with its tokenizer.
pub(crate) struct Model {
    /// Its family.
    pub family: Family,
    /// The model.
    pub backbone: Box<dyn Backbone>,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// What manifests say of it.
    pub used: Used,
}

/// A base model as manifests name it.
pub(crate) struct Used {
    /// BLAKE3 of its configuration and weights.
    pub hash: String,
    /// Which orders of its weights are kept.
    pub packs: PrepackChoice,
}

/// The folder of the base model.
pub(crate) fn base_folder(store: &Store, base: &Base) -> Result<PathBuf> {
    match base {
        Base::Folder { folder } => Ok(folder.clone()),
        Base::Run { run } => finished(store, run, "model"),
        Base::Further(further) => finished(store, &further.run, "model"),
        Base::BagOfWords(_) => Err(Error::Options("a bag of words has no base model".into())),
        Base::New(_) => Err(Error::Options("this run needs a base model, not the sizes of a new one".into())),
    }
}

/// A folder that another run made.
fn finished(store: &Store, run: &str, part: &str) -> Result<PathBuf> {
    let folder = store.run(run);
    if folder.state()? != Some(RunState::Done) {
        return Err(Error::Options(format!("run `{run}` is not done\nhint: `clinpeft run` it first")));
    }
    Ok(folder.file(part))
}

/// Loads the base model of a run, all of it frozen or all of it to learn.
pub(crate) fn model(store: &Store, spec: &RunSpec, learning: Trainability, device: &Device) -> Result<Model> {
    let folder = base_folder(store, &spec.base)?;
    let family = Family::of(&folder)?;
    // A device says itself what it cannot hold.
    let left = if *device == Device::Cpu { check_memory(store, spec, &folder)? } else { 0 };
    let mut backbone = family.load(&folder, learning, Seed(spec.seed).part("init"), device)?;
    if learning == Trainability::Frozen {
        for p in backbone.parameters_mut() {
            let value = p.value().clone().with_precision(spec.training.precision.into());
            p.set_value(value);
        }
    }
    let policy = PrepackMode::Measured { rows: spec.training.micro_tokens, free: left };
    let packs = prepack_weights(&mut *backbone, policy)?;
    let tokenizer = Tokenizer::open(&folder)?;
    let words = backbone.vocabulary();
    if tokenizer.vocab_size() > words {
        return Err(Error::Options(format!(
            "`{}`: the tokenizer has {} entries, the model only {words}\nhint: tokenizer.json belongs to another model",
            folder.display(),
            tokenizer.vocab_size(),
        )));
    }
    let used = Used { hash: model_hash(&folder)?, packs };
    Ok(Model { family, backbone, tokenizer, used })
}

/// Refuses what cannot fit before anything of it is loaded; the bytes that the run leaves free. Systems that do not tell their
/// free memory are trusted, but for nothing more than the run needs.
fn check_memory(store: &Store, spec: &RunSpec, folder: &Path) -> Result<u64> {
    let Some(free) = machine::free() else { return Ok(0) };
    let sizes = Sizes::of_folder(folder)?;
    let made_by = |run: &str| store.run(run).spec().ok()?.stack.first()?.adapter.clone();
    let (learning, rows) = memory::adapters(spec, &sizes, made_by)?;
    memory::check(spec, &sizes, learning, rows, free)
}

/// BLAKE3 of the hashes of a model's configuration and weights, in the order of their names.
fn model_hash(folder: &Path) -> Result<String> {
    let mut files = clinpeft_files::walk(folder)?;
    files.retain(|f| f.extension().is_some_and(|e| e == "safetensors") || f.ends_with("config.json"));
    files.sort();
    let hashes: clinpeft_files::Result<Vec<String>> = files.iter().map(|f| clinpeft_files::hash_file(f)).collect();
    Ok(clinpeft_files::hash_bytes(hashes?.join("\n")))
}

/// The adapters of a run, for a model.
pub(crate) fn stack(
    store: &Store,
    entries: &[StackEntry],
    (backbone, tokenizer): (&dyn Backbone, &Tokenizer),
    seed: Seed,
    device: &Device,
) -> Result<Stack> {
    let mut stack = Stack::new();
    for e in entries {
        let learning = if e.trainable { Trainability::Trainable } else { Trainability::Frozen };
        let adapter: Box<dyn Adapter> = match (&e.from, &e.adapter) {
            (Some(run), None) => {
                let folder = finished(store, run, "adapter")?.join(&*e.name);
                load_adapter(&folder, &ModelShape::of(backbone), learning)?.adapter
            }
            (None, Some(config)) => {
                let config = config.clone().tokenized(|text| tokenizer.encode(text, Specials::None))?;
                config.build(backbone, seed.part(&e.name), learning)?
            }
            _ => {
                let what = format!("adapter `{}` needs either `from` or its own settings", e.name);
                return Err(Error::Options(what));
            }
        };
        stack.push(&e.name, adapter, if e.active { Activity::Active } else { Activity::Inactive })?;
    }
    stack.to_device(device)?;
    Ok(stack)
}

/// Where encoded notes are kept, so that they are encoded once for all runs.
pub(crate) struct TokenCacheKey<'a> {
    /// The store.
    pub store: &'a Store,
    /// Which notes of the dataset, for example `mortality/train`.
    pub part: String,
    /// Told of a damaged file, which is made again.
    pub warn: &'a mut dyn FnMut(&str),
}

/// A tokenizer and what it puts around a text.
#[derive(Clone, Copy)]
pub(crate) struct NoteEncoder<'a> {
    /// The tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// Special tokens before and after.
    pub specials: Specials,
}

impl<'a> NoteEncoder<'a> {
    /// The reader of a family's models.
    pub fn new(family: Family, tokenizer: &'a Tokenizer) -> NoteEncoder<'a> {
        NoteEncoder { tokenizer, specials: family.specials() }
    }

    /// Tokens of notes, cut to the run's length.
    pub fn notes<'n>(
        self,
        notes: impl Iterator<Item = &'n str>,
        spec: &RunSpec,
        kept: TokenCacheKey<'_>,
    ) -> Result<Sequences> {
        self.cached(notes, Truncation::First { length: spec.tokens.max_length }, spec, kept)
    }

    /// Tokens of notes for language modelling: cut, or split into several sequences.
    pub fn text<'n>(
        self,
        notes: impl Iterator<Item = &'n str>,
        spec: &RunSpec,
        kept: Option<TokenCacheKey<'_>>,
    ) -> Result<Packed> {
        let whole = match kept {
            Some(kept) => self.cached(notes, Truncation::None, spec, kept)?,
            None => self.encode(notes, Truncation::None)?,
        };
        Ok(spec.tokens.packing.apply(&whole, spec.tokens.max_length)?)
    }

    fn cached<'n>(
        self,
        notes: impl Iterator<Item = &'n str>,
        truncation: Truncation,
        spec: &RunSpec,
        kept: TokenCacheKey<'_>,
    ) -> Result<Sequences> {
        let data = format!("{}/{}", spec.data_hash.as_deref().unwrap_or_default(), kept.part);
        let key = CacheKey::new(self.tokenizer, self.specials, truncation, &data);
        let cache = Cache::new(kept.store.tokens());
        let (sequences, source) = cache.load_or(&key, || self.encode(notes, truncation))?;
        if let Source::Rebuilt { why } = source {
            (kept.warn)(&format!("`{}` is damaged: {why}\nthe notes are encoded again", cache.path(&key).display()));
        }
        Ok(sequences)
    }

    /// Tokens of texts.
    pub fn encode<'n>(self, notes: impl Iterator<Item = &'n str>, truncation: Truncation) -> Result<Sequences> {
        let mut encoder = Encoder::new(self.tokenizer, self.specials, truncation)?;
        let mut block = Vec::with_capacity(1024);
        for note in notes {
            block.push(note);
            if block.len() == 1024 {
                encoder.push(&block)?;
                block.clear();
            }
        }
        encoder.push(&block)?;
        Ok(encoder.finish())
    }
}

/// Batches of every epoch: steps of `batch_sequences` rows, each cut into micro-batches of at most `micro_tokens`.
pub(crate) fn batches(lengths: Vec<usize>, spec: &RunSpec) -> Result<BatchSchedule> {
    let cut = match spec.switches.class_weights {
        ClassWeights::WholeStep => MicroBatchSize::Tokens(spec.training.micro_tokens),
        // What is divided in each micro-batch depends on how the step is cut.
        ClassWeights::MicroBatch => MicroBatchSize::Sequences(spec.micro_sequences()),
    };
    let order = (Order::Shuffled, Seed(spec.seed).part("order"));
    Ok(BatchSchedule::new(lengths, order, spec.training.epochs, spec.training.batch_sequences, cut)?)
}

/// Number of all weights: base, adapters, and a head if there is one.
pub(crate) fn total_parameters(backbone: &dyn Backbone, stack: &Stack, head: usize) -> usize {
    backbone.parameter_count() + stack.status(None).iter().map(|s| s.parameters).sum::<usize>() + head
}
