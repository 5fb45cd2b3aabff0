use std::iter::Sum;
use std::ops::{Add, AddAssign};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{Error, Result, Specials, Tokenizer, Truncation};

/// Tokens that a policy kept and dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenCount {
    /// Tokens kept, special ones included.
    pub kept: u64,
    /// Tokens of the text that were dropped.
    pub dropped: u64,
}

impl Add for TokenCount {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { kept: self.kept + other.kept, dropped: self.dropped + other.dropped }
    }
}

impl AddAssign for TokenCount {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for TokenCount {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::default(), Add::add)
    }
}

/// The token ids of a data set, end to end, in the order of its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequences {
    ids: Vec<u32>,
    offsets: Vec<u64>,
    count: TokenCount,
}

impl Default for Sequences {
    fn default() -> Self {
        Self { ids: Vec::new(), offsets: vec![0], count: TokenCount::default() }
    }
}

impl Sequences {
    /// Sequence `i` is `ids[offsets[i]..offsets[i + 1]]`; `dropped` tokens are known to be missing.
    pub fn new(ids: Vec<u32>, offsets: Vec<u64>, dropped: u64) -> Result<Self> {
        if offsets.first() != Some(&0) {
            return Err(Error::Offsets { entry: 0 });
        }
        if let Some(fall) = offsets.windows(2).position(|w| w[1] < w[0]) {
            return Err(Error::Offsets { entry: fall + 1 });
        }
        if offsets.last() != Some(&(ids.len() as u64)) {
            return Err(Error::Offsets { entry: offsets.len() - 1 });
        }
        let kept = ids.len() as u64;
        Ok(Self { ids, offsets, count: TokenCount { kept, dropped } })
    }

    /// All ids, end to end.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Where each sequence begins in [`Self::ids`], and the end of the last: one entry more than sequences.
    pub fn offsets(&self) -> &[u64] {
        &self.offsets
    }

    /// Tokens kept and dropped on the way here.
    pub fn count(&self) -> TokenCount {
        self.count
    }

    /// Number of sequences.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is no sequence.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The ids of sequence `row`.
    pub fn get(&self, row: usize) -> Option<&[u32]> {
        let range = self.offsets.get(row..row.checked_add(2)?)?;
        self.ids.get(range[0] as usize..range[1] as usize)
    }

    /// The sequences in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        self.offsets.windows(2).map(|w| &self.ids[w[0] as usize..w[1] as usize])
    }

    /// The length of each sequence.
    pub fn lengths(&self) -> Vec<usize> {
        self.iter().map(<[u32]>::len).collect()
    }

    /// Appends a sequence from which `dropped` tokens are missing.
    pub fn push(&mut self, ids: &[u32], dropped: u64) {
        self.ids.extend_from_slice(ids);
        self.offsets.push(self.ids.len() as u64);
        self.count += TokenCount { kept: ids.len() as u64, dropped };
    }
}

/// Turns texts into [`Sequences`], block by block.
#[derive(Debug)]
pub struct Encoder<'t> {
    tokenizer: &'t Tokenizer,
    truncation: Truncation,
    leading: Option<u32>,
    trailing: Option<u32>,
    done: Sequences,
}

impl<'t> Encoder<'t> {
    /// Looks up the special tokens and checks that the truncation leaves space for text.
    pub fn new(tokenizer: &'t Tokenizer, specials: Specials, truncation: Truncation) -> Result<Self> {
        let (leading, trailing) = tokenizer.special_ids(specials)?;
        truncation.check(leading.iter().len(), trailing.iter().len())?;
        Ok(Self { tokenizer, truncation, leading, trailing, done: Sequences::default() })
    }

    /// Encodes a block of texts in parallel and appends them in order.
    pub fn push<S: AsRef<str> + Sync>(&mut self, texts: &[S]) -> Result<()> {
        let first = self.done.len();
        let encoded: Vec<(Vec<u32>, u64)> = texts
            .par_iter()
            .enumerate()
            .map(|(i, text)| self.encode(text.as_ref(), first + i))
            .collect::<Result<_>>()?;
        for (ids, dropped) in encoded {
            self.done.push(&ids, dropped);
        }
        Ok(())
    }

    /// All sequences.
    pub fn finish(self) -> Sequences {
        self.done
    }

    fn encode(&self, text: &str, row: usize) -> Result<(Vec<u32>, u64)> {
        let body = self.tokenizer.encode_body(text, row)?;
        let (head, tail) = self.truncation.keep(body.len(), self.leading.iter().len(), self.trailing.iter().len());
        let dropped = body.len() - head - tail;
        let ids = self
            .leading
            .into_iter()
            .chain(body[..head].iter().copied())
            .chain(body[body.len() - tail..].iter().copied())
            .chain(self.trailing)
            .collect();
        Ok((ids, dropped as u64))
    }
}

#[cfg(test)]
mod tests;
