//! RaggedBatch batches.

use crate::{Error, Result};
use clinpeft_tensor::Tensor;

/// Sequences one after another: token `i` of sequence `s` is row `offsets[s] + i`.
#[derive(Debug, Clone)]
pub struct RaggedBatch {
    /// Token ids, u32 `[t]`.
    pub ids: Tensor,
    /// Position of each token in its sequence, as the rotary embedding sees it.
    pub positions: Vec<u32>,
    /// `b + 1` growing offsets: the `cu_seqlens` of FlashAttention.
    pub offsets: Vec<u32>,
    /// Rows beside the sequences, in order of sequence and place; see [`PadProbe`].
    pub pad_probes: Vec<PadProbe>,
    /// Which tokens the language-model loss predicts, as growing indices into `ids`; all if `None`.
    pub targets: Option<Vec<u32>>,
}

/// A row that sees the first tokens of a sequence and is seen by none.
///
/// That is what a library with padded batches makes of a pad token: its key is masked, but its query still attends. The
/// published code pools such a row, and predicts the first token of a row padded on the left from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PadProbe {
    /// The sequence it sees.
    pub sequence: u32,
    /// How many of its tokens stand before it.
    pub sees: u32,
    /// Its own token.
    pub id: u32,
    /// Its own position.
    pub position: u32,
}

impl RaggedBatch {
    /// Checks and wraps. Errors if lengths disagree or a sequence is empty.
    pub fn new(ids: Vec<u32>, positions: Vec<u32>, offsets: Vec<u32>) -> Result<RaggedBatch> {
        let covers = offsets.first() == Some(&0) && offsets.last().map(|o| *o as usize) == Some(ids.len());
        if !covers || positions.len() != ids.len() {
            return Err(Error::Batch("offsets and positions do not cover the tokens".into()));
        }
        if let Some(empty) = offsets.windows(2).position(|w| w[0] >= w[1]) {
            return Err(Error::Batch(format!("sequence {empty} is empty\nhint: notes without text must be left out")));
        }
        let n = ids.len();
        Ok(RaggedBatch { ids: Tensor::from_vec(ids, &[n])?, positions, offsets, pad_probes: Vec::new(), targets: None })
    }

    /// The same batch with rows that observe it. Errors if one sees a missing token, or they are out of order.
    pub fn with_pad_probes(mut self, pad_probes: Vec<PadProbe>) -> Result<RaggedBatch> {
        let length = |s: u32| {
            let w = self.offsets.get(s as usize..s as usize + 2);
            w.map(|w| w[1] - w[0])
        };
        if let Some(o) = pad_probes.iter().find(|o| length(o.sequence).is_none_or(|n| o.sees > n)) {
            return Err(Error::Batch(format!(
                "a pad probe sees {} tokens of sequence {}, which has fewer",
                o.sees, o.sequence
            )));
        }
        if !pad_probes.is_sorted_by_key(|o| (o.sequence, o.sees)) {
            return Err(Error::Batch("pad probes are not in the order of what they see".into()));
        }
        self.pad_probes = pad_probes;
        Ok(self)
    }

    /// The same batch with a loss on some tokens only. Errors if an index is not a token or they do not grow.
    pub fn with_targets(mut self, targets: Vec<u32>) -> Result<RaggedBatch> {
        let grows = targets.windows(2).all(|w| w[0] < w[1]);
        if !grows || targets.last().is_some_and(|t| *t as usize >= self.tokens()) {
            return Err(Error::Batch("targets must be growing indices of tokens".into()));
        }
        self.targets = Some(targets);
        Ok(self)
    }

    /// Sequences with positions that count from zero.
    pub fn from_sequences(sequences: &[Vec<u32>]) -> Result<RaggedBatch> {
        let mut offsets = vec![0];
        let mut positions = Vec::new();
        for s in sequences {
            positions.extend(0..s.len() as u32);
            offsets.push(positions.len() as u32);
        }
        RaggedBatch::new(sequences.concat(), positions, offsets)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pad_probes_and_targets_must_fit_the_tokens() {
        let batch = || RaggedBatch::from_sequences(&[vec![1, 2], vec![3]]).unwrap();
        let pad_probe = |sequence, sees| PadProbe { sequence, sees, id: 0, position: 0 };
        assert!(batch().with_pad_probes(vec![pad_probe(0, 2), pad_probe(1, 0)]).is_ok());
        assert!(batch().with_pad_probes(vec![pad_probe(1, 2)]).is_err());
        assert!(batch().with_pad_probes(vec![pad_probe(2, 0)]).is_err());
        assert!(batch().with_pad_probes(vec![pad_probe(1, 0), pad_probe(0, 0)]).is_err());
        assert!(batch().with_targets(vec![0, 2]).is_ok());
        assert!(batch().with_targets(vec![3]).is_err() && batch().with_targets(vec![1, 1]).is_err());
    }
}
