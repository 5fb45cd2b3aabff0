//! A run folder that an older version of the program wrote still opens: `tests/fixtures/run_folder`, made by
//! `clinpeft reproduce --profile smoke` of version 0.1.0 (2026-11-28).

#![allow(clippy::unwrap_used, reason = "tests")]

use assert_cmd::cargo::cargo_bin;
use clinpeft_experiment::spec::RunSpec;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const RUN: &str = "bluebert-lora-mortality-seed1234-0365215d42e7";

/// A copy of the fixture.
fn store() -> tempfile::TempDir {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/run_folder");
    let copy = tempfile::tempdir().unwrap();
    for path in clinpeft_files::walk(&fixture).unwrap() {
        let to = copy.path().join(path.strip_prefix(&fixture).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(path, to).unwrap();
    }
    copy
}

fn clinpeft(arguments: &[&str]) {
    let out = Command::new(cargo_bin("clinpeft")).args(arguments).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn the_hash_of_a_run_does_not_change_between_versions() {
    let dir = store();
    let runs: Vec<PathBuf> = fs::read_dir(dir.path().join("runs")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(runs.len(), 2);
    for run in runs {
        let spec = RunSpec::load(&run.join("run.toml")).unwrap();
        assert_eq!(spec.folder_name().unwrap(), run.file_name().unwrap().to_str().unwrap());
    }
}

#[test]
fn a_report_shows_the_run_of_an_older_version() {
    let dir = store();
    clinpeft(&["report", "--out", dir.path().to_str().unwrap()]);
    let tables = fs::read_to_string(dir.path().join("report/tables.csv")).unwrap();
    assert!(tables.contains("BlueBERT + LoRA,mortality,1234,0.6794871794871795,"), "{tables}");
}

#[test]
fn the_model_of_an_older_version_gives_the_same_scores() {
    let dir = store();
    let (run, notes, scores) = (dir.path().join("runs").join(RUN), dir.path().join("n.csv"), dir.path().join("s.csv"));
    fs::write(&notes, "id,text\n1,\"the patient was admitted\"\n2,\"chest pain\"\n").unwrap();
    let [run, notes, out] = [&run, &notes, &scores].map(|p| p.to_str().unwrap());
    clinpeft(&["predict", "--run", run, "--input", notes, "--out", out]);
    let written = fs::read_to_string(&scores).unwrap();
    let rows: Vec<(&str, f64)> = written
        .lines()
        .skip(1)
        .map(|row| row.split_once(',').unwrap())
        .map(|(id, s)| (id, s.parse().unwrap()))
        .collect();
    // Processors sum in different orders.
    for (found, expected) in rows.iter().zip([("1", 0.48737395), ("2", 0.48725152)]) {
        assert!(found.0 == expected.0 && (found.1 - expected.1).abs() < 1e-5, "{written}");
    }
    assert_eq!(rows.len(), 2);
}
