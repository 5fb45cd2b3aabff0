//! One number over the resamples of a population, to be averaged and compared resample by resample.

use crate::bootstrap::{Bootstrap, Estimate, LANES, Population, unwatched};
use crate::comparison::Difference;
use crate::error::{Error, Result};
use crate::prepared::{Labels, Prepared};

/// A number on all rows and in each resample (NaN where undefined).
#[derive(Debug, Clone, PartialEq)]
pub struct Resampled {
    /// On all rows.
    pub value: f64,
    /// In each resample.
    pub resamples: Vec<f64>,
}

/// AUROC (as [`crate::evaluate`] defines it) on all rows and in resamples of `population`.
///
/// Numbers of several data sets whose patients are in one population belong together, resample by resample.
///
/// # Errors
/// As [`crate::evaluate`]; a patient who is not in the population; a metric that the data does not define.
pub fn auroc_resampled(
    labels: Labels<'_>,
    scores: &[f32],
    subjects: &[u64],
    population: &Population,
    bootstrap: &Bootstrap,
) -> Result<Resampled> {
    bootstrap.check()?;
    let prepared = Prepared::new(labels, scores)?;
    if subjects.len() != prepared.rows {
        return Err(Error::Shape { what: "subjects", expected: prepared.rows, found: subjects.len() });
    }
    let [value] = prepared.auroc(&vec![[1u16; 1]; prepared.rows]);
    if let (true, Some(reason)) = (value.is_nan(), labels.undefined()) {
        return Err(Error::Undefined { metric: "auroc", reason });
    }
    let resamples = bootstrap.run(population, subjects, &unwatched, |weights| prepared.auroc::<LANES>(weights))?;
    Ok(Resampled { value, resamples })
}

impl Resampled {
    /// The plain mean, in each resample anew; `None` of nothing.
    pub fn mean(parts: &[&Self]) -> Option<Self> {
        let first = parts.first()?;
        let over = |of: &dyn Fn(&Self) -> f64| parts.iter().map(|part| of(part)).sum::<f64>() / parts.len() as f64;
        let resamples = (0..first.resamples.len()).map(|i| over(&|part| part.resamples[i])).collect();
        Some(Self { value: over(&|part| part.value), resamples })
    }

    /// With its percentile interval.
    pub fn estimate(&self, bootstrap: &Bootstrap) -> Estimate {
        bootstrap.estimate(self.value, self.resamples.iter().copied())
    }

    /// This minus `other`, with the standard deviation of their differences over the resamples in which both are defined.
    pub fn minus(&self, other: &Self) -> Difference {
        let pairs = self.resamples.iter().zip(&other.resamples).map(|(a, b)| a - b);
        let differences: Vec<f64> = pairs.filter(|d| !d.is_nan()).collect();
        let count = differences.len() as f64;
        let mean = differences.iter().sum::<f64>() / count;
        let squares: f64 = differences.iter().map(|d| (d - mean).powi(2)).sum();
        let standard_error = (squares / (count - 1.0)).sqrt();
        Difference {
            value: self.value - other.value,
            standard_error: if standard_error.is_nan() { 0.0 } else { standard_error },
        }
    }
}
