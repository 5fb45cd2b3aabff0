//! Percentile bootstrap by patient (Efron & Tibshirani 1993, chapter 13; clusters: Field & Welsh 2007).

use clinpeft_rng::{RngExt, Seed};
use rayon::prelude::*;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, MOST_RESAMPLES, Result};
use crate::ranking::Lanes;

/// Resamples measured side by side; one row of weights is one cache line.
pub(crate) const LANES: usize = 32;

/// A callback with the number of finished resamples, called from any thread; it may stop the work ([`Error::Stopped`]).
pub type Watch<'a> = dyn Fn(usize) -> ControlFlow<()> + Sync + 'a;

/// The [`Watch`] that never stops the work.
pub const fn unwatched(_done: usize) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// How to make intervals.
///
/// A resample draws as many patients as there are, with replacement; every row of a patient counts as often as the
/// patient was drawn. The interval runs between the `(1 - level) / 2` and `(1 + level) / 2` quantiles (linear
/// interpolation) of the resamples in which the metric is defined.
///
/// Patients are numbered by their id, so the order of the rows does not matter. Resample `i` has
/// the stream `bootstrap/i` of `seed`, so nothing depends on the number of threads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bootstrap {
    /// How many resamples, at most [`MOST_RESAMPLES`]; 1,000 is usual, 0 gives no intervals.
    pub resamples: usize,
    /// Confidence level, for example 0.95.
    pub level: f64,
    /// Root seed of the run.
    pub seed: Seed,
}

/// Patients that are drawn together, whatever task their rows belong to.
///
/// Two sets of rows that are resampled from the same population meet the same patients in the same resample, so their
/// numbers can be compared and averaged resample by resample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Population(Vec<u64>);

impl Population {
    /// The patients among `ids`, each once.
    pub fn new(ids: impl IntoIterator<Item = u64>) -> Self {
        let mut ids: Vec<u64> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        Self(ids)
    }

    /// The number of each row's patient.
    fn numbers(&self, subjects: &[u64]) -> Result<Vec<u32>> {
        let number = |(row, id): (usize, &u64)| {
            let found = self.0.binary_search(id).map_err(|_| Error::Stranger { row })?;
            Ok(found as u32)
        };
        subjects.iter().enumerate().map(number).collect()
    }
}

/// A percentile interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub lo: f64,
    /// Upper end.
    pub hi: f64,
}

/// A metric on all rows, with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The metric on all rows.
    pub value: f64,
    /// `None` without resamples, or when the metric was undefined in all of them.
    pub interval: Option<Interval>,
    /// Resamples in which the metric was undefined; the interval does not use them.
    pub dropped: usize,
}

impl Bootstrap {
    /// Whether the level and the number of resamples make sense.
    pub(crate) fn check(&self) -> Result<()> {
        if self.resamples > MOST_RESAMPLES {
            return Err(Error::Resamples(self.resamples));
        }
        if self.level > 0.0 && self.level < 1.0 {
            return Ok(());
        }
        Err(Error::Level(self.level))
    }

    /// Runs `measure` on blocks of weights (`weights[row][lane]`), `LANES` resamples at a time, in order.
    ///
    /// Errors if a row's patient is not in the population, or `watch` ends it.
    pub(crate) fn run<T: Send>(
        &self,
        population: &Population,
        subjects: &[u64],
        watch: &Watch<'_>,
        measure: impl Fn(&[Lanes<LANES>]) -> [T; LANES] + Sync,
    ) -> Result<Vec<T>> {
        let (number, count) = (population.numbers(subjects)?, population.0.len());
        let blocks = self.resamples.div_ceil(LANES);
        let done = AtomicUsize::new(0);
        let block = |block| {
            let measured = measure(&self.weights(block, &number, count));
            let done = done.fetch_add(LANES, Ordering::Relaxed) + LANES;
            watch(done.min(self.resamples)).is_continue().then_some(measured)
        };
        let measured: Option<Vec<[T; LANES]>> = (0..blocks).into_par_iter().map(block).collect();
        let mut all: Vec<T> = measured.ok_or(Error::Stopped)?.into_iter().flatten().collect();
        all.truncate(self.resamples);
        Ok(all)
    }

    /// The weights of one block. Each resample has a stream of its own, so blocks can be made in any order.
    fn weights(&self, block: usize, number: &[u32], count: usize) -> Vec<Lanes<LANES>> {
        let mut drawn = vec![[0u16; LANES]; count];
        let first = block * LANES;
        for resample in first..first + LANES {
            let mut stream = self.seed.stream(&format!("bootstrap/{resample}"));
            for _ in 0..count {
                let patient = &mut drawn[stream.random_range(0..count)][resample - first];
                *patient = patient.saturating_add(1);
            }
        }
        number.iter().map(|i| drawn[*i as usize]).collect()
    }

    /// Puts the value on all rows and the values of the resamples (NaN: undefined) together.
    pub(crate) fn estimate(&self, value: f64, resampled: impl Iterator<Item = f64>) -> Estimate {
        let mut kept: Vec<f64> = resampled.filter(|v| !v.is_nan()).collect();
        kept.sort_unstable_by(f64::total_cmp);
        let interval = (!kept.is_empty()).then(|| Interval {
            lo: quantile(&kept, (1.0 - self.level) / 2.0),
            hi: quantile(&kept, (1.0 + self.level) / 2.0),
        });
        Estimate { value, interval, dropped: self.resamples - kept.len() }
    }
}

/// Linear interpolation between order statistics (type 7 of Hyndman & Fan 1996, numpy's default).
pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let below = at.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * (at - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOTSTRAP: Bootstrap = Bootstrap { resamples: 40, level: 0.95, seed: Seed(3) };

    #[test]
    fn rows_of_a_patient_move_together_and_as_many_patients_are_drawn() {
        let subjects = [5, 9, 5, 2, 9, 9];
        for block in 0..2 {
            let patients = Population::new(subjects);
            let w = BOOTSTRAP.weights(block, &patients.numbers(&subjects).unwrap(), patients.0.len());
            assert_eq!(w[0], w[2]);
            assert_eq!(w[1], w[4]);
            let sums = w[0].iter().zip(w[1]).zip(w[3]);
            assert!(sums.into_iter().all(|((a, b), c)| a + b + c == 3));
        }
    }

    #[test]
    fn quantiles_equal_numpy() {
        let x = [1.0, 2.0, 4.0, 8.0];
        assert_eq!(quantile(&x, 0.5), 3.0);
        assert!((quantile(&x, 0.025) - 1.075).abs() < 1e-12);
        assert_eq!(quantile(&[7.0], 0.975), 7.0);
    }

    #[test]
    fn undefined_resamples_are_dropped_and_counted() {
        let values = (0..40).map(|i| if i < 10 { f64::NAN } else { 1.0 });
        let found = BOOTSTRAP.estimate(1.0, values);
        assert_eq!(found.dropped, 10);
        assert_eq!(found.interval, Some(Interval { lo: 1.0, hi: 1.0 }));
    }

    #[test]
    fn no_resample_left_gives_no_interval() {
        let found = BOOTSTRAP.estimate(1.0, std::iter::repeat_n(f64::NAN, 40));
        assert_eq!((found.interval, found.dropped), (None, 40));
    }
}
