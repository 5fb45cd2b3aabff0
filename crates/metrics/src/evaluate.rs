//! All metrics of one prediction file.

use std::collections::BTreeMap;

use crate::bootstrap::{Bootstrap, Estimate, LANES, Population, Watch, unwatched};
use crate::error::{Error, Result, Undefined};
use crate::prepared::{Labels, Measures, Prepared};

/// What [`evaluate`] finds.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// `auroc`, `auprc`, `f1_micro`, `f1_macro`, for multilabel `auroc_weighted`: those that are defined.
    pub metrics: BTreeMap<&'static str, Estimate>,
    /// The others, each with the reason.
    pub undefined: BTreeMap<&'static str, Undefined>,
    /// Multilabel: how many labels the averages hold (those with positives and negatives).
    pub averaged_labels: Option<usize>,
}

type Pick = for<'a> fn(&'a [f64; 5]) -> f64;

/// Name and place of each metric in a resample's values.
const NAMES: [(&str, Pick); 5] = [
    ("auroc", |v| v[0]),
    ("auprc", |v| v[1]),
    ("f1_micro", |v| v[2]),
    ("f1_macro", |v| v[3]),
    (BY_FREQUENCY, |v| v[4]),
];

/// Mean over labels that counts each as often as it occurs; for multilabel only.
const BY_FREQUENCY: &str = "auroc_weighted";

/// Evaluates `scores` (row-major, shape as [`Labels`] says) against `labels`, with intervals by patient.
///
/// | | `auroc` | `auprc` | `f1_micro`, `f1_macro` |
/// |---|---|---|---|
/// | binary | of the score | average precision of the score | accuracy; mean over both classes |
/// | classes | one-vs-one, unweighted mean (Hand & Till 2001) | mean over classes, each against the rest | accuracy; mean over classes |
/// | multilabel | mean over labels | mean over labels | over all cells; mean over labels |
///
/// For multilabel `auroc_weighted` is the mean over labels in which each counts as often as it is positive.
/// Means over labels skip labels without a positive or without a negative row, in every resample anew; means over classes
/// in F1 skip classes that are neither there nor predicted. `subjects` holds the patient of each row.
///
/// # Errors
/// Slices that do not belong together, a score that is not finite, a label outside its list, a level outside (0, 1), too many
/// resamples. A metric that the data does not define is no error: see [`Evaluation::undefined`].
pub fn evaluate(labels: Labels<'_>, scores: &[f32], subjects: &[u64], bootstrap: &Bootstrap) -> Result<Evaluation> {
    evaluate_watched(labels, scores, subjects, bootstrap, &unwatched)
}

/// [`evaluate`] with a progress callback that may stop it.
///
/// # Errors
/// As [`evaluate`]; [`Error::Stopped`].
pub fn evaluate_watched(
    labels: Labels<'_>,
    scores: &[f32],
    subjects: &[u64],
    bootstrap: &Bootstrap,
    watch: &Watch<'_>,
) -> Result<Evaluation> {
    bootstrap.check()?;
    let prepared = Prepared::new(labels, scores)?;
    if subjects.len() != prepared.rows {
        return Err(Error::Shape { what: "subjects", expected: prepared.rows, found: subjects.len() });
    }
    let all = prepared.measure(&vec![[1u16; 1]; prepared.rows]);
    let resampled = bootstrap.run(&Population::new(subjects.iter().copied()), subjects, watch, |weights| {
        let measures = prepared.measure::<LANES>(weights);
        std::array::from_fn(|l| values(&measures, l))
    })?;
    let mut found = Evaluation {
        metrics: BTreeMap::new(),
        undefined: BTreeMap::new(),
        averaged_labels: match labels {
            Labels::Multilabel { .. } => Some(all.averaged[0] as usize),
            Labels::Binary(_) | Labels::Classes { .. } => None,
        },
    };
    let reason = labels.undefined();
    let multilabel = matches!(labels, Labels::Multilabel { .. });
    for (name, pick) in NAMES.into_iter().filter(|(name, _)| multilabel || *name != BY_FREQUENCY) {
        let value = pick(&values(&all, 0));
        match reason {
            Some(reason) if value.is_nan() => {
                found.undefined.insert(name, reason);
            }
            _ => {
                let estimate = bootstrap.estimate(value, resampled.iter().map(pick));
                found.metrics.insert(name, estimate);
            }
        }
    }
    Ok(found)
}

fn values<const L: usize>(m: &Measures<L>, l: usize) -> [f64; 5] {
    [m.auroc[l], m.auprc[l], m.f1_micro[l], m.f1_macro[l], m.auroc_by_frequency[l]]
}
