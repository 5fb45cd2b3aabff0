//! One sorted pass gives the area under the ROC curve and the average precision, for many weightings at once.
//!
//! The rows are sorted once, by falling score. A bootstrap resample only changes how often each row counts, so a
//! resample is a vector of integer weights and [`Ranking::walk`] takes `L` of them side by side: the inner loop adds `L`
//! small integers per row and the rare work (a product, a division) happens only where positives are.

use std::cmp::Ordering;

/// Weights of one row in `L` resamples.
pub(crate) type Lanes<const L: usize> = [u16; L];

/// Rows of equal score that hold a positive, or a run of rows without one.
#[derive(Debug, Clone, Copy)]
struct Step {
    positives: u32,
    negatives: u32,
}

/// Rows by falling score, ties grouped; within a step positives come first.
#[derive(Debug, Clone)]
pub(crate) struct Ranking {
    rows: Vec<u32>,
    steps: Vec<Step>,
}

/// What one pass finds, per lane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Curve<const L: usize> {
    /// Area under the ROC curve; meaningless unless [`Curve::defined`].
    pub(crate) auroc: [f64; L],
    /// Average precision; meaningless unless [`Curve::defined`].
    pub(crate) auprc: [f64; L],
    /// Weight of the positives.
    pub(crate) positives: [u32; L],
    /// Weight of the negatives.
    pub(crate) negatives: [u32; L],
}

impl<const L: usize> Curve<L> {
    /// Whether lane `l` has positives and negatives.
    pub(crate) fn defined(&self, l: usize) -> bool {
        self.positives[l] > 0 && self.negatives[l] > 0
    }
}

impl Ranking {
    /// Sorts `rows` (index, score, positive). Scores must be numbers.
    pub(crate) fn new(mut rows: Vec<(u32, f32, Outcome)>) -> Self {
        rows.sort_unstable_by(|a, b| {
            b.1.partial_cmp(&a.1).unwrap_or(Ordering::Equal).then(a.2.cmp(&b.2)).then(a.0.cmp(&b.0))
        });
        let mut steps: Vec<Step> = Vec::new();
        for tied in rows.chunk_by(|a, b| a.1 == b.1) {
            let positives = tied.partition_point(|r| r.2 == Outcome::Positive) as u32;
            let negatives = tied.len() as u32 - positives;
            match steps.last_mut() {
                // Where no positive is, only the sum of the negatives matters.
                Some(last) if positives == 0 && last.positives == 0 => last.negatives += negatives,
                _ => steps.push(Step { positives, negatives }),
            }
        }
        let rows = rows.into_iter().map(|r| r.0).collect();
        Self { rows, steps }
    }

    /// AUROC and average precision under `L` integer weightings (`weights[row]`).
    ///
    /// ```text
    /// AUROC = sum over pairs (p, n) of w_p w_n ([s_p > s_n] + [s_p = s_n] / 2) / (P N)       Mann & Whitney 1947
    /// AP    = sum over distinct scores of (recall - previous recall) * precision
    /// ```
    /// The numerator of AUROC is kept as twice the number of lost pairs: an integer, exact in f64 below 2^53.
    pub(crate) fn walk<const L: usize>(&self, weights: &[Lanes<L>]) -> Curve<L> {
        let mut positives = [0u32; L];
        let mut negatives = [0u32; L];
        let mut lost_twice = [0f64; L];
        let mut precision = [0f64; L];
        let mut rest = self.rows.as_slice();
        for step in &self.steps {
            let (winners, after) = rest.split_at(step.positives as usize);
            let (losers, after) = after.split_at(step.negatives as usize);
            rest = after;
            if winners.is_empty() {
                negatives = add_rows(negatives, losers, weights);
                continue;
            }
            let won = add_rows([0; L], winners, weights);
            let tied = add_rows([0; L], losers, weights);
            for l in 0..L {
                let w = f64::from(won[l]);
                lost_twice[l] += w * (2.0 * f64::from(negatives[l]) + f64::from(tied[l]));
                positives[l] += won[l];
                negatives[l] += tied[l];
                let found = f64::from(positives[l]) + f64::from(negatives[l]);
                precision[l] += w * f64::from(positives[l]) / found.max(1.0);
            }
        }
        let pairs: [f64; L] = std::array::from_fn(|l| 2.0 * f64::from(positives[l]) * f64::from(negatives[l]));
        Curve {
            auroc: std::array::from_fn(|l| (pairs[l] - lost_twice[l]) / pairs[l]),
            auprc: std::array::from_fn(|l| precision[l] / f64::from(positives[l])),
            positives,
            negatives,
        }
    }
}

impl Ranking {
    /// Calls `visit` with the weights of the positives and negatives found so far, after each step from the top.
    pub(crate) fn trace(&self, weight: impl Fn(u32) -> u32, mut visit: impl FnMut(u32, u32)) {
        let (mut positives, mut negatives) = (0, 0);
        let mut rest = self.rows.as_slice();
        for step in &self.steps {
            let (winners, after) = rest.split_at(step.positives as usize);
            let (losers, after) = after.split_at(step.negatives as usize);
            rest = after;
            positives += winners.iter().map(|row| weight(*row)).sum::<u32>();
            negatives += losers.iter().map(|row| weight(*row)).sum::<u32>();
            visit(positives, negatives);
        }
    }
}

/// The outcome of a row; positives sort first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    Positive,
    Negative,
}

impl From<bool> for Outcome {
    fn from(positive: bool) -> Self {
        if positive { Self::Positive } else { Self::Negative }
    }
}

/// `total[l] + sum over rows of weights[row][l]`.
///
/// By value, so that the sums stay in registers.
pub(crate) fn add_rows<const L: usize>(mut total: [u32; L], rows: &[u32], weights: &[Lanes<L>]) -> [u32; L] {
    for &row in rows {
        let w = &weights[row as usize];
        for l in 0..L {
            total[l] += u32::from(w[l]);
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn weighted_equals_repeated(rows in prop::collection::vec((0u8..2, 0u8..12, 0u16..4), 2..60)) {
            let ranking = |rows: &mut dyn Iterator<Item = &(u8, u8, u16)>| {
                Ranking::new(rows.enumerate().map(|(i, r)| (i as u32, f32::from(r.1), (r.0 == 1).into())).collect())
            };
            let weights: Vec<[u16; 1]> = rows.iter().map(|r| [r.2]).collect();
            let weighted = ranking(&mut rows.iter()).walk(&weights);
            let copies = || rows.iter().flat_map(|r| std::iter::repeat_n(r, r.2.into()));
            let repeated = ranking(&mut copies()).walk(&vec![[1]; copies().count()]);
            prop_assert_eq!(weighted.positives, repeated.positives);
            if weighted.defined(0) {
                prop_assert_eq!(weighted.auroc, repeated.auroc);
                prop_assert_eq!(weighted.auprc, repeated.auprc);
            }
        }
    }
}
