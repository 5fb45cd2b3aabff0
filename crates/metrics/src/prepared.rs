//! Labels and scores, checked and sorted once, ready to be measured under any weights.

use rayon::prelude::*;

use crate::confusion::{Confusion, f1_of};
use crate::error::{Error, Result, Undefined};
use crate::ranking::{Lanes, Outcome, Ranking};

/// The truth, and with it the kind of task.
#[derive(Debug, Clone, Copy)]
pub enum Labels<'a> {
    /// One outcome per row, 0 or 1. Scores are `n x 1`: the probability of 1.
    ///
    /// F1 predicts 1 where the score is above 0.5 (the class of greater probability).
    Binary(&'a [u8]),
    /// One class of `classes` per row. Scores are `n x classes`: probabilities.
    ///
    /// F1 predicts the first class of greatest score.
    Classes {
        /// The class of each row, below `classes`.
        labels: &'a [u32],
        /// How many classes there are.
        classes: usize,
    },
    /// Any number of `columns` labels per row, row-major 0 or 1. Scores are `n x columns`.
    ///
    /// F1 predicts a label where the score is at least 0.5, unless `decisions` says otherwise: needed when the scores
    /// that are ranked (softmax over labels) are not those that decide (sigmoid).
    Multilabel {
        /// 0 or 1, `n x columns`.
        labels: &'a [u8],
        /// How many labels there are.
        columns: usize,
        /// Predicted labels, 0 or 1, `n x columns`.
        decisions: Option<&'a [u8]>,
    },
}

/// How rankings combine into one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Average {
    /// Undefined as soon as one ranking is.
    All,
    /// Labels without positives or without negatives are skipped.
    Skip,
}

/// Everything that does not change from resample to resample.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// How many rows.
    pub(crate) rows: usize,
    average: Average,
    /// Binary: one; classes: one per ordered pair; multilabel: one per label.
    auroc: Vec<Ranking>,
    /// Classes: one per class against the rest; otherwise the curves of `auroc` serve both.
    auprc: Vec<Ranking>,
    confusion: Vec<Confusion>,
}

/// The metrics in `L` resamples; NaN where undefined.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measures<const L: usize> {
    pub(crate) auroc: [f64; L],
    /// Each ranking counts as often as its positives.
    pub(crate) auroc_by_frequency: [f64; L],
    pub(crate) auprc: [f64; L],
    pub(crate) f1_micro: [f64; L],
    pub(crate) f1_macro: [f64; L],
    /// How many rankings the averages hold.
    pub(crate) averaged: [u32; L],
}

impl Labels<'_> {
    /// Rows and score columns, or what does not fit.
    pub(crate) fn check(&self, scores: &[f32]) -> Result<(usize, usize)> {
        let (values, columns) = match *self {
            Self::Binary(labels) => (labels.len(), 1),
            Self::Classes { labels, classes } => (labels.len() * classes, classes),
            Self::Multilabel { labels, columns, .. } => (labels.len(), columns),
        };
        let (what, least) = match self {
            Self::Binary(_) | Self::Multilabel { .. } => ("labels", 1),
            Self::Classes { .. } => ("classes", 2),
        };
        if columns < least {
            return Err(Error::Columns { what, found: columns, least });
        }
        let rows = values / columns;
        length("labels", rows * columns, values)?;
        length("scores", values, scores.len())?;
        if let Self::Multilabel { decisions: Some(decisions), .. } = self {
            length("decisions", values, decisions.len())?;
        }
        if rows == 0 || u32::try_from(rows).is_err() {
            return Err(Error::Rows { rows });
        }
        self.check_values(columns)?;
        match scores.iter().position(|s| !s.is_finite()) {
            Some(i) => Err(Error::Score { row: i / columns, column: i % columns, value: scores[i] }),
            None => Ok((rows, columns)),
        }
    }

    fn check_values(&self, columns: usize) -> Result<()> {
        let bad = |i: usize, value: u32, columns: usize, limit: usize| Error::Label {
            row: i / columns,
            column: i % columns,
            value,
            limit,
        };
        let zero_or_one = |values: &[u8]| match values.iter().position(|v| *v > 1) {
            Some(i) => Err(bad(i, values[i].into(), columns, 2)),
            None => Ok(()),
        };
        match *self {
            Self::Binary(labels) => zero_or_one(labels),
            Self::Multilabel { labels, decisions, .. } => {
                zero_or_one(labels).and_then(|()| zero_or_one(decisions.unwrap_or(&[])))
            }
            Self::Classes { labels, classes } => match labels.iter().position(|v| *v as usize >= classes) {
                Some(i) => Err(bad(i, labels[i], 1, classes)),
                None => Ok(()),
            },
        }
    }

    /// Why the ranking metrics have no value on all rows; `None` if they have one.
    pub(crate) fn undefined(&self) -> Option<Undefined> {
        match *self {
            Self::Binary(labels) => {
                let first = *labels.first()?;
                labels.iter().all(|v| *v == first).then_some(Undefined::OneClass(first))
            }
            Self::Classes { labels, classes } => {
                (0..classes).find(|class| labels.iter().all(|v| *v as usize != *class)).map(Undefined::MissingClass)
            }
            Self::Multilabel { labels, columns, .. } => {
                let rows = labels.len() / columns.max(1);
                let mixed = (0..columns).any(|c| {
                    let positives = labels.iter().skip(c).step_by(columns).filter(|v| **v == 1);
                    let positives = positives.count();
                    0 < positives && positives < rows
                });
                (!mixed).then_some(Undefined::NoLabel)
            }
        }
    }
}

fn length(what: &'static str, expected: usize, found: usize) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(Error::Shape { what, expected, found })
}

impl Prepared {
    /// Checks, sorts and counts.
    pub(crate) fn new(labels: Labels<'_>, scores: &[f32]) -> Result<Self> {
        let (rows, columns) = labels.check(scores)?;
        let column = |c: usize, positive: &(dyn Fn(usize) -> bool + Sync)| {
            let rank = |i: usize| (i as u32, scores[i * columns + c], positive(i).into());
            Ranking::new((0..rows).map(rank).collect())
        };
        let (average, auroc, auprc) = match labels {
            Labels::Binary(truth) => (Average::All, vec![column(0, &|i| truth[i] == 1)], vec![]),
            Labels::Classes { labels, classes } => {
                (Average::All, one_versus_one(labels, classes, scores), against_rest(labels, classes, scores))
            }
            Labels::Multilabel { labels, .. } => {
                let rankings = (0..columns).into_par_iter().map(|c| column(c, &|i| labels[i * columns + c] == 1));
                (Average::Skip, rankings.collect(), vec![])
            }
        };
        let confusion = confusions(labels, scores, rows, columns);
        Ok(Self { rows, average, auroc, auprc, confusion })
    }

    /// All metrics under `L` weightings of the rows.
    pub(crate) fn measure<const L: usize>(&self, weights: &[Lanes<L>]) -> Measures<L> {
        let curves = average(&self.auroc, weights, self.average);
        let auprc = match self.auprc.as_slice() {
            [] => curves.auprc,
            rankings => average(rankings, weights, self.average).auprc,
        };
        let (f1_micro, f1_macro) = self.f1(weights);
        Measures {
            auroc: curves.auroc,
            auroc_by_frequency: curves.auroc_by_frequency,
            auprc,
            f1_micro,
            f1_macro,
            averaged: curves.averaged,
        }
    }

    /// One curve for each outcome: the outcome, each class against the rest, each label.
    pub(crate) fn outcomes(&self) -> &[Ranking] {
        if self.auprc.is_empty() { &self.auroc } else { &self.auprc }
    }

    /// AUROC alone.
    pub(crate) fn auroc<const L: usize>(&self, weights: &[Lanes<L>]) -> [f64; L] {
        average(&self.auroc, weights, self.average).auroc
    }

    /// Micro and macro F1. Macro: multilabel skips labels without positives or negatives; classes skip what is neither
    /// there nor predicted.
    fn f1<const L: usize>(&self, weights: &[Lanes<L>]) -> ([f64; L], [f64; L]) {
        let mut total = [0u64; L];
        for w in weights {
            for l in 0..L {
                total[l] += u64::from(w[l]);
            }
        }
        let (mut both, mut wrong) = ([0u64; L], [0u64; L]);
        let (mut sum, mut count) = ([0f64; L], [0u32; L]);
        for confusion in &self.confusion {
            let cells = confusion.cells(weights);
            for l in 0..L {
                let hit = u64::from(cells.both[l]);
                let miss = u64::from(cells.actual_only[l]);
                let off = miss + u64::from(cells.predicted_only[l]);
                both[l] += hit;
                wrong[l] += off;
                let counts = match self.average {
                    Average::All => hit + off > 0,
                    Average::Skip => hit + miss > 0 && hit + miss < total[l],
                };
                if counts {
                    sum[l] += f1_of(hit, off);
                    count[l] += 1;
                }
            }
        }
        (std::array::from_fn(|l| f1_of(both[l], wrong[l])), std::array::from_fn(|l| sum[l] / f64::from(count[l])))
    }
}

/// Means over rankings, per lane.
struct Averages<const L: usize> {
    auroc: [f64; L],
    auroc_by_frequency: [f64; L],
    auprc: [f64; L],
    averaged: [u32; L],
}

fn average<const L: usize>(rankings: &[Ranking], weights: &[Lanes<L>], rule: Average) -> Averages<L> {
    let (mut auroc, mut auprc, mut averaged) = ([0f64; L], [0f64; L], [0u32; L]);
    let (mut by_frequency, mut frequency) = ([0f64; L], [0f64; L]);
    for ranking in rankings {
        let curve = ranking.walk(weights);
        for l in 0..L {
            if curve.defined(l) {
                auroc[l] += curve.auroc[l];
                auprc[l] += curve.auprc[l];
                by_frequency[l] += curve.auroc[l] * f64::from(curve.positives[l]);
                frequency[l] += f64::from(curve.positives[l]);
                averaged[l] += 1;
            }
        }
    }
    let mean = |sum: [f64; L]| {
        std::array::from_fn(|l| match rule {
            Average::All if (averaged[l] as usize) < rankings.len() => f64::NAN,
            _ => sum[l] / f64::from(averaged[l]),
        })
    };
    let auroc_by_frequency = std::array::from_fn(|l| by_frequency[l] / frequency[l]);
    Averages { auroc: mean(auroc), auroc_by_frequency, auprc: mean(auprc), averaged }
}

/// For each class: all rows, ranked by its score.
pub(crate) fn against_rest(labels: &[u32], classes: usize, scores: &[f32]) -> Vec<Ranking> {
    let class = |c: usize| {
        let rows = labels.iter().enumerate();
        let rows = rows.map(|(i, label)| (i as u32, scores[i * classes + c], Outcome::from(*label as usize == c)));
        Ranking::new(rows.collect())
    };
    (0..classes).map(class).collect()
}

/// For each ordered pair of classes (a, b): rows of a and b only, ranked by the score of a.
fn one_versus_one(labels: &[u32], classes: usize, scores: &[f32]) -> Vec<Ranking> {
    let pair = |a: usize, b: usize| {
        let rows = labels.iter().enumerate().filter_map(|(i, label)| {
            let label = *label as usize;
            let score = scores[i * classes + a];
            (label == a || label == b).then(|| (i as u32, score, Outcome::from(label == a)))
        });
        Ranking::new(rows.collect())
    };
    let pairs = (0..classes).flat_map(|a| (0..classes).map(move |b| (a, b)));
    pairs.filter(|(a, b)| a != b).map(|(a, b)| pair(a, b)).collect()
}

fn confusions(labels: Labels<'_>, scores: &[f32], rows: usize, columns: usize) -> Vec<Confusion> {
    match labels {
        Labels::Binary(truth) => {
            let mut found = vec![Confusion::default(); 2];
            for (i, (truth, score)) in truth.iter().zip(scores).enumerate() {
                let predicted = *score > 0.5;
                found[0].push(i as u32, !predicted, *truth == 0);
                found[1].push(i as u32, predicted, *truth == 1);
            }
            found
        }
        Labels::Classes { labels, classes } => {
            let mut found = vec![Confusion::default(); classes];
            for (i, row) in scores.chunks_exact(classes).enumerate() {
                let predicted = first_greatest(row);
                let actual = labels[i] as usize;
                found[predicted].push(i as u32, true, predicted == actual);
                if predicted != actual {
                    found[actual].push(i as u32, false, true);
                }
            }
            found
        }
        Labels::Multilabel { labels, decisions, .. } => {
            let one = |c: usize| {
                let mut found = Confusion::default();
                for i in 0..rows {
                    let at = i * columns + c;
                    let predicted = decisions.map_or(scores[at] >= 0.5, |d| d[at] == 1);
                    found.push(i as u32, predicted, labels[at] == 1);
                }
                found
            };
            (0..columns).into_par_iter().map(one).collect()
        }
    }
}

pub(crate) fn first_greatest(row: &[f32]) -> usize {
    let mut best = 0;
    for (c, score) in row.iter().enumerate() {
        if *score > row[best] {
            best = c;
        }
    }
    best
}
