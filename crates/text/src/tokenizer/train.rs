//! Training a small vocabulary for the demonstration models.
//!
//! The merges are found by this crate ([`super::bpe`]). The tokenizer library's own trainer was seen to give another
//! vocabulary in every run once its alphabet is limited: among characters of equal counts it drops those that come first
//! in a hash map with a random seed. Nor can it keep merges from producing a special token.

use std::collections::BTreeMap;
use std::str::FromStr;

use tokenizers::{NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

use super::bpe::{self, Word};
use super::recipe::{self, TokenizerKind, Vocabulary};
use crate::{Error, Result};

/// A pair is merged if it occurs at least this often.
const LEAST_COUNT: i64 = 2;
/// At most this part of what the reserved tokens leave goes to single characters; rarer ones become bytes or unknown.
const ALPHABET_SHARE: usize = 4;

/// The `tokenizer.json` trained on `texts`.
pub(super) fn train<I>(texts: I, vocab_size: usize, kind: TokenizerKind) -> Result<String>
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    let words = count_words(texts, kind)?;
    let mut tokens: Vec<String> = reserved(kind);
    let reserved = tokens.len();
    let most = vocab_size.saturating_sub(reserved) / ALPHABET_SHARE;
    tokens.extend(alphabet(&words, kind, most));
    if tokens.len() > vocab_size {
        return Err(Error::SmallVocabulary { asked: vocab_size, needed: tokens.len() });
    }
    let ids: BTreeMap<&str, u32> = (0..).zip(&tokens).map(|(id, t)| (t.as_str(), id)).collect();
    let words: Vec<Word> = words
        .iter()
        .map(|(word, &count)| Word {
            // A character outside the alphabet splits the word: it can be part of no merge.
            parts: symbols(word, kind).map(|s| ids.get(s.as_str()).copied()).collect(),
            count,
        })
        .flat_map(Word::split_at_unknown)
        .collect();
    let trained = bpe::train(tokens, reserved, words, vocab_size, LEAST_COUNT, |a, b| join(a, b, kind));
    let vocabulary = Vocabulary {
        merges: trained
            .merges
            .iter()
            .map(|&(a, b)| (trained.tokens[a as usize].clone(), trained.tokens[b as usize].clone()))
            .collect(),
        tokens: trained.tokens,
    };
    Ok(recipe::json(kind, &vocabulary).to_string())
}

/// Words with the number of their occurrences, cut as the tokenizer will cut them.
fn count_words<I>(texts: I, kind: TokenizerKind) -> Result<BTreeMap<String, i64>>
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    let training = |e: tokenizers::Error| Error::Training { why: e.to_string() };
    let empty = Vocabulary { tokens: reserved(kind), merges: Vec::new() };
    let cutter = tokenizers::Tokenizer::from_str(&recipe::json(kind, &empty).to_string()).map_err(training)?;
    let mut words = BTreeMap::new();
    for (row, text) in texts.into_iter().enumerate() {
        // What the library says about a text may quote it.
        let hidden = |_| Error::Encode { row };
        let mut text = NormalizedString::from(text.as_ref());
        if let Some(normalizer) = cutter.get_normalizer() {
            normalizer.normalize(&mut text).map_err(hidden)?;
        }
        let mut text = PreTokenizedString::from(text);
        if let Some(pre_tokenizer) = cutter.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut text).map_err(hidden)?;
        }
        for (word, _, _) in text.get_splits(OffsetReferential::Original, OffsetType::None) {
            match words.get_mut(word) {
                Some(count) => *count += 1,
                None => {
                    words.insert(word.to_owned(), 1);
                }
            }
        }
    }
    Ok(words)
}

/// Tokens that exist before any text is seen, and that no merge may produce: special ones, then bytes.
fn reserved(kind: TokenizerKind) -> Vec<String> {
    let specials = recipe::specials(kind).iter().map(|&s| s.to_owned());
    match kind {
        TokenizerKind::ByteFallback => specials.chain((0..=255u8).map(|b| format!("<0x{b:02X}>"))).collect(),
        TokenizerKind::ByteLevel | TokenizerKind::WordPiece => specials.collect(),
    }
}

/// Single characters of the vocabulary, sorted: all bytes, or at most `most` of the most frequent characters.
fn alphabet(words: &BTreeMap<String, i64>, kind: TokenizerKind, most: usize) -> Vec<String> {
    if kind == TokenizerKind::ByteLevel {
        let mut bytes: Vec<char> = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet().into_iter().collect();
        bytes.sort_unstable();
        return bytes.into_iter().map(String::from).collect();
    }
    let mut counts = BTreeMap::new();
    for (word, count) in words {
        for symbol in symbols(word, kind) {
            *counts.entry(symbol).or_insert(0) += count;
        }
    }
    let mut kept: Vec<(String, i64)> = counts.into_iter().filter(|(_, count)| *count >= LEAST_COUNT).collect();
    kept.sort_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.cmp(b)));
    kept.truncate(most);
    let mut kept: Vec<String> = kept.into_iter().map(|(symbol, _)| symbol).collect();
    kept.sort_unstable();
    kept
}

/// The characters of a word as tokens.
fn symbols(word: &str, kind: TokenizerKind) -> impl Iterator<Item = String> {
    word.chars()
        .enumerate()
        .map(move |(i, c)| if kind == TokenizerKind::WordPiece && i > 0 { format!("##{c}") } else { c.to_string() })
}

/// The token that two tokens make.
fn join(a: &str, b: &str, kind: TokenizerKind) -> String {
    let b = match kind {
        TokenizerKind::WordPiece => b.strip_prefix("##").unwrap_or(b),
        TokenizerKind::ByteLevel | TokenizerKind::ByteFallback => b,
    };
    format!("{a}{b}")
}
