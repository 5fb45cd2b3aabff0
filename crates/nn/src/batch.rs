//! Ragged batches.

use crate::{Error, Result};
use clinpeft_tensor::Tensor;

/// Sequences one after another: token `i` of sequence `s` is row `offsets[s] + i`.
#[derive(Debug, Clone)]
pub struct Ragged {
    /// Token ids, u32 `[t]`.
    pub ids: Tensor,
    /// Position of each token in its sequence, as the rotary embedding sees it.
    pub positions: Vec<u32>,
    /// `b + 1` growing offsets.
    pub offsets: Vec<u32>,
}

impl Ragged {
    /// Checks and wraps. Errors if lengths disagree or a sequence is empty.
    pub fn new(ids: Vec<u32>, positions: Vec<u32>, offsets: Vec<u32>) -> Result<Ragged> {
        let covers = offsets.first() == Some(&0) && offsets.last().map(|o| *o as usize) == Some(ids.len());
        if !covers || positions.len() != ids.len() {
            return Err(Error::Batch("offsets and positions do not cover the tokens".into()));
        }
        if let Some(empty) = offsets.windows(2).position(|w| w[0] >= w[1]) {
            return Err(Error::Batch(format!(
                "sequence {empty} is empty\nhint: notes without text must be left out"
            )));
        }
        let n = ids.len();
        Ok(Ragged {
            ids: Tensor::from_vec(ids, &[n])?,
            positions,
            offsets,
        })
    }

    /// Sequences with positions that count from zero.
    pub fn from_sequences(sequences: &[Vec<u32>]) -> Result<Ragged> {
        let mut offsets = vec![0];
        let mut positions = Vec::new();
        for s in sequences {
            positions.extend(0..s.len() as u32);
            offsets.push(positions.len() as u32);
        }
        Ragged::new(sequences.concat(), positions, offsets)
    }

    /// Number of sequences.
    pub fn sequences(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.positions.len()
    }
}
