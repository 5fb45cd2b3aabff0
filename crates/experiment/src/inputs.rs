//! What a run reads: base model, tokenizer, tokens, adapters.

use crate::switches::ClassWeights;
use crate::{Base, Error, Result, RunSpec, RunState, StackEntry, Store};
use clinpeft_llama::Llama;
use clinpeft_nn::{Backbone, Learning};
use clinpeft_peft::{Activity, Adapter, ModelShape, Stack, load_adapter};
use clinpeft_rng::Seed;
use clinpeft_tensor::Device;
use clinpeft_text::{Cache, CacheKey, Encoder, Packed, Sequences, Specials, Tokenizer, Truncation};
use clinpeft_weights::Keep;
use std::path::PathBuf;

/// A base model with its tokenizer.
pub(crate) struct Model {
    /// The model, frozen.
    pub backbone: Llama,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// BLAKE3 of its configuration and weights.
    pub hash: String,
}

/// The folder of the base model.
fn base_folder(store: &Store, base: &Base) -> Result<PathBuf> {
    match base {
        Base::Folder { folder } => Ok(folder.clone()),
        Base::Run { run } => finished(store, run, "model"),
        Base::Further(further) => finished(store, &further.run, "model"),
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

/// Loads the base model of a run.
pub(crate) fn model(store: &Store, spec: &RunSpec) -> Result<Model> {
    let folder = base_folder(store, &spec.base)?;
    let backbone = Llama::load(&folder, Keep::Stored, &Device::Cpu)?;
    let tokenizer = Tokenizer::load(&folder.join("tokenizer.json"))?;
    if tokenizer.vocab_size() > backbone.config().vocab_size {
        return Err(Error::Options(format!(
            "`{}`: the tokenizer has {} entries, the model only {}\nhint: tokenizer.json belongs to another model",
            folder.display(),
            tokenizer.vocab_size(),
            backbone.config().vocab_size
        )));
    }
    let hash = clinpeft_files::hash_file(&folder.join("config.json"))?;
    Ok(Model { backbone, tokenizer, hash })
}

/// The adapters of a run, for a model.
pub(crate) fn stack(store: &Store, entries: &[StackEntry], backbone: &dyn Backbone, seed: Seed) -> Result<Stack> {
    let mut stack = Stack::new();
    for e in entries {
        let learning = if e.trainable { Learning::Trainable } else { Learning::Frozen };
        let adapter: Box<dyn Adapter> = match (&e.from, &e.adapter) {
            (Some(run), None) => {
                let folder = finished(store, run, "adapter")?.join(&e.name);
                load_adapter(&folder, &ModelShape::of(backbone), learning)?.adapter
            }
            (None, Some(config)) => config.build(backbone, seed.part(&e.name), learning)?,
            _ => {
                let what = format!("adapter `{}` needs either `from` or its own settings", e.name);
                return Err(Error::Options(what));
            }
        };
        stack.push(&e.name, adapter, if e.active { Activity::Active } else { Activity::Inactive })?;
    }
    Ok(stack)
}

/// Where encoded notes are kept, so that they are encoded once for all runs.
pub(crate) struct Kept<'a> {
    /// The store.
    pub store: &'a Store,
    /// Which notes of the dataset, for example `mortality/train`.
    pub part: String,
}

/// Tokens of notes, each begun with the begin-of-sequence token and cut to the run's length.
pub(crate) fn note_tokens<'a>(
    notes: impl Iterator<Item = &'a str>,
    tokenizer: &Tokenizer,
    spec: &RunSpec,
    kept: &Kept<'_>,
) -> Result<Sequences> {
    cached(notes, tokenizer, Truncation::First { length: spec.tokens.max_length }, spec, kept)
}

/// Tokens of notes for language modelling: cut, or split into several sequences.
pub(crate) fn text_tokens<'a>(
    notes: impl Iterator<Item = &'a str>,
    tokenizer: &Tokenizer,
    spec: &RunSpec,
    kept: Option<&Kept<'_>>,
) -> Result<Packed> {
    let whole = match kept {
        Some(kept) => cached(notes, tokenizer, Truncation::None, spec, kept)?,
        None => encode(notes, tokenizer, Truncation::None)?,
    };
    Ok(spec.tokens.packing.apply(&whole, spec.tokens.max_length)?)
}

fn cached<'a>(
    notes: impl Iterator<Item = &'a str>,
    tokenizer: &Tokenizer,
    truncation: Truncation,
    spec: &RunSpec,
    kept: &Kept<'_>,
) -> Result<Sequences> {
    let data = format!("{}/{}", spec.data_hash.as_deref().unwrap_or_default(), kept.part);
    let key = CacheKey::new(tokenizer, Specials::Bos, truncation, &data);
    let (sequences, _) = Cache::new(kept.store.tokens()).load_or(&key, || encode(notes, tokenizer, truncation))?;
    Ok(sequences)
}

fn encode<'a>(
    notes: impl Iterator<Item = &'a str>,
    tokenizer: &Tokenizer,
    truncation: Truncation,
) -> Result<Sequences> {
    let mut encoder = Encoder::new(tokenizer, Specials::Bos, truncation)?;
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

/// Batches of every epoch: steps of `batch_sequences` rows, each cut into micro-batches of at most `micro_tokens`.
pub(crate) fn batches(lengths: &[usize], spec: &RunSpec) -> Result<clinpeft_train::Plan> {
    use clinpeft_text::{BatchSize, Order, plan};
    let size = BatchSize::Sequences(spec.training.batch_sequences);
    let seed = Seed(spec.seed).part("order");
    let epoch = |e: u64| -> Result<Vec<Vec<Vec<usize>>>> {
        let steps = plan(lengths, Order::Shuffled, size, seed, e)?;
        let cut = |rows: Vec<usize>| match spec.switches.class_weights {
            ClassWeights::WholeStep => micro_batches(rows, lengths, spec.training.micro_tokens),
            // What is divided in each micro-batch depends on how the step is cut.
            ClassWeights::MicroBatch => rows.chunks(spec.micro_sequences()).map(<[usize]>::to_vec).collect(),
        };
        Ok(steps.into_iter().map(cut).collect())
    };
    (0..spec.training.epochs).map(epoch).collect()
}

fn micro_batches(rows: Vec<usize>, lengths: &[usize], limit: usize) -> Vec<Vec<usize>> {
    let mut all: Vec<Vec<usize>> = vec![vec![]];
    let mut filled = 0;
    for r in rows {
        if filled > 0 && filled + lengths[r] > limit {
            all.push(vec![]);
            filled = 0;
        }
        filled += lengths[r];
        if let Some(last) = all.last_mut() {
            last.push(r);
        }
    }
    all
}

/// Number of all weights: base, adapters, and a head if there is one.
pub(crate) fn total_parameters(backbone: &dyn Backbone, stack: &Stack, head: usize) -> usize {
    backbone.parameter_count() + stack.status(None).iter().map(|s| s.parameters).sum::<usize>() + head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn micro_batches_keep_order_and_limit() {
        let lengths = [5, 5, 5, 20, 1];
        let m = micro_batches(vec![3, 0, 1, 2, 4], &lengths, 11);
        assert_eq!(m, [vec![3], vec![0, 1], vec![2, 4]]);
    }
}
