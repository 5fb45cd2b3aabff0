//! The batches of every epoch.

use crate::{Error, Result};
use clinpeft_rng::Seed;
use clinpeft_text::{Order, plan};

/// How the rows of a step are cut into micro-batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MicroBatchSize {
    /// At most so many tokens; a longer sequence stands alone.
    Tokens(usize),
    /// So many sequences, fewer at the end of a step.
    Sequences(usize),
}

/// Rows of every micro-batch, made one epoch at a time. The same at every start of a run, and in memory for one epoch only.
#[derive(Debug, Clone)]
pub struct BatchSchedule {
    lengths: Vec<usize>,
    order: Order,
    seed: Seed,
    epochs: u64,
    batch: usize,
    cut: MicroBatchSize,
}

/// Micro-batches of a step, each with its rows.
pub(crate) type MicroBatches = Vec<Vec<usize>>;

impl BatchSchedule {
    /// Most epochs of a run.
    pub const EPOCHS: u64 = 1_000_000;
    /// Most optimizer steps of a run.
    pub const STEPS: u64 = 1_000_000_000_000;
    /// Most rows, over all epochs, that are put in order only to count micro-batches.
    const COUNTED: u64 = 1_000_000_000;

    /// Steps of `batch` rows in `order`, each cut by `cut`, over `epochs` epochs of rows with these lengths in tokens.
    ///
    /// Errors if there are no rows, a number is zero, or there are more epochs or steps than [`BatchSchedule::EPOCHS`] and
    /// [`BatchSchedule::STEPS`].
    pub fn new(
        lengths: Vec<usize>,
        (order, seed): (Order, Seed),
        epochs: u64,
        batch: usize,
        cut: MicroBatchSize,
    ) -> Result<BatchSchedule> {
        let (cut_key, cut_size) = match cut {
            MicroBatchSize::Tokens(n) => ("micro_tokens", n),
            MicroBatchSize::Sequences(n) => ("micro_sequences", n),
        };
        for (key, n) in [("batch_sequences", batch), (cut_key, cut_size)] {
            if n == 0 {
                return Err(Error::Setting { key, value: "0".into(), expected: "at least 1" });
            }
        }
        if !(1..=BatchSchedule::EPOCHS).contains(&epochs) {
            let expected = "from 1 to 1,000,000";
            return Err(Error::Setting { key: "epochs", value: epochs.to_string(), expected });
        }
        if lengths.is_empty() {
            return Err(Error::Settings("there is nothing to learn from\nhint: the training split is empty".into()));
        }
        let schedule = BatchSchedule { lengths, order, seed, epochs, batch, cut };
        match schedule.epochs.checked_mul(schedule.steps_per_epoch()) {
            Some(steps) if steps <= BatchSchedule::STEPS => Ok(schedule),
            _ => {
                let expected = "at most 10^12 steps in all epochs";
                Err(Error::Setting { key: "epochs", value: epochs.to_string(), expected })
            }
        }
    }

    /// Number of epochs.
    pub fn epochs(&self) -> u64 {
        self.epochs
    }

    /// Optimizer steps of each epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        self.lengths.len().div_ceil(self.batch) as u64
    }

    /// Optimizer steps of all epochs.
    pub fn steps(&self) -> u64 {
        self.epochs * self.steps_per_epoch()
    }

    /// Micro-batches of all epochs. Where they are cut by tokens every epoch has to be put in order for it; errors if that
    /// is too much.
    pub fn micro_batches(&self) -> Result<u64> {
        let rows = self.lengths.len() as u64;
        match self.cut {
            MicroBatchSize::Sequences(n) => {
                let (full, rest) = (self.lengths.len() / self.batch, self.lengths.len() % self.batch);
                let epoch = full * self.batch.div_ceil(n) + rest.div_ceil(n);
                self.epochs.checked_mul(epoch as u64).ok_or_else(|| self.too_many())
            }
            MicroBatchSize::Tokens(_) if self.epochs.checked_mul(rows).is_none_or(|n| n > BatchSchedule::COUNTED) => {
                Err(self.too_many())
            }
            MicroBatchSize::Tokens(_) => {
                let count = |e: u64| Ok(self.epoch(e)?.iter().map(|step| step.len() as u64).sum::<u64>());
                (0..self.epochs).map(count).sum()
            }
        }
    }

    fn too_many(&self) -> Error {
        let expected = "at most 10^9 rows in all epochs, where the schedule counts micro-batches";
        Error::Setting { key: "epochs", value: self.epochs.to_string(), expected }
    }

    /// The steps of an epoch, from 0.
    pub(crate) fn epoch(&self, epoch: u64) -> Result<Vec<MicroBatches>> {
        let steps = plan(self.lengths.len(), self.order, self.batch, self.seed, epoch)?;
        let cut = |rows: Vec<usize>| match self.cut {
            MicroBatchSize::Tokens(limit) => self.by_tokens(rows, limit),
            MicroBatchSize::Sequences(n) => rows.chunks(n).map(<[usize]>::to_vec).collect(),
        };
        Ok(steps.into_iter().map(cut).collect())
    }

    fn by_tokens(&self, rows: Vec<usize>, limit: usize) -> MicroBatches {
        let mut all: MicroBatches = vec![vec![]];
        let mut filled = 0usize;
        for r in rows {
            if filled > 0 && filled.saturating_add(self.lengths[r]) > limit {
                all.push(vec![]);
                filled = 0;
            }
            filled = filled.saturating_add(self.lengths[r]);
            if let Some(last) = all.last_mut() {
                last.push(r);
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn new(lengths: &[usize], order: Order, epochs: u64, batch: usize, cut: MicroBatchSize) -> Result<BatchSchedule> {
        BatchSchedule::new(lengths.to_vec(), (order, Seed(7)), epochs, batch, cut)
    }

    #[test]
    fn micro_batches_keep_order_and_limit() {
        let schedule = new(&[5, 5, 5, 20, 1], Order::Sequential, 1, 5, MicroBatchSize::Tokens(11)).unwrap();
        assert_eq!(schedule.by_tokens(vec![3, 0, 1, 2, 4], 11), [vec![3], vec![0, 1], vec![2, 4]]);
    }

    #[test]
    fn endless_schedules_are_refused_by_their_key_without_being_made() {
        let said = |epochs, batch, cut| new(&[4; 100], Order::Shuffled, epochs, batch, cut).unwrap_err().to_string();
        for epochs in [0, BatchSchedule::EPOCHS + 1, 10u64.pow(18), u64::MAX] {
            assert!(said(epochs, 8, MicroBatchSize::Tokens(64)).contains("`epochs` ="), "{epochs}");
        }
        assert!(said(1, 0, MicroBatchSize::Tokens(64)).contains("`batch_sequences` = 0"));
        assert!(said(1, 8, MicroBatchSize::Tokens(0)).contains("`micro_tokens` = 0"));
        assert!(said(1, 8, MicroBatchSize::Sequences(0)).contains("`micro_sequences` = 0"));
        let many =
            new(&vec![1; 1_000_001], Order::Shuffled, BatchSchedule::EPOCHS, 1, MicroBatchSize::Tokens(1)).unwrap_err();
        assert!(many.to_string().contains("10^12 steps"), "{many}");
        assert!(new(&[], Order::Shuffled, 1, 1, MicroBatchSize::Tokens(1)).is_err());
        let most = new(&[4; 100], Order::Shuffled, BatchSchedule::EPOCHS, 1, MicroBatchSize::Tokens(64)).unwrap();
        assert_eq!((most.steps(), most.epoch(BatchSchedule::EPOCHS - 1).unwrap().len()), (100_000_000, 100));
        let more = new(&[4; 1001], Order::Shuffled, BatchSchedule::EPOCHS, 1, MicroBatchSize::Tokens(64)).unwrap();
        assert!(more.micro_batches().unwrap_err().to_string().contains("10^9 rows"));
    }

    proptest! {
        #[test]
        fn totals_are_those_of_the_epochs(
            lengths in proptest::collection::vec(1usize..30, 1..40),
            epochs in 1u64..5,
            batch in 1usize..12,
            size in 1usize..20,
        ) {
            for cut in [MicroBatchSize::Tokens(size * 5), MicroBatchSize::Sequences(size)] {
                let schedule = new(&lengths, Order::Shuffled, epochs, batch, cut).unwrap();
                let all: Vec<Vec<MicroBatches>> = (0..epochs).map(|e| schedule.epoch(e).unwrap()).collect();
                prop_assert!(all.iter().all(|e| e.len() as u64 == schedule.steps_per_epoch()));
                prop_assert_eq!(all.iter().flatten().count() as u64, schedule.steps());
                prop_assert_eq!(all.iter().flatten().flatten().count() as u64, schedule.micro_batches().unwrap());
                for e in &all {
                    let mut rows = e.concat().concat();
                    rows.sort_unstable();
                    prop_assert!(rows.into_iter().eq(0..lengths.len()));
                }
            }
        }
    }
}
