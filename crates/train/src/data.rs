//! Tokens and what is to be learned from them.

use crate::{Error, Result};
use clinpeft_nn::Ragged;

/// Token sequences one after another.
#[derive(Debug, Clone, Default)]
pub struct Sequences {
    ids: Vec<u32>,
    offsets: Vec<u64>,
}

impl Sequences {
    /// Wraps ids and their `n + 1` offsets. Errors if they do not fit, or a sequence is empty.
    pub fn new(ids: Vec<u32>, offsets: Vec<u64>) -> Result<Sequences> {
        let ends = offsets.first() == Some(&0) && offsets.last() == Some(&(ids.len() as u64));
        if !ends || !offsets.windows(2).all(|w| w[0] < w[1]) {
            return Err(Error::Settings(
                "offsets do not cut the tokens into sequences of at least one".into(),
            ));
        }
        Ok(Sequences { ids, offsets })
    }

    /// Number of sequences.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Length of one.
    pub fn length(&self, row: usize) -> usize {
        (self.offsets[row + 1] - self.offsets[row]) as usize
    }

    /// All lengths.
    pub fn lengths(&self) -> Vec<usize> {
        (0..self.len()).map(|r| self.length(r)).collect()
    }

    /// Some of them as a batch.
    pub fn batch(&self, rows: &[usize]) -> Result<Ragged> {
        let one = |r: &usize| self.ids[self.offsets[*r] as usize..self.offsets[*r + 1] as usize].to_vec();
        Ok(Ragged::from_sequences(&rows.iter().map(one).collect::<Vec<_>>())?)
    }

    /// All rows in batches of at most `tokens` tokens, longest first, for passes whose order does not matter.
    pub fn batches(&self, tokens: usize) -> Vec<Vec<usize>> {
        let mut rows: Vec<usize> = (0..self.len()).collect();
        rows.sort_by_key(|r| (std::cmp::Reverse(self.length(*r)), *r));
        let mut all: Vec<Vec<usize>> = Vec::new();
        let mut filled = 0;
        for r in rows {
            if all.is_empty() || filled + self.length(r) > tokens {
                all.push(Vec::new());
                filled = 0;
            }
            filled += self.length(r);
            if let Some(last) = all.last_mut() {
                last.push(r);
            }
        }
        all
    }
}

/// What is to be learned.
#[derive(Debug, Clone)]
pub enum Targets {
    /// One class for each sequence.
    Classes {
        /// The classes.
        labels: Vec<u32>,
        /// Number of classes.
        count: usize,
    },
    /// A set of labels for each sequence.
    Labels {
        /// Which labels.
        sets: Vec<Vec<u32>>,
        /// Number of labels.
        count: usize,
    },
}

impl Targets {
    /// Number of classes or labels.
    pub fn count(&self) -> usize {
        match self {
            Targets::Classes { count, .. } | Targets::Labels { count, .. } => *count,
        }
    }

    fn len(&self) -> usize {
        match self {
            Targets::Classes { labels, .. } => labels.len(),
            Targets::Labels { sets, .. } => sets.len(),
        }
    }
}

/// Sequences with their targets.
#[derive(Debug, Clone)]
pub struct Examples {
    /// The tokens.
    pub sequences: Sequences,
    /// What is to be learned.
    pub targets: Targets,
    /// Pooled rows, where the model below the head does not change.
    pub(crate) features: Option<clinpeft_tensor::Tensor>,
}

impl Examples {
    /// Wraps both. Errors if their numbers differ or a label is outside of its range.
    pub fn new(sequences: Sequences, targets: Targets) -> Result<Examples> {
        let count = targets.count() as u32;
        let inside = match &targets {
            Targets::Classes { labels, .. } => labels.iter().all(|l| *l < count),
            Targets::Labels { sets, .. } => sets.iter().flatten().all(|l| *l < count),
        };
        if sequences.len() != targets.len() || !inside {
            return Err(Error::Settings(format!(
                "{} sequences with {} targets, or a label outside of 0..{count}",
                sequences.len(),
                targets.len()
            )));
        }
        Ok(Examples {
            sequences,
            targets,
            features: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_every_row_once_within_the_limit() {
        let s = Sequences::new(vec![0; 15], vec![0, 1, 3, 6, 10, 15]).unwrap();
        let b = s.batches(6);
        let mut rows: Vec<usize> = b.concat();
        rows.sort_unstable();
        assert_eq!(rows, [0, 1, 2, 3, 4]);
        assert!(
            b.iter()
                .all(|b| b.len() == 1 || b.iter().map(|r| s.length(*r)).sum::<usize>() <= 6)
        );
    }

    #[test]
    fn label_outside_of_the_list_is_an_error() {
        let s = Sequences::new(vec![0; 2], vec![0, 1, 2]).unwrap();
        assert!(
            Examples::new(
                s.clone(),
                Targets::Classes {
                    labels: vec![0, 2],
                    count: 2
                }
            )
            .is_err()
        );
        assert!(
            Examples::new(
                s,
                Targets::Classes {
                    labels: vec![0],
                    count: 2
                }
            )
            .is_err()
        );
    }
}
