//! Readmission within 30 days: boundaries on hand-made tables, and the truth of the synthetic cohort.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/mod.rs"]
mod support;

use clinpeft_clinical::prepare::{Fidelity, Manifest, prepare};
use clinpeft_clinical::{Dataset, Example, HadmId, Label, Split, Task, truth};
use std::collections::BTreeMap;
use std::path::Path;

fn write(dir: &Path, table: &str, text: &str) {
    std::fs::write(dir.join(table), text).unwrap();
}

/// Five admissions of one patient per split, and one death and one newborn.
fn tables(dir: &Path) {
    let mut admissions = "HADM_ID,SUBJECT_ID,ADMITTIME,DISCHTIME,ADMISSION_TYPE,HOSPITAL_EXPIRE_FLAG\n".to_string();
    let mut notes = "HADM_ID,SUBJECT_ID,CHARTDATE,CATEGORY,DESCRIPTION,TEXT\n".to_string();
    let mut add = |id: u64, subject: u64, from: &str, to: &str, kind: &str, died: u8| {
        admissions += &format!("{id},{subject},{from},{to},{kind},{died}\n");
        notes += &format!(
            "{id},{subject},{},Discharge summary,Report,\"Chief Complaint:\nfever {id}\n\nBrief Hospital Course:\nbetter\n\n\"\n",
            &from[..10]
        );
    };
    for subject in 1..=3 {
        let id = |stay: u64| 100 * subject + stay;
        // Out of order on purpose: the table need not be sorted.
        add(id(2), subject, "2150-02-10 12:00:00", "2150-02-12 12:00:00", "EMERGENCY", 0);
        add(id(1), subject, "2150-01-01 00:00:00", "2150-01-11 12:00:00", "EMERGENCY", 0);
        add(id(3), subject, "2150-03-14 12:00:01", "2150-03-20 00:00:00", "ELECTIVE", 0);
        add(id(4), subject, "2150-03-20 00:00:00", "2150-03-20 00:00:00", "EMERGENCY", 0);
        add(id(5), subject, "2150-03-25 00:00:00", "2150-03-28 00:00:00", "EMERGENCY", 1);
    }
    add(900, 9, "2150-01-01 00:00:00", "2150-01-05 00:00:00", "NEWBORN", 0);
    write(dir, "ADMISSIONS.csv", &admissions);
    write(dir, "NOTEEVENTS.csv", &notes);
    for (split, subject) in [("train", 1), ("val", 2), ("test", 3)] {
        write(dir, &format!("mimic_{split}.csv"), &format!("SUBJECT_ID\n{subject}\n"));
    }
}

fn prepared(dir: &Path, fidelity: Fidelity) -> (Manifest, Dataset) {
    let mut options = support::options(dir, &dir.join("data"), fidelity);
    options.tasks = vec![Task::Readmission];
    options.splits = Some(dir.into());
    let manifest = prepare(&options, &|_| {}).unwrap();
    (manifest, Dataset::load(&options.out, Task::Readmission).unwrap())
}

#[test]
fn a_return_counts_from_the_discharge_to_exactly_thirty_days_after_it() {
    for fidelity in [Fidelity::Paper, Fidelity::Code] {
        let dir = tempfile::tempdir().unwrap();
        tables(dir.path());
        let (_, dataset) = prepared(dir.path(), fidelity);
        assert_eq!(dataset.labels, ["NOT_READMITTED", "READMITTED"]);
        let label = |e: &Example| (e.id.0 % 100, e.label.clone());
        let labels: BTreeMap<u64, Label> = dataset.split(Split::Test).iter().map(label).collect();
        let expected = [
            (1, 1), // The next stay begins exactly 30 days later.
            (2, 0), // The next stay begins a second too late.
            (3, 1), // The next stay begins at the moment of the discharge.
            (4, 1), // A stay without length is not its own return, but the next one is.
        ];
        assert_eq!(labels, expected.map(|(id, class)| (id, Label::Class(class))).into());
    }
}

#[test]
fn deaths_and_newborns_are_left_out_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    tables(dir.path());
    let (manifest, _) = prepared(dir.path(), Fidelity::Paper);
    let dropped = |task: &str, filter: &str| {
        manifest.attrition.iter().find(|a| a.task == task && a.filter.contains(filter)).unwrap().dropped
    };
    assert_eq!(dropped("notes", "not a newborn's"), 1);
    assert_eq!(dropped("readmission", "survived"), 3);
}

#[test]
fn the_text_is_the_whole_discharge_summary() {
    let dir = tempfile::tempdir().unwrap();
    tables(dir.path());
    let (_, dataset) = prepared(dir.path(), Fidelity::Paper);
    let example = &dataset.split(Split::Train)[0];
    assert!(example.text.expose().contains("Brief Hospital Course:"));
}

#[test]
fn labels_of_the_synthetic_cohort_follow_the_true_probabilities() {
    let dir = tempfile::tempdir().unwrap();
    support::cohort(dir.path(), 3000);
    let mut options = support::options(&dir.path().join("mimic3"), &dir.path().join("data"), Fidelity::Paper);
    options.tasks = vec![Task::Readmission];
    prepare(&options, &|_| {}).unwrap();
    let dataset = Dataset::load(&options.out, Task::Readmission).unwrap();
    let truth = truth::load(&dir.path().join("truth"), Task::Readmission).unwrap();
    let probability = |id: &HadmId| f64::from(truth.rows[id][1]);
    let all = || Split::ALL.into_iter().flat_map(|split| dataset.split(split));
    let scored: Vec<(f64, bool)> = all().map(|e| (probability(&e.id), e.label == Label::Class(1))).collect();
    let auroc = support::auroc(&scored);
    assert!((0.6..0.9).contains(&auroc), "{auroc}");
    let expected: f64 = scored.iter().map(|s| s.0).sum();
    let found = scored.iter().filter(|s| s.1).count() as f64;
    assert!((found / expected - 1.0).abs() < 0.25, "{found} and {expected}");
}
