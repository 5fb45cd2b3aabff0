//! One number that makes probabilities less sure (or more): temperature scaling (Guo et al. 2017, section 4.2).
//!
//! A probability is turned into its logit, divided by a temperature `T` and turned back. `T` does not change the order of
//! the scores of a binary or multilabel task, so AUROC stays as it is.

use std::borrow::Cow;
use std::num::NonZeroUsize;

use rayon::prelude::*;

use crate::calibration::{Calibration, calibration};
use crate::error::{Error, Result};
use crate::prepared::{Labels, first_greatest};

/// Logits of 0 and 1 are infinite; these are what an f32 cannot tell from them.
const NEAR_ZERO: f64 = f32::MIN_POSITIVE as f64;
const NEAR_ONE: f64 = 1.0 - f32::EPSILON as f64 / 4.0;

/// Range in which the temperature is looked for, as powers of e.
const RANGE: f64 = 7.0;

/// Values of one part of a sum; fixed, so that the sum does not depend on the number of threads.
const PART: usize = 1 << 14;

/// The temperature of least negative log-likelihood on these rows, between e^-7 and e^7.
///
/// The loss is convex in `1 / T`; its derivative is brought to 0 by halving the range of `log T`. Multilabel: one
/// temperature for all labels, each cell a binary outcome.
///
/// # Errors
/// As [`crate::evaluate`]; a score outside of 0..=1.
pub fn temperature(labels: Labels<'_>, probabilities: &[f32]) -> Result<f64> {
    let (_, columns) = check(labels, probabilities)?;
    // Whole rows.
    let size = PART.next_multiple_of(columns);
    let slope = |inverse: f64| -> f64 {
        let parts = probabilities.par_chunks(size).enumerate();
        let parts = parts.map(|(i, part)| slope_of(labels, i * size, columns, part, inverse));
        parts.collect::<Vec<f64>>().into_iter().sum()
    };
    let (mut low, mut high) = (-RANGE, RANGE);
    for _ in 0..45 {
        let middle = (low + high) / 2.0;
        // A falling loss wants a greater 1 / T, a smaller T.
        if slope((-middle).exp()) < 0.0 { high = middle } else { low = middle }
    }
    Ok(((low + high) / 2.0).exp())
}

/// Derivative of the loss by `1 / T` on the scores from `start` on.
fn slope_of(labels: Labels<'_>, start: usize, columns: usize, part: &[f32], inverse: f64) -> f64 {
    let cells = |truth: &[u8]| -> f64 {
        let one = |(p, y): (&f32, &u8)| {
            let z = logit(*p);
            (1.0 / (1.0 + (-inverse * z).exp()) - f64::from(*y)) * z
        };
        part.iter().zip(&truth[start..]).map(one).sum()
    };
    match labels {
        Labels::Binary(truth) => cells(truth),
        Labels::Multilabel { labels, .. } => cells(labels),
        Labels::Classes { labels, .. } => {
            let rows = part.chunks_exact(columns).zip(&labels[start / columns..]);
            let one = |(row, label): (&[f32], &u32)| {
                let tempered = tempered(row, inverse);
                let mean: f64 = tempered.iter().zip(row).map(|(q, p)| q * log(*p)).sum();
                mean - log(row[*label as usize])
            };
            rows.map(one).sum()
        }
    }
}

/// The probabilities at a temperature; 1 leaves them as they are, up to rounding.
///
/// # Errors
/// As [`temperature`].
pub fn at_temperature(labels: Labels<'_>, probabilities: &[f32], temperature: f64) -> Result<Vec<f32>> {
    let (_, columns) = check(labels, probabilities)?;
    let inverse = 1.0 / temperature;
    Ok(match labels {
        Labels::Binary(_) | Labels::Multilabel { .. } => {
            let one = |p: &f32| (1.0 / (1.0 + (-inverse * logit(*p)).exp())) as f32;
            probabilities.iter().map(one).collect()
        }
        Labels::Classes { .. } => {
            let rows = probabilities.chunks_exact(columns);
            rows.flat_map(|row| tempered(row, inverse).into_iter().map(|q| q as f32)).collect()
        }
    })
}

/// `calibration` of any kind of task.
///
/// Classes: how often the class of greatest probability is right against that probability. Multilabel: every cell is a
/// binary outcome, so labels count by their number of rows.
///
/// # Errors
/// As `calibration`.
pub fn reliability(labels: Labels<'_>, probabilities: &[f32], bins: NonZeroUsize) -> Result<Calibration> {
    check(labels, probabilities)?;
    let (truth, scores): (Cow<'_, [u8]>, Cow<'_, [f32]>) = match labels {
        Labels::Binary(truth) | Labels::Multilabel { labels: truth, .. } => (truth.into(), probabilities.into()),
        Labels::Classes { labels, classes } => {
            let rows = probabilities.chunks_exact(classes).zip(labels);
            let (truth, best): (Vec<u8>, Vec<f32>) = rows
                .map(|(row, label)| {
                    let best = first_greatest(row);
                    (u8::from(best == *label as usize), row[best])
                })
                .unzip();
            (truth.into(), best.into())
        }
    };
    calibration(&truth, &scores, bins)
}

fn check(labels: Labels<'_>, probabilities: &[f32]) -> Result<(usize, usize)> {
    let shape = labels.check(probabilities)?;
    match probabilities.iter().position(|p| !(0.0..=1.0).contains(p)) {
        Some(i) => Err(Error::Probability { row: i / shape.1, value: probabilities[i] }),
        None => Ok(shape),
    }
}

fn logit(p: f32) -> f64 {
    let p = f64::from(p).clamp(NEAR_ZERO, NEAR_ONE);
    (p / (1.0 - p)).ln()
}

fn log(p: f32) -> f64 {
    f64::from(p).max(NEAR_ZERO).ln()
}

/// Probabilities of logits: `exp(z_i) / sum_j exp(z_j)`, without overflow.
pub fn softmax(logits: &[f64]) -> Vec<f64> {
    let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.iter().map(|z| (z - top).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|p| p / sum).collect()
}

/// Softmax of the logarithms times `inverse`.
fn tempered(row: &[f32], inverse: f64) -> Vec<f64> {
    softmax(&row.iter().map(|p| inverse * log(*p)).collect::<Vec<_>>())
}
