//! The tokenizer: Hugging Face's format and merges, special tokens by policy.

mod bpe;
mod folder;
mod guard;
mod recipe;
mod sentence_piece;
mod special;
mod train;

pub use recipe::TokenizerKind;
pub use special::{Special, Specials};

use std::path::Path;
use std::str::FromStr;

use clinpeft_files::{hash_bytes, write_atomic};

use crate::error::shown;
use crate::{Error, Result};

/// A `tokenizer.json`, read, converted or trained.
///
/// Truncation, padding and automatic special tokens that the file may ask for are switched off: this crate's policies
/// decide. Text that spells a special token (`</s>`, `[MASK]`) is encoded as ordinary text.
#[derive(Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    json: String,
    hash: String,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer").field("vocab_size", &self.vocab_size()).field("hash", &self.hash).finish()
    }
}

impl Tokenizer {
    /// Reads a `tokenizer.json`. Errors if it asks for what no published one needs: strings of more than 4 KiB in the parts that
    /// cut text, replacements that make a text more than 16 times as long, expressions whose search may not end.
    pub fn load(path: &Path) -> Result<Self> {
        let json = guard::read_text(path)?;
        guard::check(&json)
            .and_then(|()| Self::from_json(json))
            .map_err(|why| Error::NotATokenizer { path: path.into(), why })
    }

    /// Writes the `tokenizer.json`, whole or not at all: for a loaded tokenizer, the very bytes that were read.
    pub fn save(&self, path: &Path) -> Result<()> {
        Ok(write_atomic(path, &self.json)?)
    }

    /// Trains a vocabulary of at most `vocab_size` tokens on `texts`.
    ///
    /// The result depends on the multiset of the texts alone: not on their order, threads or hash seeds.
    pub fn train<I>(texts: I, vocab_size: usize, kind: TokenizerKind) -> Result<Self>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let json = train::train(texts, vocab_size, kind)?;
        Self::from_json(json).map_err(|why| Error::Training { why })
    }

    fn from_json(json: String) -> Result<Self, String> {
        let parsed = guard::caught(|| tokenizers::Tokenizer::from_str(&json));
        let mut inner = parsed.ok_or("the library panics when it reads it")?.map_err(|e| shown(&e.to_string()))?;
        if let tokenizers::ModelWrapper::BPE(model) = inner.get_model()
            && model.dropout.is_some_and(|rate| rate > 0.0)
        {
            return Err("its merges are dropped at random, so a text has no one encoding".into());
        }
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|e| e.to_string())?;
        inner.set_encode_special_tokens(true);
        let hash = hash_bytes(&json);
        Ok(Self { inner, json, hash })
    }

    /// The token ids of `text` (at most 16 MiB), with the special tokens that `specials` names.
    pub fn encode(&self, text: &str, specials: Specials) -> Result<Vec<u32>> {
        let (leading, trailing) = self.special_ids(specials)?;
        let body = self.encode_body(text, 0)?;
        Ok(leading.into_iter().chain(body).chain(trailing).collect())
    }

    /// The token ids of `text` alone. `row` is for the error message.
    pub(crate) fn encode_body(&self, text: &str, row: usize) -> Result<Vec<u32>> {
        guard::check_text(text, row)?;
        // The library's error may quote the text; it goes no further.
        let encoding = guard::caught(|| self.inner.encode_fast(text, false));
        let encoding = encoding.and_then(std::result::Result::ok).ok_or(Error::Encode { row })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of `ids`, without special tokens.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let text = guard::caught(|| self.inner.decode(ids, true));
        text.and_then(std::result::Result::ok).ok_or(Error::Decode { count: ids.len() })
    }

    /// Number of tokens, special ones included; every id is below it unless the file numbers its tokens with gaps.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// BLAKE3 of the `tokenizer.json`, as hexadecimal.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The id of a special token.
    pub fn special(&self, special: Special) -> Result<u32> {
        special.spellings().iter().find_map(|s| self.inner.token_to_id(s)).ok_or_else(|| Error::MissingSpecial {
            special: special.name(),
            looked_for: special.spellings().join(", "),
        })
    }

    /// What `specials` puts before and after a text.
    pub(crate) fn special_ids(&self, specials: Specials) -> Result<(Option<u32>, Option<u32>)> {
        let find = |s: Option<Special>| s.map(|s| self.special(s)).transpose();
        Ok((find(specials.leading())?, find(specials.trailing())?))
    }
}

#[cfg(test)]
mod tests;
