//! What is refused, and what holds without a reference.

#![allow(clippy::unwrap_used, reason = "a test")]

use clinpeft_linear::{Error, LogisticPath, LogisticRegression, Target, TfidfSettings, TfidfVectorizer};
use std::sync::atomic::AtomicBool;

const TEXTS: [&str; 4] = ["a stable patient", "a moribund patient", "stable, stable patient", "moribund x"];

fn fitted(max_features: usize) -> TfidfVectorizer {
    TfidfVectorizer::fit(&TEXTS, TfidfSettings { min_df: 1, max_features }).unwrap()
}

#[test]
fn the_most_frequent_terms_are_kept_and_equals_by_the_alphabet() {
    assert_eq!(fitted(3).terms(), ["moribund", "patient", "stable"]);
    // `stable patient` occurs twice, what is left once.
    assert_eq!(fitted(5).terms(), ["moribund", "moribund patient", "patient", "stable", "stable patient"]);
}

#[test]
fn a_text_without_a_known_word_is_a_row_of_zeros() {
    let rows = fitted(3).transform(&["", "unknown words", "stable"]);
    let stored: Vec<usize> = (0..3).map(|row| rows.row(row).count()).collect();
    assert_eq!(stored, [0, 0, 1]);
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let x = fitted(9).transform(&TEXTS);
    let stop = AtomicBool::new(false);
    let sets = |sets: &[&[u32]], count| Target::OneVsRest { sets: sets.iter().map(|s| s.to_vec()).collect(), count };
    for wrong in [
        sets(&[&[0], &[]], 1),
        sets(&[&[0], &[], &[1], &[]], 1),
        Target::Softmax { classes: vec![0, 1, 2, 3], count: 17 },
        Target::Softmax { classes: vec![0, 1, 2, 3], count: 3 },
    ] {
        assert!(matches!(LogisticPath::new(&x, &wrong, &stop), Err(Error::Target { .. })), "{wrong:?}");
    }
    let target = sets(&[&[0], &[], &[0], &[]], 1);
    for c in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(LogisticPath::new(&x, &target, &stop).unwrap().fit(c), Err(Error::Strength(_))), "{c}");
    }
    assert!(matches!(LogisticRegression::from_parts(3, &[0.0; 5], &[0.0; 2]), Err(Error::Shape { .. })));
    let terms =
        |terms: &[&str]| TfidfVectorizer::from_parts(terms.iter().map(|t| t.to_string()).collect(), vec![1.0; 2]);
    for wrong in [&["same", "same"][..], &["", "word"], &["three of them", "word"], &["one"], &["one", "two", "three"]]
    {
        assert!(matches!(terms(wrong), Err(Error::Vocabulary { .. })), "{wrong:?}");
    }
    let none = TfidfSettings { min_df: 5, max_features: 9 };
    assert_eq!(TfidfVectorizer::fit(&TEXTS, none).unwrap_err(), Error::NoTerm { min_df: 5 });
}

#[test]
fn a_fit_that_is_told_to_stop_stops() {
    let (x, stop) = (fitted(9).transform(&TEXTS), AtomicBool::new(true));
    let target = Target::Softmax { classes: vec![0, 1, 0, 1], count: 2 };
    assert_eq!(LogisticPath::new(&x, &target, &stop).unwrap().fit(1.0), Err(Error::Stopped));
}

#[test]
fn some_labels_are_fitted_and_the_others_score_zero() {
    let (x, stop) = (fitted(9).transform(&TEXTS), AtomicBool::new(false));
    let target = Target::OneVsRest { sets: vec![vec![0, 1], vec![1], vec![0], vec![2]], count: 3 };
    let mut path = LogisticPath::of_labels(&x, &target, 2, &stop).unwrap();
    path.fit(1.0).unwrap();
    let scores = path.model().decision_function(&x);
    let zeros = (0..3).filter(|label| scores.chunks_exact(3).all(|row| row[*label] == 0.0)).count();
    assert_eq!(zeros, 1);
}
