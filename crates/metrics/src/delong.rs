//! Variance of the area under the ROC curve without resampling (DeLong, DeLong & Clarke-Pearson 1988).

use crate::error::{Error, Result, Undefined};
use crate::prepared::Labels;

/// AUROC with its variance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DeLong {
    /// The area.
    pub auroc: f64,
    /// Its variance, if rows are independent.
    pub variance: f64,
}

/// The difference of two AUROCs on the same rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DeLongDifference {
    /// First minus second area.
    pub difference: f64,
    /// Its variance; the areas are correlated, which this accounts for.
    pub variance: f64,
}

/// How often each row wins: of a positive, the share of negatives that it outranks; of a negative, the share of positives
/// that outrank it. Ties count half.
struct Placements {
    positives: Vec<f64>,
    negatives: Vec<f64>,
}

/// AUROC and its variance.
///
/// ```text
/// V10_i = mean over negatives of psi(x_i, y_j)      V01_j = mean over positives of psi(x_i, y_j)
/// psi   = [x > y] + [x = y] / 2                     var = S10 / P + S01 / N,  S: sample variances of V10 and V01
/// ```
/// `labels` 0 or 1, `[n]`; `scores` `[n]`. Computed from midranks in n log n (Sun & Xu 2014). Rows are taken as independent:
/// with several rows per patient use [`crate::evaluate`].
///
/// # Errors
/// As [`crate::auroc`]; needs two positives and two negatives ([`Undefined::TooFew`]).
///
/// ```
/// let found = clinpeft_metrics::auroc_delong(&[0, 0, 1, 1], &[0.1, 0.4, 0.35, 0.8])?;
/// assert_eq!(found.auroc, 0.75);
/// assert_eq!(found.variance, 0.125);
/// # Ok::<(), clinpeft_metrics::Error>(())
/// ```
pub fn auroc_delong(labels: &[u8], scores: &[f32]) -> Result<DeLong> {
    let places = Placements::new(labels, scores)?;
    Ok(DeLong { auroc: mean(&places.positives), variance: places.covariance(&places) })
}

/// Difference of the AUROCs of two models on the same rows, with its variance `var_a + var_b - 2 cov`.
///
/// # Errors
/// As [`auroc_delong`].
pub fn auroc_delong_difference(labels: &[u8], first: &[f32], second: &[f32]) -> Result<DeLongDifference> {
    let a = Placements::new(labels, first)?;
    let b = Placements::new(labels, second)?;
    let variance = a.covariance(&a) + b.covariance(&b) - 2.0 * a.covariance(&b);
    Ok(DeLongDifference {
        difference: mean(&a.positives) - mean(&b.positives),
        // Equal models: rounding must not give a negative variance.
        variance: variance.max(0.0),
    })
}

impl Placements {
    fn new(labels: &[u8], scores: &[f32]) -> Result<Self> {
        Labels::Binary(labels).check(scores)?;
        let of = |wanted: u8| -> Vec<f32> {
            let rows = labels.iter().zip(scores);
            rows.filter(|(label, _)| **label == wanted).map(|(_, score)| *score).collect()
        };
        let (positives, negatives) = (of(1), of(0));
        let fewest = positives.len().min(negatives.len());
        if fewest < 2 {
            return Err(Error::Undefined { metric: "variance of auroc", reason: Undefined::TooFew(fewest) });
        }
        let won = shares_below(&positives, &negatives);
        let lost = shares_below(&negatives, &positives);
        Ok(Self { positives: won, negatives: lost.into_iter().map(|share| 1.0 - share).collect() })
    }

    fn covariance(&self, other: &Self) -> f64 {
        covariance(&self.positives, &other.positives) / self.positives.len() as f64
            + covariance(&self.negatives, &other.negatives) / self.negatives.len() as f64
    }
}

/// For each score the share of `others` below it, equal ones counting half.
fn shares_below(scores: &[f32], others: &[f32]) -> Vec<f64> {
    let mut sorted = others.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let share = |score: &f32| {
        let below = sorted.partition_point(|other| other < score);
        let not_above = sorted.partition_point(|other| other <= score);
        (below + not_above) as f64 / (2 * sorted.len()) as f64
    };
    scores.iter().map(share).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Sample covariance (divided by n - 1).
fn covariance(a: &[f64], b: &[f64]) -> f64 {
    let (mean_a, mean_b) = (mean(a), mean(b));
    let products = a.iter().zip(b).map(|(x, y)| (x - mean_a) * (y - mean_b));
    products.sum::<f64>() / (a.len() - 1) as f64
}
