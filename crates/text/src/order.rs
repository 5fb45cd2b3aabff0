use clinpeft_rng::{Seed, shuffle};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// In which order the rows of a data set are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "policy", rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    /// As they stand: for evaluation.
    Sequential,
    /// Shuffled anew in each epoch.
    Shuffled,
    /// Shuffled, then sorted by length within pools, so that the sequences of a batch have similar lengths; the batches
    /// are shuffled again.
    LengthBucketed {
        /// Rows that are sorted together.
        pool: usize,
    },
}

/// When a batch is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchSize {
    /// At so many sequences.
    Sequences(usize),
    /// Before so many tokens are exceeded. A longer sequence is a batch of its own.
    Tokens(usize),
}

/// The batches of one epoch, each a list of rows. Every row appears exactly once.
///
/// A function of its arguments alone: a run that stopped in the middle of an epoch resumes with the same plan and the
/// number of batches it had seen.
pub fn plan(lengths: &[usize], order: Order, size: BatchSize, seed: Seed, epoch: u64) -> Result<Vec<Vec<usize>>> {
    let (what, value) = match size {
        BatchSize::Sequences(n) => ("the number of sequences of a batch", n),
        BatchSize::Tokens(n) => ("the number of tokens of a batch", n),
    };
    at_least_one(what, value)?;
    let mut stream = seed.part("order").stream(&format!("epoch {epoch}"));
    let mut rows: Vec<usize> = (0..lengths.len()).collect();
    match order {
        Order::Sequential => Ok(cut(&rows, lengths, size)),
        Order::Shuffled => {
            shuffle(&mut rows, &mut stream);
            Ok(cut(&rows, lengths, size))
        }
        Order::LengthBucketed { pool } => {
            at_least_one("the number of rows of a length pool", pool)?;
            shuffle(&mut rows, &mut stream);
            // The sort is stable: equal lengths stay shuffled.
            let mut batches: Vec<Vec<usize>> = rows
                .chunks_mut(pool)
                .flat_map(|pool| {
                    pool.sort_by_key(|&row| lengths[row]);
                    cut(pool, lengths, size)
                })
                .collect();
            shuffle(&mut batches, &mut stream);
            Ok(batches)
        }
    }
}

fn at_least_one(what: &'static str, value: usize) -> Result<()> {
    if value > 0 {
        return Ok(());
    }
    Err(Error::TooSmall { what, value, minimum: 1 })
}

/// Cuts `rows` into batches in order.
fn cut(rows: &[usize], lengths: &[usize], size: BatchSize) -> Vec<Vec<usize>> {
    let most = match size {
        BatchSize::Sequences(n) => return rows.chunks(n).map(<[usize]>::to_vec).collect(),
        BatchSize::Tokens(most) => most,
    };
    let mut batches = Vec::new();
    let mut batch: Vec<usize> = Vec::new();
    let mut tokens = 0;
    for &row in rows {
        if !batch.is_empty() && lengths[row].saturating_add(tokens) > most {
            batches.push(std::mem::take(&mut batch));
            tokens = 0;
        }
        batch.push(row);
        tokens = lengths[row].saturating_add(tokens);
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_order() -> impl Strategy<Value = Order> {
        prop_oneof![
            Just(Order::Sequential),
            Just(Order::Shuffled),
            (1usize..40).prop_map(|pool| Order::LengthBucketed { pool }),
        ]
    }

    fn any_size() -> impl Strategy<Value = BatchSize> {
        prop_oneof![(1usize..9).prop_map(BatchSize::Sequences), (1usize..100).prop_map(BatchSize::Tokens)]
    }

    proptest! {
        #[test]
        fn every_row_appears_exactly_once(
            lengths in prop::collection::vec(0usize..60, 0..80),
            order in any_order(), size in any_size(), seed: u64, epoch in 0u64..4,
        ) {
            let batches = plan(&lengths, order, size, Seed(seed), epoch).unwrap();
            let mut rows: Vec<usize> = batches.concat();
            rows.sort_unstable();
            prop_assert_eq!(rows, (0..lengths.len()).collect::<Vec<_>>());
            for batch in &batches {
                prop_assert!(!batch.is_empty());
                let tokens: usize = batch.iter().map(|&r| lengths[r]).sum();
                match size {
                    BatchSize::Sequences(n) => prop_assert!(batch.len() <= n),
                    BatchSize::Tokens(n) => prop_assert!(tokens <= n || batch.len() == 1),
                }
            }
            prop_assert_eq!(&batches, &plan(&lengths, order, size, Seed(seed), epoch).unwrap());
        }
    }

    #[test]
    fn epochs_and_seeds_differ() {
        let of = |seed, epoch| plan(&[5; 50], Order::Shuffled, BatchSize::Sequences(4), Seed(seed), epoch).unwrap();
        assert_ne!(of(1, 0), of(1, 1));
        assert_ne!(of(1, 0), of(2, 0));
    }

    #[test]
    fn the_order_of_a_seed_never_changes() {
        // A change here breaks the resumption of runs that older versions began.
        let rows = plan(&[1; 8], Order::Shuffled, BatchSize::Sequences(8), Seed(1234), 1).unwrap();
        assert_eq!(rows, [[6, 1, 4, 0, 5, 3, 7, 2]]);
    }

    #[test]
    fn buckets_hold_similar_lengths() {
        let lengths: Vec<usize> = (0..1000).map(|i| (i * 7919) % 500 + 1).collect();
        let spread = |order| -> usize {
            let batches = plan(&lengths, order, BatchSize::Sequences(8), Seed(3), 0).unwrap();
            let range = |b: &Vec<usize>| {
                let of = b.iter().map(|&r| lengths[r]);
                of.clone().max().unwrap() - of.min().unwrap()
            };
            batches.iter().map(range).sum()
        };
        assert!(spread(Order::LengthBucketed { pool: 200 }) * 5 < spread(Order::Shuffled));
    }

    #[test]
    fn sizes_of_zero_are_errors() {
        assert!(plan(&[1], Order::Sequential, BatchSize::Sequences(0), Seed(0), 0).is_err());
        assert!(plan(&[1], Order::Sequential, BatchSize::Tokens(0), Seed(0), 0).is_err());
        assert!(plan(&[1], Order::LengthBucketed { pool: 0 }, BatchSize::Tokens(1), Seed(0), 0).is_err());
    }
}
