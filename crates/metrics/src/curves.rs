//! ROC and precision-recall curves on a fixed grid, with pointwise bands by patient.

use rayon::prelude::*;

use crate::bootstrap::{Bootstrap, LANES, Population, unwatched};
use crate::error::{Error, Result};
use crate::prepared::{Labels, Prepared};
use crate::ranking::Ranking;

/// One curve over the grid `0, 1/(k-1), ..., 1`; all vectors have its length `k`.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// On all rows.
    pub value: Vec<f64>,
    /// Lower end of the pointwise interval; empty without resamples.
    pub lo: Vec<f64>,
    /// Its upper end.
    pub hi: Vec<f64>,
}

/// Both curves of one prediction file.
#[derive(Debug, Clone, PartialEq)]
pub struct Curves {
    /// Sensitivity at each share of false alarms, linear between thresholds; where the curve is vertical, its top.
    pub roc: Curve,
    /// Precision at the highest threshold that reaches each recall; at recall 0 that of the first positives.
    pub precision_recall: Curve,
}

/// Curves on a grid of `points`; for several outcomes the mean over those with positives and negatives: classes each against
/// the rest, labels each for itself (vertical averaging, Fawcett 2006, section 7).
///
/// # Errors
/// As [`crate::evaluate`]; fewer than two points.
pub fn curves(
    labels: Labels<'_>,
    scores: &[f32],
    subjects: &[u64],
    points: usize,
    bootstrap: &Bootstrap,
) -> Result<Curves> {
    bootstrap.check()?;
    let prepared = Prepared::new(labels, scores)?;
    for (what, found, expected) in [("points", points, 2), ("subjects", subjects.len(), prepared.rows)] {
        if found < expected || (what == "subjects" && found > expected) {
            return Err(Error::Shape { what, expected, found });
        }
    }
    let all = mean_curves(&prepared, points, &|_| 1);
    let resampled = bootstrap.run(&Population::new(subjects.iter().copied()), subjects, &unwatched, |weights| {
        std::array::from_fn::<_, LANES, _>(|lane| {
            mean_curves(&prepared, points, &|row| u32::from(weights[row as usize][lane]))
        })
    })?;
    let curve = |which: usize| {
        let end = |pick: fn(crate::Interval) -> f64| -> Vec<f64> {
            let point = |i: usize| {
                let values = resampled.iter().map(|c| c[which][i]);
                bootstrap.estimate(all[which][i], values).interval.map_or(f64::NAN, pick)
            };
            if resampled.is_empty() { vec![] } else { (0..points).into_par_iter().map(point).collect() }
        };
        Curve { value: all[which].clone(), lo: end(|i| i.lo), hi: end(|i| i.hi) }
    };
    Ok(Curves { roc: curve(0), precision_recall: curve(1) })
}

/// ROC and precision-recall; NaN where no outcome is defined.
fn mean_curves(prepared: &Prepared, points: usize, weight: &dyn Fn(u32) -> u32) -> [Vec<f64>; 2] {
    let mut sums = [vec![0.0; points], vec![0.0; points]];
    let mut count = 0.0;
    for ranking in prepared.outcomes() {
        count += f64::from(u8::from(add(ranking, weight, &mut sums)));
    }
    sums.map(|sum| sum.into_iter().map(|y| y / count).collect())
}

/// Adds the curves of one outcome; false if it has no positives or no negatives.
fn add(ranking: &Ranking, weight: &dyn Fn(u32) -> u32, sums: &mut [Vec<f64>; 2]) -> bool {
    let mut steps = vec![(0u32, 0u32)];
    ranking.trace(weight, |positives, negatives| steps.push((positives, negatives)));
    let (positives, negatives) = *steps.last().expect("the origin is there");
    if positives == 0 || negatives == 0 {
        return false;
    }
    let (all_positives, all_negatives) = (f64::from(positives), f64::from(negatives));
    let [roc, precision_recall] = sums;
    let points = roc.len();
    let (mut next_roc, mut next_recall) = (0, 0);
    for (k, (sensitivity, precision)) in roc.iter_mut().zip(precision_recall).enumerate() {
        let x = k as f64 / (points - 1) as f64;
        // The first step right of x, and with it the top of what lies at or left of x.
        while next_roc < steps.len() && f64::from(steps[next_roc].1) <= x * all_negatives {
            next_roc += 1;
        }
        let (p, n) = steps[next_roc - 1];
        let (p, n) = (f64::from(p), f64::from(n));
        let slope = steps.get(next_roc).map_or(0.0, |(q, m)| (f64::from(*q) - p) / (f64::from(*m) - n));
        *sensitivity += (p + slope * (x * all_negatives - n)) / all_positives;
        let reached = |(p, _): (u32, u32)| p > 0 && f64::from(p) >= x * all_positives;
        while next_recall + 1 < steps.len() && !reached(steps[next_recall]) {
            next_recall += 1;
        }
        let (p, n) = steps[next_recall];
        *precision += f64::from(p) / (f64::from(p) + f64::from(n));
    }
    true
}
