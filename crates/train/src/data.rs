//! Tokens and what is to be learned from them.

use crate::{Error, Result};
use clinpeft_nn::RaggedBatch;
use clinpeft_text::{Batch, Sequences};
use std::sync::atomic::{AtomicBool, Ordering};

/// Some sequences as a batch of the models.
pub fn ragged(sequences: &Sequences, rows: &[usize]) -> Result<RaggedBatch> {
    let batch = Batch::from_sequences(sequences, rows)?;
    Ok(RaggedBatch::new(batch.ids, batch.positions, batch.offsets)?)
}

/// All rows in batches of at most `tokens` tokens, longest first, for passes whose order does not matter.
pub fn by_length(sequences: &Sequences, tokens: usize) -> Vec<Vec<usize>> {
    let lengths = sequences.lengths();
    let mut rows: Vec<usize> = (0..lengths.len()).collect();
    rows.sort_by_key(|r| (std::cmp::Reverse(lengths[*r]), *r));
    let mut all: Vec<Vec<usize>> = Vec::new();
    let mut filled = 0usize;
    for r in rows {
        if all.is_empty() || filled.saturating_add(lengths[r]) > tokens {
            all.push(Vec::new());
            filled = 0;
        }
        filled += lengths[r];
        if let Some(last) = all.last_mut() {
            last.push(r);
        }
    }
    all
}

/// Errors with [`Error::Stopped`] once `stop` is set; to be asked before every batch.
pub(crate) fn go_on(stop: &AtomicBool) -> Result<()> {
    if stop.load(Ordering::Relaxed) { Err(Error::Stopped) } else { Ok(()) }
}

/// Tokens of one sequence.
pub(crate) fn length(sequences: &Sequences, row: usize) -> usize {
    sequences.get(row).map_or(0, <[u32]>::len)
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
        Ok(Examples { sequences, targets, features: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_every_row_once_within_the_limit() {
        let s = Sequences::new(vec![0; 15], vec![0, 1, 3, 6, 10, 15], 0).unwrap();
        let b = by_length(&s, 6);
        let mut rows: Vec<usize> = b.concat();
        rows.sort_unstable();
        assert_eq!(rows, [0, 1, 2, 3, 4]);
        assert!(b.iter().all(|b| b.len() == 1 || b.iter().map(|r| length(&s, *r)).sum::<usize>() <= 6));
    }

    #[test]
    fn label_outside_of_the_list_is_an_error() {
        let s = Sequences::new(vec![0; 2], vec![0, 1, 2], 0).unwrap();
        assert!(Examples::new(s.clone(), Targets::Classes { labels: vec![0, 2], count: 2 }).is_err());
        assert!(Examples::new(s, Targets::Classes { labels: vec![0], count: 2 }).is_err());
    }
}
