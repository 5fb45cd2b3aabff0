//! The synthetic cohort: deterministic, extensible, with the traps and the ceilings it promises.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

mod support;

use clinpeft_clinical::prepare::{Fidelity, prepare};
use clinpeft_clinical::synth::conditions::{CONDITIONS, COUNT};
use clinpeft_clinical::synth::facts::{self, Survival, Ventilated};
use clinpeft_clinical::synth::groups::{DIAGNOSES, Group, PROCEDURES, Ventilation};
use clinpeft_clinical::synth::{CANARY, CohortSpec, synth};
use clinpeft_clinical::{Dataset, Label, Task, truth};
use clinpeft_rng::{RngExt, Seed};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use support::{auroc, cohort, options, spec};

fn unpacked(path: &Path) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    clinpeft_files::walk(dir)
        .unwrap()
        .into_iter()
        .map(|p| (p.strip_prefix(dir).unwrap().display().to_string(), std::fs::read(p).unwrap()))
        .collect()
}

#[test]
fn same_seed_gives_the_same_bytes_and_another_seed_others() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, seed| {
        let out = dir.path().join(name);
        synth(&spec(30), Seed(seed), &out, &|_| {}).unwrap();
        files(&out)
    };
    let first = write("a", 1);
    assert_eq!(first, write("b", 1));
    assert_ne!(first, write("c", 2));
}

#[test]
fn a_larger_cohort_begins_with_the_smaller_one() {
    let dir = tempfile::tempdir().unwrap();
    for (name, patients) in [("small", 20), ("large", 50)] {
        let mut spec = spec(patients);
        spec.mimic4_overlap = 0.0;
        synth(&spec, Seed(1), &dir.path().join(name), &|_| {}).unwrap();
    }
    for file in [
        "mimic3/NOTEEVENTS.csv.gz",
        "mimic3/CHARTEVENTS.csv.gz",
        "mimic3/DIAGNOSES_ICD.csv.gz",
        "mimic4-note/discharge.csv.gz",
    ] {
        let small = unpacked(&dir.path().join("small").join(file));
        assert!(unpacked(&dir.path().join("large").join(file)).starts_with(&small), "{file}");
    }
}

#[test]
fn traps_of_the_real_tables_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut many = spec(1000);
    many.authors = 100;
    synth(&many, Seed(7), dir.path(), &|_| {}).unwrap();
    let notes = unpacked(&dir.path().join("mimic3/NOTEEVENTS.csv.gz"));
    for trap in [
        "\"Addendum\"",
        "PMH:",
        "Physical Exam (ER):",
        "HISTORY OF PRESENT ILLNESS:",
        "1. ",
        "patient expired",
        "[**2151-7-16**]",
        "\"\"",
        CANARY,
        "\"Nursing/other\"",
        ",1,\"",
        "OUTPATIENT FILM",
    ] {
        assert!(notes.contains(trap), "{trap}");
    }
    let codes = unpacked(&dir.path().join("mimic3/DIAGNOSES_ICD.csv.gz"));
    for code in ["\"V3000\"", "\"E8889\"", "\"0389\"", "\"042\""] {
        assert!(codes.contains(code), "{code}");
    }
    assert!(unpacked(&dir.path().join("mimic3/PROCEDURES_ICD.csv.gz")).contains("\"0066\""));
    assert!(unpacked(&dir.path().join("mimic3/ADMISSIONS.csv.gz")).contains("\"NEWBORN\""));
    assert!(unpacked(&dir.path().join("mimic4-note/discharge.csv.gz")).contains("___"));
}

#[test]
fn no_two_conditions_share_a_word_that_names_them() {
    let names: Vec<(usize, &str)> = (0..COUNT)
        .flat_map(|i| CONDITIONS[i].forms.into_iter().chain(CONDITIONS[i].medicine).map(move |f| (i, f)))
        .collect();
    for (i, a) in &names {
        assert!(names.iter().all(|(j, b)| i == j || a != b), "{a}");
    }
}

#[test]
fn best_reachable_auroc_is_as_promised() {
    let mut rng = Seed(3).stream("ceilings");
    let (mut death, mut prolonged, mut stay) = (Vec::new(), Vec::new(), Vec::new());
    let mut codes: Vec<Vec<(f64, bool)>> = vec![Vec::new(); DIAGNOSES.len() + PROCEDURES.len()];
    for _ in 0..20_000 {
        let person = facts::person(&mut rng);
        let facts = facts::admission(&person, &mut rng);
        let odds = facts.odds();
        let outcome = facts.outcome(&odds, &mut rng);
        death.push((odds.death, outcome.survival == Survival::Died));
        if outcome.ventilated.two_days_or_more() {
            prolonged.push((odds.prolonged, outcome.ventilated == Ventilated::Weeks));
        }
        if outcome.survival == Survival::Survived {
            stay.push((odds.stay, outcome.stay));
        }
        for (group, scored) in DIAGNOSES.iter().chain(&PROCEDURES).zip(&mut codes) {
            let p = group.probability(&facts, Ventilation::Known(outcome.ventilated));
            let best = group.probability(&facts, Ventilation::Probable(odds.ventilated));
            scored.push((best, rng.random_bool(p)));
        }
    }
    let rate = |s: &[(f64, bool)]| s.iter().filter(|x| x.1).count() as f64 / s.len() as f64;
    near("death rate", rate(&death), 0.15, 0.02);
    near("mortality", auroc(&death), 0.90, 0.015);
    near("ventilated share", prolonged.len() as f64 / 20_000.0, 0.25, 0.03);
    near("ventilation", auroc(&prolonged), 0.90, 0.015);
    near("length of stay", one_versus_one(&stay), 0.85, 0.015);
    let macro_mean = |scored: &[Vec<(f64, bool)>], groups: &[Group]| {
        let some: Vec<f64> = scored
            .iter()
            .zip(groups)
            .filter(|(s, g)| g.otherwise > 0.0 && s.iter().any(|x| x.1))
            .map(|(s, _)| auroc(s))
            .collect();
        some.iter().sum::<f64>() / some.len() as f64
    };
    let (diagnoses, procedures) = codes.split_at(DIAGNOSES.len());
    near("diagnoses", macro_mean(diagnoses, &DIAGNOSES), 0.95, 0.015);
    near("procedures", macro_mean(procedures, &PROCEDURES), 0.95, 0.015);
}

fn near(what: &str, value: f64, target: f64, by: f64) {
    assert!((value - target).abs() <= by, "{what}: {value:.4}, not {target} within {by}");
}

fn one_versus_one(stay: &[([f64; 4], usize)]) -> f64 {
    let mut sum = 0.0;
    for a in 0..4 {
        for b in (0..4).filter(|b| *b != a) {
            let pair = stay.iter().filter(|s| s.1 == a || s.1 == b);
            sum += auroc(&pair.map(|s| (s.0[a], s.1 == a)).collect::<Vec<_>>());
        }
    }
    sum / 12.0
}

#[test]
fn truth_ranks_the_prepared_labels() {
    let dir = tempfile::tempdir().unwrap();
    cohort(dir.path(), 800);
    let data = dir.path().join("data");
    prepare(&options(&dir.path().join("mimic3"), &data, Fidelity::Paper), &|_| {}).unwrap();
    for (task, least) in [(Task::Mortality, 0.85), (Task::Ventilation, 0.82)] {
        let dataset = Dataset::load(&data, task).unwrap();
        let truth = truth::load(&dir.path().join("truth"), task).unwrap();
        assert_eq!(truth.labels, dataset.labels);
        let scored: Vec<(f64, bool)> =
            dataset.train.iter().map(|e| (f64::from(truth.rows[&e.id][1]), e.label == Label::Class(1))).collect();
        assert!(auroc(&scored) > least, "{task}: {}", auroc(&scored));
    }
    let codes = Dataset::load(&data, Task::Procedures).unwrap();
    let truth = truth::load(&dir.path().join("truth"), Task::Procedures).unwrap();
    assert!(codes.labels.iter().all(|l| truth.labels.contains(l)));
    for rows in truth.rows.values() {
        assert_eq!(rows.len(), truth.labels.len());
    }
}

#[test]
fn a_specification_must_be_complete_and_known() {
    let complete =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/cohorts/smoke.toml"))
            .unwrap();
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/cohorts/demo.toml");
    assert!(toml::from_str::<CohortSpec>(&std::fs::read_to_string(demo).unwrap()).is_ok());
    assert!(toml::from_str::<CohortSpec>(&complete).is_ok());
    assert!(toml::from_str::<CohortSpec>(&format!("{complete}\nextra = 1\n")).is_err());
    assert!(toml::from_str::<CohortSpec>(&complete.replace("authors = 8\n", "")).is_err());
    let mut wrong = spec(1);
    wrong.mimic4_overlap = 1.5;
    let dir = tempfile::tempdir().unwrap();
    let error = synth(&wrong, Seed(1), dir.path(), &|_| {}).unwrap_err().to_string();
    assert!(error.contains("mimic4_overlap") && error.contains("hint:"));
}
