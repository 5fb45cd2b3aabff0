//! Variance of the area under the ROC curve without resampling (DeLong, DeLong & Clarke-Pearson 1988), for rows that may
//! belong to the same patient (Obuchowski 1997).

use std::collections::BTreeMap;

use crate::comparison::Difference;
use crate::error::{Error, Result, Undefined};
use crate::prepared::Labels;

/// Difference of the AUROCs of two models on the same rows: `var_a + var_b - 2 cov`.
///
/// A model may have several score vectors (training seeds): its AUROC is then their mean, and seeds count as fixed.
///
/// ```text
/// V10_i = mean over negatives of psi(x_i, y_j)      V01_j = mean over positives of psi(x_i, y_j)
/// psi   = [x > y] + [x = y] / 2                     a = AUROC, P positives, N negatives
/// for a patient k with p_k positives, n_k negatives:  d_k = sum of its V10 - p_k a,  e_k = sum of its V01 - n_k a
/// var = S10 / P + S01 / N + 2 S11 / (P N)
/// S10 = K10 / ((K10 - 1) P) sum d_k^2    S01 = K01 / ((K01 - 1) N) sum e_k^2    S11 = K / (K - 1) sum d_k e_k
/// ```
/// `K10`, `K01`, `K`: patients with a positive, with a negative, all. With one row per patient this is DeLong's variance.
/// `labels` 0 or 1, `scores` and `subjects` `[n]`. In n log n, from midranks (Sun & Xu 2014).
///
/// # Errors
/// Unequal lengths, a score that is not finite, a label above 1, a model without scores; needs two patients with positives
/// and two with negatives ([`Undefined::TooFew`]).
///
/// ```
/// // Against a constant, whose AUROC is exactly 1/2.
/// let (labels, scores) = ([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]);
/// let found = clinpeft_metrics::auroc_delong_difference(&labels, &[&scores], &[&[0.0; 4]], &[1, 2, 3, 4])?;
/// assert_eq!((found.value, found.standard_error.powi(2)), (0.25, 0.125f64.sqrt().powi(2)));
/// # Ok::<(), clinpeft_metrics::Error>(())
/// ```
pub fn auroc_delong_difference(
    labels: &[u8],
    first: &[&[f32]],
    second: &[&[f32]],
    subjects: &[u64],
) -> Result<Difference> {
    let a = Placements::new(labels, first, subjects)?;
    let b = Placements::new(labels, second, subjects)?;
    let variance = a.covariance(&a) + b.covariance(&b) - 2.0 * a.covariance(&b);
    // Equal models: rounding must not give a negative variance.
    Ok(Difference { value: a.auroc - b.auroc, standard_error: variance.max(0.0).sqrt() })
}

/// What the rows of one patient win, beyond what as many average rows would.
#[derive(Debug, Clone, Copy, Default)]
struct Patient {
    positives: f64,
    negatives: f64,
    won: f64,
    lost: f64,
}

/// How often each patient's rows win: a positive the share of negatives that it outranks; a negative the share of
/// positives that outrank it. Ties count half.
struct Placements {
    auroc: f64,
    /// In the order of their ids.
    patients: Vec<Patient>,
}

impl Placements {
    fn new(labels: &[u8], models: &[&[f32]], subjects: &[u64]) -> Result<Self> {
        if models.is_empty() || subjects.len() != labels.len() {
            return Err(Error::Shape { what: "subjects", expected: labels.len(), found: subjects.len() });
        }
        let mut patients: BTreeMap<u64, Patient> = BTreeMap::new();
        let share = 1.0 / models.len() as f64;
        for scores in models {
            Labels::Binary(labels).check(scores)?;
            let of = |wanted: u8| -> Vec<f32> {
                let rows = labels.iter().zip(*scores).filter(|(label, _)| **label == wanted);
                let mut scores: Vec<f32> = rows.map(|(_, score)| *score).collect();
                scores.sort_unstable_by(f32::total_cmp);
                scores
            };
            let (positives, negatives) = (of(1), of(0));
            for ((label, score), subject) in labels.iter().zip(*scores).zip(subjects) {
                let patient = patients.entry(*subject).or_default();
                if *label == 1 {
                    patient.positives += share;
                    patient.won += share * share_below(*score, &negatives);
                } else {
                    patient.negatives += share;
                    patient.lost += share * (1.0 - share_below(*score, &positives));
                }
            }
        }
        let mut found = Self { auroc: 0.0, patients: patients.into_values().collect() };
        let fewest = found.count(|p| p.positives).min(found.count(|p| p.negatives));
        if fewest < 2 {
            return Err(Error::Undefined { metric: "variance of auroc", reason: Undefined::TooFew(fewest) });
        }
        found.auroc = found.sum(|p| p.won) / found.sum(|p| p.positives);
        for patient in &mut found.patients {
            patient.won -= patient.positives * found.auroc;
            patient.lost -= patient.negatives * found.auroc;
        }
        Ok(found)
    }

    fn sum(&self, of: fn(&Patient) -> f64) -> f64 {
        self.patients.iter().map(of).sum()
    }

    /// How many patients have any.
    fn count(&self, of: fn(&Patient) -> f64) -> usize {
        self.patients.iter().filter(|p| of(p) > 0.0).count()
    }

    fn covariance(&self, other: &Self) -> f64 {
        let product = |a: fn(&Patient) -> f64, b: fn(&Patient) -> f64| -> f64 {
            self.patients.iter().zip(&other.patients).map(|(x, y)| a(x) * b(y)).sum()
        };
        let unbiased = |count: usize| count as f64 / (count - 1) as f64;
        let (positives, negatives) = (self.sum(|p| p.positives), self.sum(|p| p.negatives));
        let both = product(|p| p.won, |p| p.lost) + product(|p| p.lost, |p| p.won);
        unbiased(self.count(|p| p.positives)) * product(|p| p.won, |p| p.won) / positives.powi(2)
            + unbiased(self.count(|p| p.negatives)) * product(|p| p.lost, |p| p.lost) / negatives.powi(2)
            + unbiased(self.patients.len()) * both / (positives * negatives)
    }
}

/// The share of `sorted` below the score, equal ones counting half.
fn share_below(score: f32, sorted: &[f32]) -> f64 {
    let below = sorted.partition_point(|other| *other < score);
    let not_above = sorted.partition_point(|other| *other <= score);
    (below + not_above) as f64 / (2 * sorted.len()) as f64
}
