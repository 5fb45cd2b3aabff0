//! The metrics equal scikit-learn's to 1e-12 on data with ties, empty labels and unpredicted classes.

use std::num::NonZeroUsize;

use clinpeft_metrics::{
    Labels, auprc, auprc_one_hot, auprc_per_label, auroc, auroc_delong, auroc_delong_difference, auroc_one_vs_one,
    auroc_per_label, auroc_weighted, calibration, f1,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Cases {
    binary: Vec<Case>,
    classes: Vec<Case>,
    multilabel: Vec<Case>,
    probabilities: Vec<Probabilities>,
}

#[derive(Deserialize)]
struct Probabilities {
    labels: Vec<u8>,
    scores: Vec<f32>,
    other: Vec<f32>,
    bins: NonZeroUsize,
    rows: Vec<usize>,
    observed: Vec<f64>,
    predicted: Vec<f64>,
    expected_error: f64,
    brier: f64,
    auroc: f64,
    variance: f64,
    difference: f64,
    difference_variance: f64,
}

#[derive(Deserialize)]
struct Case {
    labels: Vec<u32>,
    scores: Vec<f32>,
    auroc: f64,
    auprc: f64,
    f1_micro: f64,
    f1_macro: f64,
    #[serde(default)]
    weights: Vec<u16>,
    #[serde(default)]
    auroc_weighted: f64,
    #[serde(default)]
    classes: usize,
    #[serde(default)]
    columns: usize,
    #[serde(default)]
    averaged: usize,
}

impl Case {
    fn zero_one(&self) -> Vec<u8> {
        self.labels.iter().map(|v| *v as u8).collect()
    }
}

fn cases() -> Cases {
    serde_json::from_str(include_str!("fixtures/scikit_learn.json")).expect("fixture is valid")
}

#[track_caller]
fn equal(ours: f64, theirs: f64) {
    assert!((ours - theirs).abs() < 1e-12, "{ours} is not {theirs}");
}

#[track_caller]
fn equal_f1(case: &Case, labels: Labels<'_>) {
    let found = f1(labels, &case.scores).expect("fixture is defined");
    equal(found.micro_average, case.f1_micro);
    equal(found.macro_average, case.f1_macro);
}

#[test]
fn binary_equals_scikit_learn() {
    for case in cases().binary {
        let y = case.zero_one();
        equal(auroc(&y, &case.scores).unwrap(), case.auroc);
        equal(auprc(&y, &case.scores).unwrap(), case.auprc);
        let weighted = auroc_weighted(&y, &case.scores, &case.weights).unwrap();
        equal(weighted, case.auroc_weighted);
        equal_f1(&case, Labels::Binary(&y));
    }
}

#[test]
fn classes_equal_scikit_learn() {
    for case in cases().classes {
        let (y, c) = (&case.labels, case.classes);
        equal(auroc_one_vs_one(y, c, &case.scores).unwrap(), case.auroc);
        equal(auprc_one_hot(y, c, &case.scores).unwrap(), case.auprc);
        equal_f1(&case, Labels::Classes { labels: y, classes: c });
    }
}

#[test]
fn multilabel_equals_scikit_learn_on_the_labels_that_have_both_outcomes() {
    for case in cases().multilabel {
        let (y, c) = (case.zero_one(), case.columns);
        let found = auroc_per_label(&y, c, &case.scores).unwrap();
        equal(found.value, case.auroc);
        assert_eq!(found.labels, case.averaged);
        let found = auprc_per_label(&y, c, &case.scores).unwrap();
        equal(found.value, case.auprc);
        let labels = Labels::Multilabel { labels: &y, columns: c, decisions: None };
        equal_f1(&case, labels);
    }
}

#[test]
fn delong_equals_its_definition() {
    for case in cases().probabilities {
        let found = auroc_delong(&case.labels, &case.scores).unwrap();
        equal(found.auroc, case.auroc);
        equal(found.variance, case.variance);
        let found = auroc_delong_difference(&case.labels, &case.scores, &case.other).unwrap();
        equal(found.difference, case.difference);
        equal(found.variance, case.difference_variance);
    }
}

#[test]
fn calibration_equals_scikit_learn() {
    for case in cases().probabilities {
        let found = calibration(&case.labels, &case.scores, case.bins).unwrap();
        equal(found.brier, case.brier);
        // scikit-learn sums float32 probabilities in float64, as here.
        equal(found.expected_error, case.expected_error);
        let rows: Vec<usize> = found.bins.iter().map(|bin| bin.rows).collect();
        assert_eq!(rows, case.rows);
        for (i, bin) in found.bins.iter().enumerate() {
            equal(bin.observed, case.observed[i]);
            equal(bin.mean_probability, case.predicted[i]);
        }
    }
}
