use clinpeft_rng::{Seed, shuffle};

use crate::{Error, Result};

/// In which order the rows of a data set are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As they stand.
    Sequential,
    /// Shuffled anew in each epoch.
    Shuffled,
}

/// The batches of one epoch over `rows` rows, each a list of at most `size` rows. Every row appears exactly once.
///
/// A function of its arguments alone: a run that stopped in the middle of an epoch resumes with the same batches and the
/// number of those it had seen. Errors if `size` is zero.
pub fn plan(rows: usize, order: Order, size: usize, seed: Seed, epoch: u64) -> Result<Vec<Vec<usize>>> {
    if size == 0 {
        return Err(Error::TooSmall { what: "the number of sequences of a batch", value: size, minimum: 1 });
    }
    let mut rows: Vec<usize> = (0..rows).collect();
    if order == Order::Shuffled {
        shuffle(&mut rows, &mut seed.part("order").stream(&format!("epoch {epoch}")));
    }
    Ok(rows.chunks(size).map(<[usize]>::to_vec).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_row_appears_exactly_once(
            count in 0usize..80, shuffled: bool, size in 1usize..9, seed: u64, epoch in 0u64..4,
        ) {
            let order = if shuffled { Order::Shuffled } else { Order::Sequential };
            let batches = plan(count, order, size, Seed(seed), epoch).unwrap();
            let mut rows: Vec<usize> = batches.concat();
            rows.sort_unstable();
            prop_assert_eq!(rows, (0..count).collect::<Vec<_>>());
            prop_assert!(batches.iter().all(|batch| (1..=size).contains(&batch.len())));
            prop_assert_eq!(&batches, &plan(count, order, size, Seed(seed), epoch).unwrap());
        }
    }

    #[test]
    fn epochs_and_seeds_differ() {
        let of = |seed, epoch| plan(50, Order::Shuffled, 4, Seed(seed), epoch).unwrap();
        assert_ne!(of(1, 0), of(1, 1));
        assert_ne!(of(1, 0), of(2, 0));
    }

    #[test]
    fn the_order_of_a_seed_never_changes() {
        // A change here breaks the resumption of runs that older versions began.
        let rows = plan(8, Order::Shuffled, 8, Seed(1234), 1).unwrap();
        assert_eq!(rows, [[6, 1, 4, 0, 5, 3, 7, 2]]);
    }

    #[test]
    fn a_size_of_zero_is_an_error() {
        assert!(plan(1, Order::Sequential, 0, Seed(0), 0).is_err());
    }
}
