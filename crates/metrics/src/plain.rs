//! The metrics one by one, without intervals.

use crate::error::{Error, Result, Undefined};
use crate::prepared::{Labels, Measures, Prepared};
use crate::ranking::Ranking;

/// A mean over labels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PerLabel {
    /// Unweighted mean over the labels that have positives and negatives.
    pub value: f64,
    /// How many labels that were.
    pub labels: usize,
}

/// Both averages of F1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct F1 {
    /// F1 of the summed counts; for one prediction per row this is the accuracy.
    pub micro_average: f64,
    /// Mean of the F1 of each class or label; a label that is never predicted counts as 0.
    pub macro_average: f64,
}

fn measure(labels: Labels<'_>, scores: &[f32]) -> Result<Measures<1>> {
    let prepared = Prepared::new(labels, scores)?;
    Ok(prepared.measure(&vec![[1u16; 1]; prepared.rows]))
}

fn defined(labels: Labels<'_>, metric: &'static str, value: f64) -> Result<f64> {
    match labels.undefined() {
        Some(reason) if value.is_nan() => Err(Error::Undefined { metric, reason }),
        _ => Ok(value),
    }
}

/// Area under the ROC curve: the chance that a positive outranks a negative, ties counting half (Mann & Whitney 1947).
///
/// `labels` 0 or 1, `[n]`; `scores` `[n]`. Equals scikit-learn's `roc_auc_score`.
///
/// # Errors
/// Unequal lengths, a score that is not finite, a label above 1, or a single class ([`Undefined::OneClass`]).
///
/// ```
/// let auroc = clinpeft_metrics::auroc(&[0, 0, 1, 1], &[0.1, 0.4, 0.35, 0.8])?;
/// assert_eq!(auroc, 0.75);
/// # Ok::<(), clinpeft_metrics::Error>(())
/// ```
pub fn auroc(labels: &[u8], scores: &[f32]) -> Result<f64> {
    let labels = Labels::Binary(labels);
    defined(labels, "auroc", measure(labels, scores)?.auroc[0])
}

/// [`auroc`] of rows that count `weights[i]` times: equal to repeating row `i` that often.
///
/// # Errors
/// As [`auroc`]; classes of weight 0 do not count.
pub fn auroc_weighted(labels: &[u8], scores: &[f32], weights: &[u16]) -> Result<f64> {
    Labels::Binary(labels).check(scores)?;
    if weights.len() != labels.len() {
        return Err(Error::Shape { what: "weights", expected: labels.len(), found: weights.len() });
    }
    let rows = (0..labels.len()).map(|i| (i as u32, scores[i], (labels[i] == 1).into()));
    let weights: Vec<[u16; 1]> = weights.iter().map(|w| [*w]).collect();
    let curve = Ranking::new(rows.collect()).walk(&weights);
    if curve.defined(0) {
        return Ok(curve.auroc[0]);
    }
    Err(Error::Undefined { metric: "auroc", reason: Undefined::OneClass(u8::from(curve.positives[0] > 0)) })
}

/// AUROC for classes: mean over ordered pairs (a, b) of the AUROC of score a among the rows of a and b (Hand & Till 2001).
///
/// `labels` `[n]` below `classes`; `scores` `[n, classes]`. Equals scikit-learn's
/// `roc_auc_score(multi_class="ovo", average="macro")`.
///
/// # Errors
/// As [`auroc`]; every class must occur ([`Undefined::MissingClass`]).
pub fn auroc_one_vs_one(labels: &[u32], classes: usize, scores: &[f32]) -> Result<f64> {
    let labels = Labels::Classes { labels, classes };
    defined(labels, "auroc", measure(labels, scores)?.auroc[0])
}

/// AUROC of each label, averaged over those with positives and negatives.
///
/// `labels` 0 or 1, `[n, columns]`; `scores` `[n, columns]`.
///
/// # Errors
/// As [`auroc`]; one label must have both outcomes ([`Undefined::NoLabel`]).
pub fn auroc_per_label(labels: &[u8], columns: usize, scores: &[f32]) -> Result<PerLabel> {
    let labels = multilabel(labels, columns);
    let found = measure(labels, scores)?;
    Ok(PerLabel { value: defined(labels, "auroc", found.auroc[0])?, labels: found.averaged[0] as usize })
}

/// Average precision: sum over distinct scores of (recall gained) x precision. No interpolation.
///
/// `labels` 0 or 1, `[n]`; `scores` `[n]`. Equals scikit-learn's `average_precision_score`.
///
/// # Errors
/// As [`auroc`].
pub fn auprc(labels: &[u8], scores: &[f32]) -> Result<f64> {
    let labels = Labels::Binary(labels);
    defined(labels, "auprc", measure(labels, scores)?.auprc[0])
}

/// Average precision of each class against the rest, unweighted mean.
///
/// `labels` `[n]` below `classes`; `scores` `[n, classes]`.
///
/// # Errors
/// As [`auroc_one_vs_one`].
pub fn auprc_one_hot(labels: &[u32], classes: usize, scores: &[f32]) -> Result<f64> {
    let labels = Labels::Classes { labels, classes };
    defined(labels, "auprc", measure(labels, scores)?.auprc[0])
}

/// Average precision of each label, averaged over those with positives and negatives.
///
/// # Errors
/// As [`auroc_per_label`].
pub fn auprc_per_label(labels: &[u8], columns: usize, scores: &[f32]) -> Result<PerLabel> {
    let labels = multilabel(labels, columns);
    let found = measure(labels, scores)?;
    Ok(PerLabel { value: defined(labels, "auprc", found.auprc[0])?, labels: found.averaged[0] as usize })
}

/// F1 = 2 TP / (2 TP + FP + FN), micro and macro; what is predicted follows [`Labels`].
///
/// # Errors
/// As [`auroc`]; for multilabel one label must have both outcomes ([`Undefined::NoLabel`]).
pub fn f1(labels: Labels<'_>, scores: &[f32]) -> Result<F1> {
    let found = measure(labels, scores)?;
    Ok(F1 { micro_average: found.f1_micro[0], macro_average: defined(labels, "f1_macro", found.f1_macro[0])? })
}

fn multilabel(labels: &[u8], columns: usize) -> Labels<'_> {
    Labels::Multilabel { labels, columns, decisions: None }
}
