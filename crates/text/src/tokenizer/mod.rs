//! The tokenizer: Hugging Face's format and merges, special tokens by policy.

mod bpe;
mod folder;
mod recipe;
mod sentence_piece;
mod special;
mod train;

pub use special::{Special, Specials};
pub use train::Kind;

use std::path::Path;
use std::str::FromStr;

use clinpeft_files::{hash_bytes, read_text, refuse_pointer, write_atomic};

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
    /// Reads a `tokenizer.json`.
    pub fn load(path: &Path) -> Result<Self> {
        let json = read_text(path)?;
        refuse_pointer(path, json.as_bytes())?;
        Self::from_json(json).map_err(|why| Error::NotATokenizer { path: path.into(), why })
    }

    /// Writes the `tokenizer.json`, whole or not at all: for a loaded tokenizer, the very bytes that were read.
    pub fn save(&self, path: &Path) -> Result<()> {
        Ok(write_atomic(path, &self.json)?)
    }

    /// Trains a vocabulary of at most `vocab_size` tokens on `texts`.
    ///
    /// The result depends on the multiset of the texts alone: not on their order, threads or hash seeds.
    pub fn train<I>(texts: I, vocab_size: usize, kind: Kind) -> Result<Self>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let json = train::train(texts, vocab_size, kind)?;
        Self::from_json(json).map_err(|why| Error::Training { why })
    }

    fn from_json(json: String) -> Result<Self, String> {
        let mut inner = tokenizers::Tokenizer::from_str(&json).map_err(|e| e.to_string())?;
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

    /// The token ids of `text`, with the special tokens that `specials` names.
    pub fn encode(&self, text: &str, specials: Specials) -> Result<Vec<u32>> {
        let (leading, trailing) = self.special_ids(specials)?;
        let body = self.encode_body(text, 0)?;
        Ok(leading.into_iter().chain(body).chain(trailing).collect())
    }

    /// The token ids of `text` alone. `row` is for the error message.
    pub(crate) fn encode_body(&self, text: &str, row: usize) -> Result<Vec<u32>> {
        // The library's error may quote the text; it goes no further.
        let encoding = self.inner.encode_fast(text, false).map_err(|_| Error::Encode { row })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of `ids`, without special tokens.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.inner.decode(ids, true).map_err(|_| Error::Decode { count: ids.len() })
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
