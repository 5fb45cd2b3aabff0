//! Runs that learn to continue notes: step 1.

use crate::error::Result;
use crate::models::loading::{self, Model, NoteEncoder, TokenCacheKey};
use crate::resources::memory::EVALUATION_TOKENS;
use crate::run::context::Context;
use crate::run::evaluation;
use crate::run::record::{Number, Report, RunResult};
use crate::spec::switches::PerplexityRule;
use clinpeft_clinical::{CorpusSplit, NoteText, load_corpus};
use clinpeft_metrics::{TextLoss, perplexity_watched};
use clinpeft_nn::Trainability;
use clinpeft_peft::{AdapterBundle, Stack};
use clinpeft_rng::Seed;
use clinpeft_text::{Packed, Sequences};
use clinpeft_train::{LanguageModelling, NoteLoss};
use std::sync::atomic::AtomicBool;

/// Step 1: an adapter that learns clinical notes.
pub(crate) fn adaptation(context: &mut Context<'_>) -> Result<Report> {
    let data = context.data()?;
    let device = context.control.device.clone();
    let Model { family, backbone, tokenizer, used } =
        loading::model(&context.store, &context.spec, Trainability::Frozen, &device)?;
    let mut tokens = |split: CorpusSplit| -> Result<Packed> {
        let notes = load_corpus(&data, split)?;
        let name = if split == CorpusSplit::Train { "train" } else { "test" };
        let part = format!("adaptation/{name}");
        let place = TokenCacheKey { store: &context.store, part, warn: &mut *context.control.warn };
        let reader = NoteEncoder::new(family, &tokenizer);
        reader.text(notes.iter().map(NoteText::expose), &context.spec, Some(place))
    };
    let (train_data, test_data) = (tokens(CorpusSplit::Train)?, tokens(CorpusSplit::Test)?);
    let stack = loading::stack(
        &context.store,
        &context.spec.stack,
        (&*backbone, &tokenizer),
        Seed(context.spec.seed).part("init"),
        &device,
    )?;
    let total = loading::total_parameters(&*backbone, &stack, 0);
    let plain = LanguageModelling { backbone, stack: Stack::new(), data: train_data.sequences.clone() };
    let before = losses(&plain, &test_data, context.control.stop)?;
    let mut objective = LanguageModelling { stack, ..plain };
    let trainable = objective.stack.trainable().iter().map(|(_, p)| p.value().count()).sum();
    let lengths = objective.data.lengths();
    let outcome = context.fit(&mut objective, lengths, None)?;
    let after = losses(&objective, &test_data, context.control.stop)?;
    let sample = first_documents(&train_data, test_data.sequences.len());
    let train_losses = losses(&objective, &sample, context.control.stop)?;
    let mut result = RunResult::new(&context.spec, &outcome);
    let notes: Vec<u64> = (0..after.len() as u64).collect();
    let estimate = match context.spec.switches.test_perplexity {
        PerplexityRule::AllTokens => {
            Number::from(&perplexity_watched(&after, &notes, &context.bootstrap(), &context.watch())?)
        }
        PerplexityRule::BatchMeans => Number::exact(batch_means(&after, context.spec.training.batch_sequences)),
    };
    result.metrics.insert("perplexity".into(), estimate);
    result.metrics.insert("perplexity_before".into(), Number::exact(clinpeft_metrics::perplexity(sum(&before))?));
    result.metrics.insert("train_perplexity".into(), Number::exact(clinpeft_metrics::perplexity(sum(&train_losses))?));
    result.n = after.len();
    (result.trainable_parameters, result.total_parameters) = (trainable, total);
    let nll: Vec<f64> = after.iter().map(|l| l.nll).collect();
    let counts: Vec<u32> = after.iter().map(|l| l.tokens as u32).collect();
    evaluation::write_losses(&context.folder.file("predictions.safetensors"), &context.spec, &nll, &counts)?;
    let bundle =
        AdapterBundle { stack: objective.stack.clone(), head: None, provenance: context.provenance(&used.hash)? };
    bundle.save(&context.folder.file("adapter"))?;
    let (kept, dropped) = (train_data.count.kept, train_data.count.dropped);
    Ok(Report { result, base: Some(used), id_key: None, kept, dropped })
}

/// Of so many training notes a trial holds one out, and learns from three.
const HELD_OUT: usize = 10;
const LEARNED: std::ops::Range<usize> = 1..4;

/// Step 1 with settings that are tried: learns from three tenths of the training notes and is scored on another tenth. The
/// test notes are not read.
pub(crate) fn trial(context: &mut Context<'_>) -> Result<Report> {
    let data = context.data()?;
    let device = context.control.device.clone();
    let Model { family, backbone, tokenizer, used } =
        loading::model(&context.store, &context.spec, Trainability::Frozen, &device)?;
    let notes = load_corpus(&data, CorpusSplit::Train)?;
    let reader = NoteEncoder::new(family, &tokenizer);
    let tokens = |places: std::ops::Range<usize>| -> Result<Packed> {
        let part = notes.iter().enumerate().filter(|(i, _)| places.contains(&(i % HELD_OUT)));
        reader.text(part.map(|(_, note)| note.expose()), &context.spec, None)
    };
    let (learn, judge) = (tokens(LEARNED)?, tokens(0..1)?);
    let init = Seed(context.spec.seed).part("init");
    let stack = loading::stack(&context.store, &context.spec.stack, (&*backbone, &tokenizer), init, &device)?;
    let mut objective = LanguageModelling { backbone, stack, data: learn.sequences.clone() };
    let lengths = objective.data.lengths();
    let outcome = context.fit(&mut objective, lengths, None)?;
    let found = losses(&objective, &judge, context.control.stop)?;
    let mut result = RunResult::new(&context.spec, &outcome);
    (result.split, result.n) = ("validation", found.len());
    result.validation_score = Some(-clinpeft_metrics::perplexity(sum(&found))?);
    Ok(Report { result, base: Some(used), id_key: None, kept: learn.count.kept, dropped: learn.count.dropped })
}

/// Loss of every document; a document's chunks are added up.
fn losses(model: &LanguageModelling, data: &Packed, stop: &AtomicBool) -> Result<Vec<TextLoss>> {
    let mut all = vec![TextLoss { nll: 0.0, tokens: 0 }; data.documents.iter().max().map_or(0, |d| d + 1)];
    for (NoteLoss { nll, predictions }, document) in
        model.evaluate(&data.sequences, EVALUATION_TOKENS, stop)?.into_iter().zip(&data.documents)
    {
        all[*document].nll += nll;
        all[*document].tokens += predictions as u64;
    }
    all.retain(|l| l.tokens > 0);
    Ok(all)
}

/// The documents of the first `sequences` sequences.
fn first_documents(data: &Packed, sequences: usize) -> Packed {
    let mut part = Sequences::default();
    for s in data.sequences.iter().take(sequences) {
        part.push(s, 0);
    }
    let documents = data.documents.iter().take(sequences).copied().collect();
    Packed { sequences: part, documents, count: data.count }
}

/// exp of the mean over batches of each batch's mean loss, as the published code has it.
fn batch_means(all: &[TextLoss], batch: usize) -> f64 {
    let means: Vec<f64> = all.chunks(batch.max(1)).map(sum).map(|l| l.nll / l.tokens.max(1) as f64).collect();
    (means.iter().sum::<f64>() / means.len().max(1) as f64).exp()
}

fn sum(all: &[TextLoss]) -> TextLoss {
    TextLoss { nll: all.iter().map(|l| l.nll).sum(), tokens: all.iter().map(|l| l.tokens).sum() }
}
