//! The metrics equal scikit-learn's to 1e-12 on data with ties, empty labels and unpredicted classes.

use std::num::NonZeroUsize;

use clinpeft_metrics::{
    Bootstrap, Evaluation, Labels, at_temperature, auroc_delong_difference, curves, evaluate, reliability, temperature,
};
use clinpeft_rng::Seed;
use serde::Deserialize;

#[derive(Deserialize)]
struct Cases {
    binary: Vec<Case>,
    classes: Vec<Case>,
    multilabel: Vec<Case>,
    probabilities: Vec<Probabilities>,
    comparisons: Vec<Comparison>,
    cooled: Vec<Cooled>,
    resampled: Vec<Limits>,
}

#[derive(Deserialize)]
struct Limits {
    labels: Vec<u8>,
    patients: Vec<u64>,
    scores: Vec<f32>,
    resamples: usize,
    lo: f64,
    hi: f64,
    lo_error: f64,
    hi_error: f64,
}

#[derive(Deserialize)]
struct Comparison {
    labels: Vec<u8>,
    patients: Vec<u64>,
    first: Vec<f32>,
    second: Vec<f32>,
    variance: f64,
    difference: f64,
    standard_error: f64,
    p_value: f64,
    roc: Vec<f64>,
    precision_recall: Vec<f64>,
}

#[derive(Deserialize)]
struct Cooled {
    labels: Vec<u32>,
    columns: usize,
    scores: Vec<f32>,
    temperature: f64,
    error_before: f64,
    error_after: f64,
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
    classes: usize,
    #[serde(default)]
    columns: usize,
    #[serde(default)]
    averaged: usize,
    #[serde(default)]
    auroc_by_frequency: f64,
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
fn equal_all(case: &Case, labels: Labels<'_>, rows: usize) -> Evaluation {
    let subjects: Vec<u64> = (0..rows as u64).collect();
    let found = evaluate(labels, &case.scores, &subjects, &NO_RESAMPLES).expect("fixture is defined");
    for (name, value) in
        [("auroc", case.auroc), ("auprc", case.auprc), ("f1_micro", case.f1_micro), ("f1_macro", case.f1_macro)]
    {
        equal(found.metrics[name].value, value);
    }
    found
}

#[test]
fn binary_equals_scikit_learn() {
    for case in cases().binary {
        let y = case.zero_one();
        equal_all(&case, Labels::Binary(&y), y.len());
    }
}

#[test]
fn classes_equal_scikit_learn() {
    for case in cases().classes {
        equal_all(&case, Labels::Classes { labels: &case.labels, classes: case.classes }, case.labels.len());
    }
}

#[test]
fn multilabel_equals_scikit_learn_on_the_labels_that_have_both_outcomes() {
    for case in cases().multilabel {
        let (y, columns) = (case.zero_one(), case.columns);
        let labels = Labels::Multilabel { labels: &y, columns, decisions: None };
        let found = equal_all(&case, labels, y.len() / columns);
        assert_eq!(found.averaged_labels, Some(case.averaged));
        equal(found.metrics["auroc_weighted"].value, case.auroc_by_frequency);
    }
}

const NO_RESAMPLES: Bootstrap = Bootstrap { resamples: 0, level: 0.95, seed: Seed(1) };

/// AUROC and its variance: the difference from a constant, whose AUROC is 1/2 without variance.
fn auroc_delong(labels: &[u8], scores: &[f32], subjects: &[u64]) -> (f64, f64) {
    let found = auroc_delong_difference(labels, &[scores], &[&vec![0.0; labels.len()]], subjects)
        .expect("two patients of each outcome");
    (found.value + 0.5, found.standard_error.powi(2))
}

#[test]
fn delong_equals_its_definition() {
    for case in cases().probabilities {
        let subjects: Vec<u64> = (0..case.labels.len() as u64).collect();
        let found = auroc_delong(&case.labels, &case.scores, &subjects);
        equal(found.0, case.auroc);
        equal(found.1, case.variance);
        let (scores, other): (&[f32], &[f32]) = (&case.scores, &case.other);
        let found = auroc_delong_difference(&case.labels, &[scores], &[other], &subjects).unwrap();
        equal(found.value, case.difference);
        equal(found.standard_error.powi(2), case.difference_variance);
        // Seeds that agree are one model.
        let thrice = auroc_delong_difference(&case.labels, &[scores; 3], &[other], &subjects).unwrap();
        equal(thrice.standard_error, found.standard_error);
    }
}

#[test]
fn comparison_by_patient_equals_its_definition() {
    for case in cases().comparisons {
        equal(auroc_delong(&case.labels, &case.first, &case.patients).1, case.variance);
        let found = auroc_delong_difference(&case.labels, &[&case.first], &[&case.second], &case.patients).unwrap();
        equal(found.value, case.difference);
        equal(found.standard_error, case.standard_error);
        equal(found.p_value(), case.p_value);
    }
}

#[test]
fn curves_equal_scikit_learn() {
    for case in cases().comparisons {
        let points = case.roc.len();
        let labels = Labels::Binary(&case.labels);
        let found = curves(labels, &case.second, &case.patients, points, &NO_RESAMPLES).unwrap();
        for i in 0..points {
            equal(found.roc.value[i], case.roc[i]);
            equal(found.precision_recall.value[i], case.precision_recall[i]);
        }
    }
}

#[test]
fn temperature_equals_that_of_a_general_minimiser() {
    let ten = NonZeroUsize::new(10).unwrap();
    for case in cases().cooled {
        let truth: Vec<u8> = case.labels.iter().map(|v| *v as u8).collect();
        let labels = match case.columns {
            1 => Labels::Binary(&truth),
            classes => Labels::Classes { labels: &case.labels, classes },
        };
        let t = temperature(labels, &case.scores).unwrap();
        // A minimiser of a smooth function is certain to half of the digits only.
        assert!((t / case.temperature - 1.0).abs() < 1e-6, "{t} is not {}", case.temperature);
        let error = |scores: &[f32]| reliability(labels, scores, ten).unwrap().expected_error;
        equal(error(&case.scores), case.error_before);
        let after = error(&at_temperature(labels, &case.scores, t).unwrap());
        assert!((after - case.error_after).abs() < 1e-5, "{after} is not {}", case.error_after);
        assert!(after < case.error_before);
    }
}

#[test]
fn calibration_equals_scikit_learn() {
    for case in cases().probabilities {
        let found = reliability(Labels::Binary(&case.labels), &case.scores, case.bins).unwrap();
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

#[test]
fn bootstrap_limits_equal_those_of_scikit_learn_and_numpy_within_their_errors() {
    for case in cases().resampled {
        let bootstrap = Bootstrap { resamples: case.resamples, ..NO_RESAMPLES };
        let found = evaluate(Labels::Binary(&case.labels), &case.scores, &case.patients, &bootstrap).unwrap();
        let interval = found.metrics["auroc"].interval.unwrap();
        for (ours, theirs, error) in [(interval.lo, case.lo, case.lo_error), (interval.hi, case.hi, case.hi_error)] {
            // Both sides have drawn as many resamples, so their errors add up.
            let allowed = 4.0 * f64::sqrt(2.0) * error;
            assert!((ours - theirs).abs() < allowed, "{ours} is not {theirs}: more than {allowed} apart");
            assert!(allowed < 0.1 * (case.hi - case.lo), "the check is finer than the interval");
        }
    }
}
