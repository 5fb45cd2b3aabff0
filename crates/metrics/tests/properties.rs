//! Properties of the metrics that hold for any data.

use clinpeft_metrics::{
    Bootstrap, Error, Labels, MOST_RESAMPLES, Population, Resampled, TextLoss, Undefined, auroc_delong_difference,
    auroc_resampled, curves, evaluate, evaluate_watched, holm, perplexity, perplexity_watched, reliability, unwatched,
};
use clinpeft_rng::Seed;
use proptest::prelude::*;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Labels and scores (few distinct values, so many ties), with both outcomes in the first two rows.
fn rows() -> impl Strategy<Value = Vec<(u8, f32)>> {
    let score = (0u8..12).prop_map(|s| f32::from(s) / 11.0);
    prop::collection::vec((0u8..2, score), 2..60).prop_map(|mut rows| {
        rows[0].0 = 0;
        rows[1].0 = 1;
        rows
    })
}

/// A metric of all rows, each of a patient of its own.
fn value(metric: &str, y: &[u8], s: &[f32]) -> f64 {
    let subjects: Vec<u64> = (0..y.len() as u64).collect();
    evaluate(Labels::Binary(y), s, &subjects, &bootstrap(0)).expect("both outcomes occur").metrics[metric].value
}

fn columns(rows: &[(u8, f32)]) -> (Vec<u8>, Vec<f32>) {
    rows.iter().copied().unzip()
}

fn by_definition(y: &[u8], s: &[f32]) -> f64 {
    let (mut won_twice, mut pairs) = (0u64, 0u64);
    for i in (0..y.len()).filter(|i| y[*i] == 1) {
        for j in (0..y.len()).filter(|j| y[*j] == 0) {
            pairs += 1;
            won_twice += u64::from(s[i] > s[j]) + u64::from(s[i] >= s[j]);
        }
    }
    won_twice as f64 / (2 * pairs) as f64
}

proptest! {
    #[test]
    fn auroc_equals_its_definition(rows in rows()) {
        let (y, s) = columns(&rows);
        prop_assert_eq!(value("auroc", &y, &s), by_definition(&y, &s));
    }

    #[test]
    fn ranking_metrics_see_order_only(rows in rows()) {
        let (y, s) = columns(&rows);
        let bent: Vec<f32> = s.iter().map(|v| v.powi(3) * 40.0 - 7.0).collect();
        prop_assert_eq!(value("auroc", &y, &s), value("auroc", &y, &bent));
        prop_assert_eq!(value("auprc", &y, &s), value("auprc", &y, &bent));
    }

    #[test]
    fn flipped_labels_give_one_minus_auroc(rows in rows()) {
        let (y, s) = columns(&rows);
        let flipped: Vec<u8> = y.iter().map(|v| 1 - v).collect();
        let sum = value("auroc", &y, &s) + value("auroc", &flipped, &s);
        prop_assert!((sum - 1.0).abs() < 1e-15);
    }

    #[test]
    fn delong_agrees_with_auroc_and_equal_models_do_not_differ(rows in rows()) {
        let (y, s) = columns(&rows);
        let subjects: Vec<u64> = (0..y.len() as u64).collect();
        // A constant has the AUROC 1/2.
        if let Ok(found) = auroc_delong_difference(&y, &[&s], &[&vec![0.0; y.len()]], &subjects) {
            prop_assert!((found.value + 0.5 - value("auroc", &y, &s)).abs() < 1e-12);
            let same = auroc_delong_difference(&y, &[&s], &[&s], &subjects).unwrap();
            prop_assert_eq!(same.value, 0.0);
            prop_assert!(same.standard_error < 1e-7 && same.p_value() == 1.0);
        }
    }

    #[test]
    fn order_of_rows_does_not_matter(rows in rows(), turn in 0usize..60) {
        let mut turned: Vec<(usize, (u8, f32))> = rows.iter().copied().enumerate().collect();
        turned.rotate_left(turn % rows.len());
        let (y, s) = columns(&rows);
        let subjects: Vec<u64> = (0..rows.len() as u64).map(|i| i / 2).collect();
        let (index, rows): (Vec<usize>, Vec<(u8, f32)>) = turned.into_iter().unzip();
        let (y2, s2) = columns(&rows);
        let subjects2: Vec<u64> = index.iter().map(|i| *i as u64 / 2).collect();
        prop_assert_eq!(
            evaluate(Labels::Binary(&y), &s, &subjects, &bootstrap(33)),
            evaluate(Labels::Binary(&y2), &s2, &subjects2, &bootstrap(33))
        );
    }
}

fn bootstrap(resamples: usize) -> Bootstrap {
    Bootstrap { resamples, level: 0.95, seed: Seed(11) }
}

fn multilabel(labels: &[u8], columns: usize) -> Labels<'_> {
    Labels::Multilabel { labels, columns, decisions: None }
}

#[test]
fn one_class_is_a_reason_not_a_number() {
    let found = evaluate(Labels::Binary(&[1, 1]), &[0.5, 0.25], &[1, 2], &bootstrap(10)).unwrap();
    assert_eq!(found.undefined["auroc"], Undefined::OneClass(1));
    assert_eq!(found.metrics["f1_micro"].value, 0.0);
    assert!(!found.metrics.contains_key("auroc"));
}

#[test]
fn more_resamples_than_the_limit_are_an_error_before_anything_is_made() {
    for resamples in [MOST_RESAMPLES + 1, 1 << 63, usize::MAX] {
        let error = Error::Resamples(resamples);
        let (labels, scores, subjects) = (Labels::Binary(&[0, 1]), [0.1, 0.2], [1, 2]);
        let bootstrap = bootstrap(resamples);
        assert_eq!(evaluate(labels, &scores, &subjects, &bootstrap).unwrap_err(), error);
        assert_eq!(curves(labels, &scores, &subjects, 5, &bootstrap).unwrap_err(), error);
        let population = Population::new(subjects);
        assert_eq!(auroc_resampled(labels, &scores, &subjects, &population, &bootstrap).unwrap_err(), error);
        assert_eq!(perplexity_watched(&[], &[], &bootstrap, &unwatched).unwrap_err(), error);
        assert!(error.to_string().contains("\nhint: "));
    }
}

#[test]
fn whoever_watches_the_resamples_can_end_them_and_changes_no_number() {
    let (labels, scores, subjects) = (Labels::Binary(&[0, 1, 0, 1]), [0.1, 0.2, 0.3, 0.4], [1, 2, 3, 4]);
    let most = AtomicUsize::new(0);
    let see = |done: usize| {
        most.fetch_max(done, Ordering::Relaxed);
        ControlFlow::Continue(())
    };
    let seen = evaluate_watched(labels, &scores, &subjects, &bootstrap(1000), &see).unwrap();
    assert_eq!(seen, evaluate(labels, &scores, &subjects, &bootstrap(1000)).unwrap());
    assert_eq!(most.load(Ordering::Relaxed), 1000);
    let asked = AtomicUsize::new(0);
    let end = |_: usize| {
        asked.fetch_add(1, Ordering::Relaxed);
        ControlFlow::Break(())
    };
    let ended = evaluate_watched(labels, &scores, &subjects, &bootstrap(MOST_RESAMPLES), &end);
    assert_eq!(ended.unwrap_err(), Error::Stopped);
    assert!(asked.load(Ordering::Relaxed) < 1000, "nobody works on after the end");
}

#[test]
fn bad_input_names_the_place() {
    let nan = evaluate(Labels::Binary(&[0, 1, 0]), &[0.1, 0.2, f32::NAN], &[1, 2, 3], &bootstrap(1)).unwrap_err();
    assert!(nan.to_string().starts_with("score of row 2, column 0"));
    let labels = Labels::Classes { labels: &[0, 3], classes: 3 };
    let error = evaluate(labels, &[0.0; 6], &[1, 2], &bootstrap(1)).unwrap_err();
    assert!(error.to_string().contains("label of row 1, column 0 is 3"));
    let ragged = evaluate(multilabel(&[0; 5], 2), &[0.0; 5], &[1, 2], &bootstrap(1));
    assert!(matches!(ragged, Err(Error::Shape { what: "labels", .. })));
    for empty in
        [evaluate(Labels::Binary(&[]), &[], &[], &bootstrap(1)), evaluate(multilabel(&[], 3), &[], &[], &bootstrap(1))]
    {
        assert_eq!(empty, Err(Error::Rows { rows: 0 }));
    }
    assert!(evaluate(multilabel(&[], 0), &[], &[], &bootstrap(1)).is_err());
    let missing = evaluate(Labels::Binary(&[0, 1]), &[0.1, 0.2], &[1], &bootstrap(1));
    assert!(missing.is_err());
}

#[test]
fn resamples_without_a_class_are_dropped_and_counted() {
    let found = evaluate(Labels::Binary(&[0, 0, 1]), &[0.1, 0.2, 0.3], &[1, 2, 3], &bootstrap(500)).unwrap();
    let auroc = &found.metrics["auroc"];
    // No positive: (2/3)^3; no negative: (1/3)^3.
    let expected = 500.0 * 9.0 / 27.0;
    assert!((auroc.dropped as f64 - expected).abs() < 30.0);
    assert_eq!(found.metrics["f1_micro"].dropped, 0);
}

#[test]
fn rows_of_one_patient_widen_the_interval() {
    let n = 400u64;
    let y: Vec<u8> = (0..n).map(|i| u8::from(i / 10 % 3 == 0)).collect();
    let s: Vec<f32> = (0..n).map(|i| ((i / 10 * 37) % 41) as f32).collect();
    let width = |subjects: Vec<u64>| {
        let found = evaluate(Labels::Binary(&y), &s, &subjects, &bootstrap(300)).unwrap();
        let interval = found.metrics["auroc"].interval.unwrap();
        interval.hi - interval.lo
    };
    let apart = width((0..n).collect());
    let together = width((0..n).map(|i| i / 10).collect());
    assert!(together > 2.0 * apart, "{together} against {apart}");
}

#[test]
fn given_decisions_change_f1_only() {
    let y = [1, 0, 0, 1];
    let s = [0.1, 0.2, 0.3, 0.15];
    let with = |decisions| {
        let labels = Labels::Multilabel { labels: &y, columns: 2, decisions };
        evaluate(labels, &s, &[1, 2], &bootstrap(0)).unwrap()
    };
    let (threshold, given) = (with(None), with(Some(&y)));
    assert_eq!(threshold.metrics["auroc"], given.metrics["auroc"]);
    assert_eq!(threshold.metrics["f1_macro"].value, 0.0);
    assert_eq!(given.metrics["f1_macro"].value, 1.0);
    assert_eq!(given.averaged_labels, Some(2));
}

#[test]
fn perplexity_counts_tokens_not_texts() {
    let text = |nll, tokens| TextLoss { nll, tokens };
    assert!((perplexity(text(10.0, 5)).unwrap() - 2f64.exp()).abs() < 1e-12);
    assert!(perplexity(text(1.0, 0)).is_err());
    assert!(perplexity(text(f64::INFINITY, 1)).is_err());
    let texts = [text(30.0, 10), text(2.0, 2), text(4.0, 3)];
    let found = perplexity_watched(&texts, &[1, 2, 2], &bootstrap(200), &unwatched).unwrap();
    assert!((found.value - (36f64 / 15.0).exp()).abs() < 1e-12);
    let interval = found.interval.unwrap();
    assert!((interval.lo - (6f64 / 5.0).exp()).abs() < 1e-12);
    assert!((interval.hi - 3f64.exp()).abs() < 1e-12);
}

#[test]
fn delong_needs_two_of_each_and_calibration_needs_probabilities() {
    let few = auroc_delong_difference(&[0, 0, 1], &[&[0.1, 0.2, 0.3]], &[&[0.0; 3]], &[1, 2, 3]).unwrap_err();
    assert!(few.to_string().contains("the rarer outcome has rows of 1 patients"));
    let bins = std::num::NonZeroUsize::MIN;
    let wrong = reliability(Labels::Binary(&[0, 1]), &[0.5, 1.5], bins).unwrap_err();
    assert!(wrong.to_string().starts_with("probability of row 1 is 1.5"));
}

#[test]
fn bootstrap_and_delong_agree_on_independent_rows() {
    let n = 600u64;
    let y: Vec<u8> = (0..n).map(|i| u8::from(i % 3 == 0)).collect();
    let s: Vec<f32> = (0..n).map(|i| ((i * 7919) % 613) as f32 + 150.0 * f32::from(y[i as usize])).collect();
    let subjects: Vec<u64> = (0..n).collect();
    let found = evaluate(Labels::Binary(&y), &s, &subjects, &bootstrap(2000)).unwrap();
    let interval = found.metrics["auroc"].interval.unwrap();
    let beyond_chance = auroc_delong_difference(&y, &[&s], &[&[0.0; 600]], &subjects).unwrap();
    let expected = 2.0 * 1.96 * beyond_chance.standard_error;
    let width = interval.hi - interval.lo;
    assert!((width / expected - 1.0).abs() < 0.1, "{width} against {expected}");
}

#[test]
fn numbers_of_one_population_are_compared_resample_by_resample() {
    let y: Vec<u8> = (0..80).map(|i| u8::from(i % 3 == 0)).collect();
    let subjects: Vec<u64> = (0..80).collect();
    let model = |shift: u64| -> Vec<f32> { (0..80).map(|i| ((i * 37 + shift) % 41) as f32).collect() };
    // Patients of another task are drawn too.
    let all = Population::new(subjects.iter().copied().chain(500..600));
    let of = |scores: &[f32]| auroc_resampled(Labels::Binary(&y), scores, &subjects, &all, &bootstrap(400)).unwrap();
    let (a, b) = (of(&model(0)), of(&model(3)));
    assert_eq!(a.minus(&a), clinpeft_metrics::Difference { value: 0.0, standard_error: 0.0 });
    let delong = auroc_delong_difference(&y, &[&model(0)], &[&model(3)], &subjects).unwrap();
    let found = a.minus(&b);
    assert!((found.value - delong.value).abs() < 1e-12);
    assert!((found.standard_error / delong.standard_error - 1.0).abs() < 0.2, "{found:?} {delong:?}");
    // The same draws: the mean of a model with itself varies as the model does.
    assert_eq!(Resampled::mean(&[&a, &a]).unwrap(), a);
    let stranger = auroc_resampled(Labels::Binary(&y), &model(0), &subjects, &Population::new([1]), &bootstrap(1));
    assert_eq!(stranger.unwrap_err(), Error::Stranger { row: 0 });
}

#[test]
fn bands_hold_their_curves_and_curves_run_from_corner_to_corner() {
    let y: Vec<u8> = (0..120).map(|i| u8::from(i % 4 == 0)).collect();
    let s: Vec<f32> = (0..120).map(|i| ((i * 37) % 41) as f32 + 9.0 * f32::from(y[i as usize])).collect();
    let subjects: Vec<u64> = (0..120).collect();
    let found = curves(Labels::Binary(&y), &s, &subjects, 11, &bootstrap(300)).unwrap();
    for curve in [&found.roc, &found.precision_recall] {
        for i in 0..11 {
            assert!(curve.lo[i] <= curve.value[i] + 1e-12 && curve.value[i] <= curve.hi[i] + 1e-12, "{curve:?}");
        }
    }
    assert_eq!(found.roc.value[10], 1.0);
    assert!((found.precision_recall.value[10] - 0.25).abs() < 0.1);
    let half = found.roc.value.windows(2).all(|w| w[0] <= w[1]);
    assert!(half, "sensitivity rises");
}

proptest! {
    #[test]
    fn holm_never_lowers_and_keeps_the_order(p in prop::collection::vec(0.0..1.0f64, 1..20)) {
        let adjusted = holm(&p);
        for (i, a) in adjusted.iter().enumerate() {
            prop_assert!(*a >= p[i] && *a <= 1.0);
            for (j, b) in adjusted.iter().enumerate() {
                prop_assert!(p[i] > p[j] || a <= b);
            }
        }
        let least = p.iter().copied().fold(1.0, f64::min);
        let first = adjusted.iter().copied().fold(1.0, f64::min);
        prop_assert!((first - (least * p.len() as f64).min(1.0)).abs() < 1e-12);
    }
}
