//! Terms, weights and scores are those of scikit-learn on the notes of `tests/fixtures/linear`.

#![allow(clippy::unwrap_used, reason = "a test")]

use clinpeft_linear::{LogisticPath, LogisticRegression, Target, TfidfSettings, TfidfVectorizer};
use serde::Deserialize;
use std::sync::atomic::AtomicBool;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/linear");
const SETTINGS: TfidfSettings = TfidfSettings { min_df: 2, max_features: usize::MAX };

#[derive(Deserialize)]
struct Note {
    split: String,
    text: String,
    died: u32,
    stay: u32,
    codes: String,
}

#[derive(Deserialize)]
struct Expected {
    terms: Vec<String>,
    idf: Vec<f64>,
    rows: Vec<Row>,
    labels: Vec<String>,
    models: Vec<Model>,
}

#[derive(Deserialize)]
struct Row {
    columns: Vec<usize>,
    values: Vec<f64>,
}

#[derive(Deserialize)]
struct Model {
    c: f64,
    died: Vec<f64>,
    stay: Vec<f64>,
    codes: Vec<f64>,
    auroc_died: f64,
    auroc_codes: f64,
}

fn notes(split: &str) -> Vec<Note> {
    let file = csv::Reader::from_path(format!("{FOLDER}/notes.csv")).unwrap().into_deserialize();
    file.map(Result::unwrap).filter(|note: &Note| note.split == split).collect()
}

fn texts(notes: &[Note]) -> Vec<&str> {
    notes.iter().map(|n| n.text.as_str()).collect()
}

fn expected() -> Expected {
    serde_json::from_str(&std::fs::read_to_string(format!("{FOLDER}/scikit_learn.json")).unwrap()).unwrap()
}

impl Expected {
    fn codes(&self, notes: &[Note]) -> Vec<Vec<u32>> {
        let place = |code: &str| self.labels.iter().position(|l| l == code).map(|place| place as u32);
        notes.iter().map(|n| n.codes.split(',').filter_map(place).collect()).collect()
    }

    /// The three problems of the notes.
    fn targets(&self, notes: &[Note]) -> [Target; 3] {
        let died = notes.iter().map(|n| vec![0; n.died as usize]).collect();
        [
            Target::OneVsRest { sets: died, count: 1 },
            Target::Softmax { classes: notes.iter().map(|n| n.stay).collect(), count: 4 },
            Target::OneVsRest { sets: self.codes(notes), count: self.labels.len() },
        ]
    }
}

/// Share of pairs in the right order, in points.
fn auroc(scores: &[f32], known: &[bool]) -> f64 {
    let of = |value| scores.iter().zip(known).filter(move |(_, k)| **k == value).map(|(s, _)| *s);
    let pairs =
        of(true).flat_map(|p| of(false).map(move |n| if p > n { 1.0 } else { f64::from(u8::from(p == n)) / 2.0 }));
    let all: Vec<f64> = pairs.collect();
    100.0 * all.iter().sum::<f64>() / all.len() as f64
}

#[test]
fn terms_and_their_weights_are_those_of_scikit_learn() {
    let (expected, train, test) = (expected(), notes("train"), notes("test"));
    let vectorizer = TfidfVectorizer::fit(&texts(&train), SETTINGS).unwrap();
    assert_eq!(vectorizer.terms(), expected.terms);
    for (ours, theirs) in vectorizer.idf().iter().zip(&expected.idf) {
        assert!((f64::from(*ours) - theirs).abs() < 1e-6, "{ours} {theirs}");
    }
    let rows = vectorizer.transform(&texts(&test));
    for (i, row) in expected.rows.iter().enumerate() {
        assert!(rows.row(i).map(|cell| cell.0).eq(row.columns.iter().copied()), "row {i}");
        assert!(rows.row(i).zip(&row.values).all(|(cell, value)| (f64::from(cell.1) - value).abs() < 1e-6), "row {i}");
    }
}

#[test]
fn scores_are_close_to_those_of_scikit_learn_and_auroc_is_within_a_fifth_of_a_point() {
    let (expected, train, test) = (expected(), notes("train"), notes("test"));
    let vectorizer = TfidfVectorizer::fit(&texts(&train), SETTINGS).unwrap();
    let (x, z) = (vectorizer.transform(&texts(&train)), vectorizer.transform(&texts(&test)));
    let (targets, stop) = (expected.targets(&train), AtomicBool::new(false));
    let mut paths = targets.each_ref().map(|target| LogisticPath::new(&x, target, &stop).unwrap());
    for model in &expected.models {
        let [died, stay, codes] = paths.each_mut().map(|path| {
            path.fit(model.c).unwrap();
            path.model().decision_function(&z)
        });
        for (ours, theirs) in [(&died, &model.died), (&stay, &model.stay), (&codes, &model.codes)] {
            assert_eq!(ours.len(), theirs.len());
            let scale = theirs.iter().map(|z| z.abs()).sum::<f64>() / theirs.len() as f64;
            let apart = ours.iter().zip(theirs).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
            assert!(apart < 0.05 * scale, "C = {}: {apart} of {scale}", model.c);
        }
        let known: Vec<bool> = test.iter().map(|n| n.died == 1).collect();
        assert!((auroc(&died, &known) - 100.0 * model.auroc_died).abs() < 0.2, "C = {}", model.c);
        let (count, sets) = (expected.labels.len(), expected.codes(&test));
        let of_label = |label: usize| {
            let scores: Vec<f32> = codes.chunks_exact(count).map(|row| row[label]).collect();
            let known: Vec<bool> = sets.iter().map(|set| set.contains(&(label as u32))).collect();
            auroc(&scores, &known)
        };
        let mean = (0..count).map(of_label).sum::<f64>() / count as f64;
        assert!((mean - 100.0 * model.auroc_codes).abs() < 0.2, "C = {}: {mean}", model.c);
    }
}

/// Terms and the coefficients of all problems, for a number of threads.
fn fitted(threads: usize) -> Vec<Vec<f32>> {
    let train = notes("train");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let x = TfidfVectorizer::fit(&texts(&train), SETTINGS).unwrap().transform(&texts(&train));
        let stop = AtomicBool::new(false);
        let coefficients = |target: &Target| {
            let mut path = LogisticPath::new(&x, target, &stop).unwrap();
            [1.0, 10.0].iter().for_each(|c| path.fit(*c).unwrap());
            [path.model().coefficients(), path.model().intercepts()].concat()
        };
        expected().targets(&train).iter().map(coefficients).collect()
    })
}

#[test]
fn number_of_threads_changes_no_bit() {
    let one = fitted(1);
    for threads in [2, 5] {
        assert_eq!(fitted(threads), one, "{threads} threads");
    }
}

#[test]
fn parts_of_a_model_give_its_scores_again() {
    let (train, expected) = (notes("train"), expected());
    let vectorizer = TfidfVectorizer::fit(&texts(&train), SETTINGS).unwrap();
    let again = TfidfVectorizer::from_parts(vectorizer.terms().to_vec(), vectorizer.idf().to_vec()).unwrap();
    let x = vectorizer.transform(&texts(&train));
    assert_eq!(again.transform(&texts(&train)), x);
    let (targets, stop) = (expected.targets(&train), AtomicBool::new(false));
    let mut path = LogisticPath::new(&x, &targets[2], &stop).unwrap();
    path.fit(1.0).unwrap();
    let model = path.model();
    let again = LogisticRegression::from_parts(x.columns(), &model.coefficients(), &model.intercepts()).unwrap();
    assert_eq!(again.decision_function(&x), model.decision_function(&x));
}
