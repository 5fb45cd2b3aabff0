//! `tokenizer.model`: byte-pair encoding as SentencePiece writes it (Kudo & Richardson 2018), which LLaMA comes with.
//!
//! SentencePiece joins the two neighbours whose joined piece has the highest score, the leftmost first. The library here
//! wants a list of merges instead: every cut of a piece into two pieces, in the order of scores.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::path::Path;

use prost::Message;

use super::recipe::{self, Vocabulary};
use super::{Tokenizer, guard};
use crate::error::shown;
use crate::{Error, Result};

/// No piece is longer: finding its cuts takes the square of its length.
const LONGEST_PIECE: usize = 1000;

/// The fields that are needed of `sentencepiece_model.proto`; absent ones have the defaults written there.
#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<Piece>,
    #[prost(message, optional, tag = "2")]
    trainer: Option<Trainer>,
    #[prost(message, optional, tag = "3")]
    normalizer: Option<Normalizer>,
}

#[derive(Clone, PartialEq, Message)]
struct Piece {
    #[prost(string, tag = "1")]
    text: String,
    #[prost(float, tag = "2")]
    score: f32,
    #[prost(int32, optional, tag = "3", default = "1")]
    kind: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct Trainer {
    #[prost(int32, optional, tag = "3", default = "1")]
    model_type: Option<i32>,
    #[prost(bool, tag = "24")]
    whitespace_as_suffix: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Normalizer {
    #[prost(bytes = "vec", tag = "2")]
    character_map: Vec<u8>,
    #[prost(bool, optional, tag = "3", default = "true")]
    dummy_prefix: Option<bool>,
    #[prost(bool, optional, tag = "4", default = "true")]
    remove_extra_whitespaces: Option<bool>,
    #[prost(bool, optional, tag = "5", default = "true")]
    escape_whitespaces: Option<bool>,
}

const UNIGRAM: i32 = 1;
const BYTE_PAIRS: i32 = 2;

const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const BYTE: i32 = 6;

/// Reads a `tokenizer.model`.
pub(super) fn load(path: &Path) -> Result<Tokenizer> {
    let bytes = guard::read(path)?;
    convert(&bytes).and_then(Tokenizer::from_json).map_err(|why| Error::NotATokenizer { path: path.into(), why })
}

/// The `tokenizer.json` of the same vocabulary.
fn convert(bytes: &[u8]) -> Result<String, String> {
    let model = Model::decode(bytes).map_err(|_| "it is damaged, or not of SentencePiece")?;
    check(&model)?;
    let vocabulary =
        Vocabulary { merges: merges(&model.pieces), tokens: model.pieces.iter().map(|p| p.text.clone()).collect() };
    let special = model.pieces.iter().enumerate().filter(|(_, p)| matches!(p.kind(), UNKNOWN | CONTROL));
    let special: Vec<(&str, usize)> = special.map(|(id, p)| (p.text.as_str(), id)).collect();
    Ok(recipe::sentence_piece(&special, &vocabulary).to_string())
}

/// Errors if the file does not cut text in LLaMA's way.
fn check(model: &Model) -> Result<(), String> {
    let trainer = model.trainer.clone().unwrap_or_default();
    let normalizer = model.normalizer.clone().unwrap_or_default();
    match trainer.model_type() {
        BYTE_PAIRS => {}
        UNIGRAM => return Err("it is a unigram model, only byte-pair encoding is known".into()),
        _ => return Err("it is a model of words or characters, only byte-pair encoding is known".into()),
    }
    for (differs, what) in [
        (!normalizer.character_map.is_empty(), "it replaces characters before it cuts"),
        (!normalizer.dummy_prefix(), "it puts no space in front of a text"),
        (normalizer.remove_extra_whitespaces(), "it drops spaces"),
        (!normalizer.escape_whitespaces(), "it has no mark for spaces"),
        (trainer.whitespace_as_suffix, "its pieces end with spaces"),
    ] {
        if differs {
            return Err(format!("{what}, which LLaMA does not"));
        }
    }
    let mut seen = HashMap::new();
    for (id, piece) in model.pieces.iter().enumerate() {
        if !matches!(piece.kind(), NORMAL | UNKNOWN | CONTROL | BYTE) {
            return Err(format!("piece {id} is user-defined or unused, which LLaMA has none of"));
        }
        if piece.text.is_empty() || piece.text.len() > LONGEST_PIECE {
            return Err(format!("piece {id} is empty or longer than {LONGEST_PIECE} bytes"));
        }
        if let Some(first) = seen.insert(&piece.text, id) {
            return Err(format!("pieces {first} and {id} are both `{}`", shown(&piece.text)));
        }
    }
    match model.pieces.iter().any(|p| p.kind() == UNKNOWN && p.text == "<unk>") {
        true => Ok(()),
        false => Err("it has no piece `<unk>`".into()),
    }
}

/// Every cut of a piece into two, the highest score first. Pieces that are no text take no part: else a note could spell
/// them.
fn merges(pieces: &[Piece]) -> Vec<(String, String)> {
    let normal = || pieces.iter().enumerate().filter(|(_, p)| p.kind() == NORMAL);
    let ids: HashMap<&str, usize> = normal().map(|(id, p)| (p.text.as_str(), id)).collect();
    let mut all = Vec::new();
    for (_, piece) in normal() {
        let cuts = piece.text.char_indices().skip(1).map(|(at, _)| piece.text.split_at(at));
        let mut cuts: Vec<_> = cuts.filter_map(|(l, r)| Some((*ids.get(l)?, *ids.get(r)?, l, r))).collect();
        cuts.sort_unstable();
        all.extend(cuts.into_iter().map(|(_, _, l, r)| (piece.score, l, r)));
    }
    // Equal scores: as transformers has them.
    let characters = |text: &str| Reverse(text.chars().count());
    all.sort_by(|a, b| {
        let lengths = |(_, l, r): &(f32, &str, &str)| (characters(l), characters(r));
        b.0.total_cmp(&a.0).then_with(|| lengths(a).cmp(&lengths(b)))
    });
    all.into_iter().map(|(_, l, r)| (l.into(), r.into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        let piece = |text: &str, score: f32, kind| Piece { text: text.into(), score, kind: Some(kind) };
        Model {
            pieces: vec![
                piece("<unk>", 0.0, UNKNOWN),
                piece("</s>", 0.0, CONTROL),
                piece("aab", -1.0, NORMAL),
                piece("aa", -2.0, NORMAL),
                piece("ab", -2.0, NORMAL),
                piece("a", -3.0, NORMAL),
                piece("b", -4.0, NORMAL),
            ],
            trainer: Some(Trainer { model_type: Some(BYTE_PAIRS), ..Default::default() }),
            normalizer: Some(Normalizer { remove_extra_whitespaces: Some(false), ..Default::default() }),
        }
    }

    #[test]
    fn merges_are_the_cuts_of_pieces_by_score() {
        let pairs = [("aa", "b"), ("a", "ab"), ("a", "a"), ("a", "b")];
        assert_eq!(merges(&model().pieces), pairs.map(|(l, r)| (l.to_string(), r.to_string())));
    }

    #[test]
    fn what_llama_does_not_do_is_refused_by_name() {
        let said = |change: fn(&mut Model)| {
            let mut model = model();
            change(&mut model);
            convert(&model.encode_to_vec()).unwrap_err()
        };
        assert!(convert(&model().encode_to_vec()).is_ok());
        assert!(said(|m| m.trainer = None).contains("unigram"));
        assert!(said(|m| m.normalizer = None).contains("it drops spaces"));
        assert!(said(|m| m.normalizer.as_mut().unwrap().character_map = vec![1]).contains("replaces characters"));
        assert!(said(|m| m.normalizer.as_mut().unwrap().dummy_prefix = Some(false)).contains("no space in front"));
        assert!(said(|m| m.trainer.as_mut().unwrap().whitespace_as_suffix = true).contains("end with spaces"));
        assert!(said(|m| m.pieces[3].kind = Some(4)).contains("piece 3 is user-defined"));
        assert!(said(|m| m.pieces[3].text = "a".into()).contains("pieces 3 and 5 are both `a`"));
        assert!(said(|m| m.pieces[0].text = "<x>".into()).contains("no piece `<unk>`"));
    }
}
