//! `Fidelity::Code` equals an independent implementation of the published rules, to the byte.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

mod support;

use clinpeft_clinical::prepare::{Fidelity, prepare};
use clinpeft_clinical::{Dataset, Task};
use std::io::Read;
use std::path::{Path, PathBuf};
use support::{cohort, options};

fn fixture(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/published").join(part)
}

fn expected(task: Task, split: &str) -> String {
    let path = fixture("expected").join(task.name()).join(format!("{split}.csv.gz"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

#[test]
fn four_tasks_equal_the_independent_implementation() {
    let dir = tempfile::tempdir().unwrap();
    let tasks = [Task::Diagnoses, Task::Procedures, Task::Mortality, Task::LengthOfStay];
    let mut options = options(&fixture("input"), &dir.path().join("data"), Fidelity::Code);
    options.splits = Some(fixture("input"));
    options.tasks = tasks.to_vec();
    prepare(&options, &|_| {}).unwrap();
    for task in tasks {
        for split in ["train", "validation", "test"] {
            let got = std::fs::read_to_string(options.out.join(task.name()).join(format!("{split}.csv")));
            assert!(got.unwrap() == expected(task, split), "{task}, {split}");
        }
        if task.classes().is_none() {
            let read = |dir: &Path| std::fs::read_to_string(dir.join(task.name()).join("labels.txt")).unwrap();
            assert_eq!(read(&options.out), read(&fixture("expected")));
        }
    }
}

#[test]
fn every_filter_drops_something_in_the_fixture() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(&fixture("input"), &dir.path().join("data"), Fidelity::Code);
    options.tasks = vec![Task::Mortality, Task::LengthOfStay];
    let manifest = prepare(&options, &|_| {}).unwrap();
    for filter in [
        "newborn",
        "text and an admission",
        "discharge summary",
        "repeated",
        "report",
        "complaint",
        "death",
        "survived",
    ] {
        let step = manifest.attrition.iter().find(|s| s.filter.contains(filter));
        assert!(step.is_some_and(|s| s.dropped > 0), "{filter}");
    }
}

#[test]
fn a_missing_flag_makes_decimals_of_all_flags_in_the_published_rules_only() {
    let dir = tempfile::tempdir().unwrap();
    cohort(dir.path(), 120);
    let packed = dir.path().join("mimic3/ADMISSIONS.csv.gz");
    let mut table = String::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(&packed).unwrap()).read_to_string(&mut table).unwrap();
    let header = table.lines().next().unwrap().to_string();
    let cell = |name: &str| match name.trim_matches('"') {
        "SUBJECT_ID" | "HADM_ID" => "999999",
        "ADMITTIME" => "2151-07-16 13:45:00",
        _ => "",
    };
    table += &(header.split(',').map(cell).collect::<Vec<_>>().join(",") + "\n");
    std::fs::write(dir.path().join("mimic3/ADMISSIONS.csv"), table).unwrap();
    std::fs::remove_file(packed).unwrap();
    for (fidelity, ending) in [(Fidelity::Code, ".0"), (Fidelity::Paper, "")] {
        let mut options = options(&dir.path().join("mimic3"), &dir.path().join(fidelity.name()), fidelity);
        options.tasks = vec![Task::Mortality];
        prepare(&options, &|_| {}).unwrap();
        let written = std::fs::read_to_string(options.out.join("mortality/train.csv")).unwrap();
        let is_flag = |line: &&str| ["0", "1"].iter().any(|flag| line.ends_with(&format!(",{flag}{ending}")));
        let samples = Dataset::load(&options.out, Task::Mortality).unwrap().train.len();
        assert_eq!(written.lines().filter(is_flag).count(), samples);
    }
}
