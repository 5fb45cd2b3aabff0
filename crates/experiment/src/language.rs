//! Runs that learn to continue text: a tiny base model, and step 1.

use crate::inputs::{self, Kept, Model};
use crate::run::{Context, Number, Report, RunResult};
use crate::spec::BaseText;
use crate::switches::PerplexityRule;
use crate::{Base, Error, Result, predictions};
use clinpeft_clinical::{CorpusSplit, NoteText, load_corpus};
use clinpeft_llama::{Config, Llama};
use clinpeft_metrics::{TextLoss, perplexity_with_interval};
use clinpeft_nn::{Backbone, Learning};
use clinpeft_peft::{Stack, Unit};
use clinpeft_rng::Seed;
use clinpeft_text::{Kind as TokenizerKind, Packed, Sequences, Tokenizer, biomedical, general};
use clinpeft_train::{Fit, LanguageModelling, NoteLoss, Outcome, fit};
use std::collections::BTreeMap;

/// Tokens run at once where nothing is kept.
const EVALUATION_TOKENS: usize = 4096;

/// Enough text to choose a vocabulary from.
const VOCABULARY_PARAGRAPHS: usize = 8000;

/// Trains a base model: a new one with its tokenizer, or a finished one further.
pub(crate) fn base(context: &mut Context<'_>) -> Result<Report> {
    let seed = Seed(context.spec.seed);
    let text = |kinds: &[BaseText], count: u64| -> Vec<String> {
        (0..count).map(|i| paragraph(kinds, seed.part("text"), i)).collect()
    };
    let (mut model, tokenizer, text) = match context.spec.base.clone() {
        Base::New(new) => {
            let text = text(&new.text, new.paragraphs);
            let seen = text.len().min(VOCABULARY_PARAGRAPHS);
            let tokenizer = Tokenizer::train(&text[..seen], new.vocabulary, TokenizerKind::ByteFallback)?;
            let config = Config::tiny(tokenizer.vocab_size(), new.width, new.layers, new.heads, new.positions);
            (Llama::random(config, seed.part("init"), Learning::Trainable)?, tokenizer, text)
        }
        Base::Further(further) => {
            let Model { mut backbone, tokenizer, .. } = inputs::model(&context.store, &context.spec)?;
            backbone.parameters_mut().into_iter().for_each(|p| p.set_learning(Learning::Trainable));
            (backbone, tokenizer, text(&further.text, further.paragraphs))
        }
        Base::Run { .. } | Base::Folder { .. } => {
            return Err(Error::Options("a base run begins with a new model, or trains one further".into()));
        }
    };
    let packed = inputs::text_tokens(text.iter().map(String::as_str), &tokenizer, &context.spec, None)?;
    let total = model.parameter_count();
    let mut objective =
        LanguageModelling { backbone: Box::new(model.clone()), stack: Stack::new(), data: packed.sequences };
    let outcome = train(context, &mut objective)?;
    for (to, from) in model.parameters_mut().into_iter().zip(objective.backbone.parameters()) {
        to.set_value(from.value().clone());
    }
    let pending = clinpeft_files::commit_dir(&context.folder.file("model"))?;
    model.save(pending.path())?;
    tokenizer.save(&pending.path().join("tokenizer.json"))?;
    pending.commit()?;
    let mut result = RunResult::new(&context.spec, &outcome);
    result.split = "train";
    result.metrics.insert("train_perplexity".into(), number(outcome.last_loss.exp()));
    (result.trainable_parameters, result.total_parameters) = (total, total);
    Ok(Report { result, base_hash: None, kept: packed.count.kept, dropped: packed.count.dropped })
}

/// Paragraph `i` of a text that takes its kinds in turn.
fn paragraph(kinds: &[BaseText], seed: Seed, i: u64) -> String {
    match kinds.get(i as usize % kinds.len().max(1)) {
        None | Some(BaseText::General) => general::paragraph(seed, i),
        Some(BaseText::Biomedical) => biomedical::paragraph(seed, i),
        Some(BaseText::Capitals) => biomedical::paragraph(seed, i).to_uppercase(),
    }
}

/// Step 1: an adapter that learns clinical notes.
pub(crate) fn adaptation(context: &mut Context<'_>) -> Result<Report> {
    let data = context.data()?;
    let Model { backbone, tokenizer, hash } = inputs::model(&context.store, &context.spec)?;
    let tokens = |split: CorpusSplit| -> Result<Packed> {
        let notes = load_corpus(&data, split)?;
        let name = if split == CorpusSplit::Train { "train" } else { "test" };
        let place = Kept { store: &context.store, part: format!("adaptation/{name}") };
        inputs::text_tokens(notes.iter().map(NoteText::expose), &tokenizer, &context.spec, Some(&place))
    };
    let (train_data, test_data) = (tokens(CorpusSplit::Train)?, tokens(CorpusSplit::Test)?);
    let stack = inputs::stack(&context.store, &context.spec.stack, &backbone, Seed(context.spec.seed).part("init"))?;
    let total = inputs::total_parameters(&backbone, &stack, 0);
    let data = train_data.sequences.clone();
    let mut objective = LanguageModelling { backbone: Box::new(backbone), stack, data };
    let trainable = objective.stack.trainable().iter().map(|(_, p)| p.value().count()).sum();
    let before = {
        let plain = LanguageModelling {
            backbone: Box::new(inputs::model(&context.store, &context.spec)?.backbone),
            stack: Stack::new(),
            data: Sequences::default(),
        };
        losses(&plain, &test_data)?
    };
    let outcome = train(context, &mut objective)?;
    let after = losses(&objective, &test_data)?;
    let sample = first_documents(&train_data, test_data.sequences.len());
    let train_losses = losses(&objective, &sample)?;
    let mut result = RunResult::new(&context.spec, &outcome);
    let notes: Vec<u64> = (0..after.len() as u64).collect();
    let estimate = match context.spec.switches.test_perplexity {
        PerplexityRule::AllTokens => Number::from(&perplexity_with_interval(&after, &notes, &context.bootstrap())?),
        PerplexityRule::BatchMeans => number(batch_means(&after, context.spec.training.batch_sequences)),
    };
    result.metrics.insert("perplexity".into(), estimate);
    result.metrics.insert("perplexity_before".into(), number(clinpeft_metrics::perplexity(sum(&before))?));
    result.metrics.insert("train_perplexity".into(), number(clinpeft_metrics::perplexity(sum(&train_losses))?));
    result.n = after.len();
    (result.trainable_parameters, result.total_parameters) = (trainable, total);
    let nll: Vec<f64> = after.iter().map(|l| l.nll).collect();
    let counts: Vec<u32> = after.iter().map(|l| l.tokens as u32).collect();
    predictions::write_losses(&context.folder.file("predictions.safetensors"), &context.spec, &nll, &counts)?;
    let unit = Unit { stack: objective.stack.clone(), head: None, provenance: provenance(context, &hash)? };
    unit.save(&context.folder.file("adapter"))?;
    let (kept, dropped) = (train_data.count.kept, train_data.count.dropped);
    Ok(Report { result, base_hash: Some(hash), kept, dropped })
}

/// Where a saved unit comes from.
pub(crate) fn provenance(context: &Context<'_>, base_hash: &str) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::from([
        ("run".to_string(), context.folder.name()),
        ("base".to_string(), base_hash.to_string()),
        ("use".to_string(), "trained on clinical notes: keep it under the terms of their data use agreement".into()),
    ]);
    if let Some(hash) = &context.spec.data_hash {
        all.insert("data".into(), hash.clone());
    }
    Ok(all)
}

fn train(context: &mut Context<'_>, objective: &mut LanguageModelling) -> Result<Outcome> {
    let plan = inputs::batches(&objective.data.lengths(), &context.spec)?;
    let (checkpoint, events) = (context.checkpoint(), context.folder.file("events.jsonl"));
    let run = Fit {
        plan: &plan,
        settings: context.spec.settings(context.control.checkpoint_every),
        checkpoint: &checkpoint,
        events: &events,
        validate: None,
        observe: context.control.observe,
        stop: context.control.stop,
    };
    let outcome = fit(objective, run)?;
    if outcome.finished { Ok(outcome) } else { Err(Error::Stopped) }
}

/// Loss of every document; a document's chunks are added up.
fn losses(model: &LanguageModelling, data: &Packed) -> Result<Vec<TextLoss>> {
    let mut all = vec![TextLoss { nll: 0.0, tokens: 0 }; data.documents.iter().max().map_or(0, |d| d + 1)];
    for (NoteLoss { nll, predictions }, document) in
        model.evaluate(&data.sequences, EVALUATION_TOKENS)?.into_iter().zip(&data.documents)
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

fn number(value: f64) -> Number {
    Number { value, lo: None, hi: None }
}
