//! Runs that make a tiny base model, the stand-in of a published one.

use crate::error::{Error, Result};
use crate::models::family::Pretraining;
use crate::models::loading::{self, Model, NoteEncoder};
use crate::models::registry::Family;
use crate::run::context::Context;
use crate::run::record::{Number, Report, RunResult};
use crate::spec::{Base, BaseText, NewBase};
use clinpeft_bert::{Bert, MaskedHead};
use clinpeft_clinical::synth::prose::{biomedical, general, glossary};
use clinpeft_clinical::{CorpusSplit, NoteText, load_corpus};
use clinpeft_nn::{Backbone, ExtraTensors, Trainability};
use clinpeft_peft::Stack;
use clinpeft_rng::{Seed, shuffle};
use clinpeft_tensor::DType;
use clinpeft_text::{Packed, Special, Specials, Tokenizer, Truncation};
use clinpeft_train::{LanguageModelling, MaskedModelling, Masking, Objective};
use clinpeft_weights::Keep;

/// Enough text to choose a vocabulary from.
const VOCABULARY_PARAGRAPHS: u64 = 8000;

/// Trains a base model: a new one with its tokenizer, or a finished one further.
pub(crate) fn base(context: &mut Context<'_>) -> Result<Report> {
    let start = context.spec.base.clone();
    let (kinds, paragraphs) = match &start {
        Base::New(new) => (&new.text, new.paragraphs),
        Base::Further(further) => (&further.text, further.paragraphs),
        Base::Run { .. } | Base::Folder { .. } | Base::BagOfWords(_) => {
            return Err(Error::Options("a base run begins with a new model, or trains one further".into()));
        }
    };
    let writer = BaseTextSource::new(context, kinds)?;
    let text: Vec<String> = (0..paragraphs).map(|i| writer.paragraph(kinds, i)).collect();
    match start {
        Base::New(new) => match new.model.pretraining() {
            Pretraining::NextToken => new_causal(context, &new, &writer, &text),
            Pretraining::MaskedTokens => new_bert(context, &new, &writer, &text),
        },
        _ => further(context, &text),
    }
}

fn new_causal(context: &mut Context<'_>, new: &NewBase, writer: &BaseTextSource, text: &[String]) -> Result<Report> {
    let tokenizer = writer.vocabulary(new)?;
    let (config, init) = (new.model.tiny(new.sizes(tokenizer.vocab_size())), Seed(context.spec.seed).part("init"));
    let mut model = new.model.untrained(config, init, Trainability::Trainable)?;
    model.to_device(&context.control.device)?;
    causal(context, new.model, model, &tokenizer, text)
}

fn new_bert(context: &mut Context<'_>, new: &NewBase, writer: &BaseTextSource, text: &[String]) -> Result<Report> {
    let (tokenizer, init) = (writer.vocabulary(new)?, Seed(context.spec.seed).part("init"));
    let mut config =
        clinpeft_bert::Config::tiny(tokenizer.vocab_size(), new.width, new.layers, new.heads, new.positions);
    (config.hidden_dropout_prob, config.attention_probs_dropout_prob) = (new.dropout, new.dropout);
    let mut model = Bert::random(config, init, Trainability::Trainable)?;
    let mut head = MaskedHead::random(model.config(), init, Trainability::Trainable)?;
    let device = &context.control.device;
    model.to_device(device)?;
    head.parameters_mut().into_iter().try_for_each(|p| p.to_device(device)).map_err(clinpeft_nn::Error::from)?;
    masked(context, model, head, &tokenizer, text)
}

fn further(context: &mut Context<'_>, text: &[String]) -> Result<Report> {
    let folder = loading::base_folder(&context.store, &context.spec.base)?;
    if Family::of(&folder)?.pretraining() == Pretraining::NextToken {
        let Model { family, backbone, tokenizer, .. } =
            loading::model(&context.store, &context.spec, Trainability::Trainable, &context.control.device)?;
        return causal(context, family, backbone, &tokenizer, text);
    }
    let tokenizer = Tokenizer::load(&folder.join("tokenizer.json"))?;
    let (keep, device) = (Keep::As(DType::F32), &context.control.device);
    let (mut model, mut head) = (Bert::load(&folder, keep, device)?, MaskedHead::load(&folder, keep, device)?);
    let all = model.parameters_mut().into_iter().chain(head.parameters_mut());
    all.for_each(|p| p.set_trainability(Trainability::Trainable));
    masked(context, model, head, &tokenizer, text)
}

/// Learns the next token.
fn causal(
    context: &mut Context<'_>,
    family: Family,
    backbone: Box<dyn Backbone>,
    tokenizer: &Tokenizer,
    text: &[String],
) -> Result<Report> {
    let reader = NoteEncoder::new(family, tokenizer);
    let packed = reader.text(text.iter().map(String::as_str), &context.spec, None)?;
    let mut objective = LanguageModelling { backbone, stack: Stack::new(), data: packed.sequences.clone() };
    let report = learn(context, &mut objective, &packed)?;
    save(context, &*objective.backbone, tokenizer, ExtraTensors::default())?;
    Ok(report)
}

/// Learns what was masked.
fn masked(
    context: &mut Context<'_>,
    model: Bert,
    head: MaskedHead,
    tokenizer: &Tokenizer,
    text: &[String],
) -> Result<Report> {
    let [class, separator, mask] = [Special::Class, Special::Separator, Special::Mask].map(|s| tokenizer.special(s));
    let (class, separator, mask) = (class?, separator?, mask?);
    // Each piece of a text is a text of its own, with its special tokens.
    let bare = NoteEncoder { tokenizer, specials: Specials::None };
    let whole = bare.encode(text.iter().map(String::as_str), Truncation::None)?;
    let pieces = context.spec.tokens.packing.apply(&whole, context.spec.tokens.max_length.saturating_sub(2))?;
    let mut packed = Packed { documents: pieces.documents, count: pieces.count, ..Packed::default() };
    for piece in pieces.sequences.iter() {
        packed.sequences.push(&[&[class], piece, &[separator]].concat(), 0);
    }
    let masking = Masking { mask, specials: vec![class, separator], vocabulary: tokenizer.vocab_size() as u32 };
    let mut objective = MaskedModelling { model, head, stack: Stack::new(), data: packed.sequences.clone(), masking };
    let report = learn(context, &mut objective, &packed)?;
    let named = |p: &clinpeft_nn::Parameter| (p.name().to_string(), p.value().clone());
    let tensors = objective.head.parameters().into_iter().map(named).collect();
    let config = [("architectures".to_string(), serde_json::json!(["BertForPreTraining"]))].into();
    save(context, &objective.model, tokenizer, ExtraTensors { tensors, config })?;
    Ok(report)
}

fn learn<O: Objective>(context: &mut Context<'_>, objective: &mut O, data: &Packed) -> Result<Report> {
    let outcome = context.fit(objective, data.sequences.lengths(), None)?;
    let mut result = RunResult::new(&context.spec, &outcome);
    result.split = "train";
    result.metrics.insert("train_perplexity".into(), Number::exact(outcome.last_loss.exp()));
    result.trainable_parameters = objective.parameters().iter().map(|(_, p)| p.value().count()).sum();
    result.total_parameters = result.trainable_parameters;
    Ok(Report { result, base: None, id_key: None, kept: data.count.kept, dropped: data.count.dropped })
}

/// The model folder, whole or not at all.
fn save(context: &Context<'_>, model: &dyn Backbone, tokenizer: &Tokenizer, beside: ExtraTensors) -> Result<()> {
    let pending = clinpeft_files::commit_dir(&context.folder.file("model"), clinpeft_files::Access::Shared)?;
    model.save_with(pending.path(), beside)?;
    tokenizer.save(&pending.path().join("tokenizer.json"))?;
    Ok(pending.commit()?)
}

/// Where the text of a base model comes from.
struct BaseTextSource {
    seed: Seed,
    /// Notes to learn from, in an order of their own; empty where none are asked for.
    notes: Vec<NoteText>,
}

impl BaseTextSource {
    /// Notes are those of the adaptation corpus's training split alone, which holds none of a held-out patient.
    fn new(context: &Context<'_>, kinds: &[BaseText]) -> Result<BaseTextSource> {
        let seed = Seed(context.spec.seed).part("text");
        let mut notes = Vec::new();
        if kinds.iter().any(|k| k.is_of_notes()) {
            notes = load_corpus(&context.data()?, CorpusSplit::Train)?;
            shuffle(&mut notes, &mut seed.stream("notes"));
        }
        Ok(BaseTextSource { seed, notes })
    }

    /// Paragraph `i` of a text that takes its kinds in turn.
    fn paragraph(&self, kinds: &[BaseText], i: u64) -> String {
        let (turn, place) = (i as usize / kinds.len().max(1), i as usize % kinds.len().max(1));
        let note = || self.notes.get(turn % self.notes.len().max(1)).map_or("", NoteText::expose);
        match kinds.get(place) {
            None | Some(BaseText::General) => general::paragraph(self.seed, i),
            Some(BaseText::Biomedical) => biomedical::paragraph(self.seed, i),
            Some(BaseText::Glossary) => glossary::paragraph(self.seed, i),
            Some(BaseText::Capitals) => biomedical::paragraph(self.seed, i).to_uppercase(),
            Some(BaseText::Notes) => note().to_string(),
            Some(BaseText::Outcomes) => second_half(note()).to_string(),
        }
    }

    /// A vocabulary of the generated kinds. Never of notes: a vocabulary lists what it was made from word by word.
    fn vocabulary(&self, new: &NewBase) -> Result<Tokenizer> {
        let kinds: Vec<BaseText> = new.text.iter().copied().filter(|k| !k.is_of_notes()).collect();
        if kinds.is_empty() {
            let what = "a vocabulary is never made of notes\nhint: let the new base model read generated text too";
            return Err(Error::Options(what.into()));
        }
        let text = (0..new.paragraphs.min(VOCABULARY_PARAGRAPHS)).map(|i| self.paragraph(&kinds, i));
        Ok(Tokenizer::train(text, new.vocabulary, new.model.tokenizer())?)
    }
}

/// A note from its middle on: the course of the stay and how it ended.
fn second_half(note: &str) -> &str {
    let middle = note.len() / 2;
    let start = note.char_indices().find(|(i, c)| *i >= middle && c.is_whitespace());
    start.map_or("", |(i, _)| &note[i..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_half_begins_between_words() {
        assert_eq!(second_half("one two three four"), " four");
        assert_eq!(second_half("é é"), " é");
        assert_eq!(second_half("word"), "");
    }
}
