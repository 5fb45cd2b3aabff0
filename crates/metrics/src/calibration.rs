//! Whether probabilities mean what they say.

use std::num::NonZeroUsize;

use crate::error::{Error, Result};
use crate::prepared::Labels;

/// Probabilities against outcomes.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// Bins of equal width over 0..=1, empty ones left out, in order.
    pub bins: Vec<ReliabilityBin>,
    /// Expected calibration error: mean over rows of |observed - mean probability| of the row's bin (Naeini et al. 2015).
    pub expected_error: f64,
    /// Mean of (probability - outcome)^2 (Brier 1950).
    pub brier: f64,
}

/// Rows of similar probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReliabilityBin {
    /// How many rows.
    pub rows: usize,
    /// Mean of what was predicted.
    pub mean_probability: f64,
    /// Share of positives.
    pub observed: f64,
}

/// Bins probabilities and compares each bin with what happened.
///
/// `labels` 0 or 1, `[n]`; `probabilities` `[n]`. Bin `k` of `K` holds `(k/K, (k+1)/K]`, the first one 0 too, as
/// scikit-learn's `calibration_curve` does.
///
/// # Errors
/// Unequal lengths, a label above 1, a probability outside of 0..=1.
pub(crate) fn calibration(labels: &[u8], probabilities: &[f32], bins: NonZeroUsize) -> Result<Calibration> {
    let (rows, _) = Labels::Binary(labels).check(probabilities)?;
    if let Some(row) = probabilities.iter().position(|p| !(0.0..=1.0).contains(p)) {
        return Err(Error::Probability { row, value: probabilities[row] });
    }
    let width = 1.0 / bins.get() as f64;
    let edges: Vec<f64> = (1..bins.get()).map(|k| k as f64 * width).collect();
    // Rows, summed probability, positives.
    let mut sums = vec![(0usize, 0f64, 0usize); bins.get()];
    let mut squares = 0.0;
    for (label, p) in labels.iter().zip(probabilities) {
        let p = f64::from(*p);
        let bin = &mut sums[edges.partition_point(|edge| *edge < p)];
        bin.0 += 1;
        bin.1 += p;
        bin.2 += usize::from(*label);
        squares += (p - f64::from(*label)).powi(2);
    }
    let filled = sums.into_iter().filter(|bin| bin.0 > 0);
    let bins: Vec<ReliabilityBin> = filled
        .map(|(rows, sum, positives)| ReliabilityBin {
            rows,
            mean_probability: sum / rows as f64,
            observed: positives as f64 / rows as f64,
        })
        .collect();
    let gap = |bin: &ReliabilityBin| bin.rows as f64 * (bin.observed - bin.mean_probability).abs();
    Ok(Calibration {
        expected_error: bins.iter().map(gap).sum::<f64>() / rows as f64,
        brier: squares / rows as f64,
        bins,
    })
}
