//! Broken input gives an error that names the place, and no folder.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

mod support;

use clinpeft_clinical::prepare::{CorpusSource, Diff, Fidelity, NearDuplicates, prepare};
use clinpeft_clinical::synth::{CANARY, synth};
use clinpeft_clinical::{CorpusSplit, Dataset, Error, Task, load_corpus, truth};
use clinpeft_rng::Seed;
use std::io::{Read, Write};
use std::path::Path;
use support::{cohort, options, spec};

/// Prepares a small cohort after `damage` was done to the unpacked text of `table`; returns the error's text.
fn error_after(table: &str, damage: impl Fn(String) -> Vec<u8>) -> String {
    let dir = tempfile::tempdir().unwrap();
    cohort(dir.path(), 60);
    let path = dir.path().join("mimic3").join(format!("{table}.csv.gz"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(&path).unwrap()).read_to_string(&mut text).unwrap();
    let mut packed = flate2::write::GzEncoder::new(std::fs::File::create(&path).unwrap(), flate2::Compression::fast());
    packed.write_all(&damage(text)).unwrap();
    packed.finish().unwrap();
    error_of(dir.path())
}

fn error_of(dir: &Path) -> String {
    let out = dir.join("data");
    let error = prepare(&options(&dir.join("mimic3"), &out, Fidelity::Paper), &|_| {}).unwrap_err();
    assert!(!out.exists(), "nothing may be left behind");
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains(CANARY));
    error.to_string()
}

fn says(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
    assert_eq!(error.matches("\nhint: ").count(), 1, "{error}");
}

#[test]
fn missing_column_is_named_with_the_nearest_one() {
    let error = error_after("ADMISSIONS", |t| t.replacen("DISCHTIME", "DISCH_TIME", 1).into());
    says(&error, &["ADMISSIONS.csv.gz", "`DISCHTIME`", "`DISCH_TIME`"]);
}

#[test]
fn a_value_is_not_taken_for_a_column_where_the_header_is_missing() {
    for (column, value) in [("HADM_ID", "167853"), ("TEXT", CANARY), ("CATEGORY", "Discharge summary")] {
        let error = error_after("NOTEEVENTS", |t| {
            let header = t.lines().next().unwrap().replace('"', "");
            let first = header.split(',').map(|name| if name == column { value } else { name });
            let first: Vec<&str> = first.collect();
            t.replacen(t.lines().next().unwrap(), &first.join(","), 1).into()
        });
        says(&error, &["NOTEEVENTS.csv.gz", &format!("`{column}`")]);
        assert!(!error.contains(value), "{error}");
    }
}

#[test]
fn unreadable_date_is_named_by_row_and_column_but_not_shown() {
    let error = error_after("ADMISSIONS", |t| {
        let mut rows: Vec<String> = t.lines().map(str::to_string).collect();
        let date = rows[3].split(',').nth(3).unwrap().to_string();
        rows[3] = rows[3].replacen(&date, &format!("{CANARY}-2151/07/16 99"), 1);
        (rows.join("\n") + "\n").into()
    });
    says(&error, &["ADMISSIONS.csv.gz", "row 3", "`ADMITTIME`"]);
}

#[test]
fn truncated_gzip_is_told_apart_from_a_short_table() {
    let dir = tempfile::tempdir().unwrap();
    cohort(dir.path(), 60);
    let path = dir.path().join("mimic3/NOTEEVENTS.csv.gz");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    says(&error_of(dir.path()), &["NOTEEVENTS.csv.gz", "ends too early"]);
    std::fs::write(&path, b"this is no gzip at all, but text").unwrap();
    says(&error_of(dir.path()), &["NOTEEVENTS.csv.gz", "is damaged"]);
}

#[test]
fn text_that_is_not_utf8_is_named_by_row() {
    let error = error_after("NOTEEVENTS", |t| {
        let mut bytes = t.into_bytes();
        let at = bytes.windows(9).position(|w| w == b"Admission").unwrap();
        bytes[at] = 0xff;
        bytes
    });
    says(&error, &["NOTEEVENTS.csv.gz", "row 1", "`TEXT`", "UTF-8"]);
}

#[test]
fn row_of_another_length_is_named() {
    let error = error_after("DIAGNOSES_ICD", |t| (t + "1,2,3\n").into());
    says(&error, &["DIAGNOSES_ICD.csv.gz", "3 columns", "5", "column 4"]);
    let error = error_after("DIAGNOSES_ICD", |t| (t + "1,2,3,4,5,6\n").into());
    says(&error, &["DIAGNOSES_ICD.csv.gz", "6 columns", "5", "`ICD9_CODE`"]);
}

#[test]
fn missing_table_and_empty_split_are_named() {
    let dir = tempfile::tempdir().unwrap();
    cohort(dir.path(), 60);
    std::fs::remove_file(dir.path().join("mimic3/ICUSTAYS.csv.gz")).unwrap();
    says(&error_of(dir.path()), &["ICUSTAYS"]);
    let error = error_after("NOTEEVENTS", |t| t.lines().next().unwrap().as_bytes().to_vec());
    says(&error, &["NOTEEVENTS.csv.gz", "no row"]);
    let error = error_after("NOTEEVENTS", |t| t[..t.find('\n').unwrap() + 400].into());
    says(&error, &["NOTEEVENTS.csv.gz", "row 1", "inside a quoted cell"]);
    let one_row = |t: String| (t[..t.find("Report").unwrap()].to_string() + "Report\",,,\"x\"\n").into();
    let error = error_after("NOTEEVENTS", one_row);
    says(&error, &["diagnoses", "train"]);
    let error = error_after("ADMISSIONS", |_| Vec::new());
    says(&error, &["ADMISSIONS.csv.gz", "header is empty"]);
}

#[test]
fn label_outside_the_list_is_named_by_file_and_row() {
    let dir = tempfile::tempdir().unwrap();
    cohort(dir.path(), 120);
    let out = dir.path().join("data");
    prepare(&options(&dir.path().join("mimic3"), &out, Fidelity::Paper), &|_| {}).unwrap();
    let path = out.join("length_of_stay/test.csv");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen(",2\n", ",4\n", 1)).unwrap();
    let error = Dataset::load(&out, Task::LengthOfStay).unwrap_err().to_string();
    says(&error, &["test.csv", "row ", "`label`"]);
}

#[test]
fn whatever_is_altered_under_the_same_manifest_is_named() {
    let dir = tempfile::tempdir().unwrap();
    cohort(dir.path(), 120);
    let out = dir.path().join("data");
    let mut options = options(&dir.path().join("mimic3"), &out, Fidelity::Paper);
    options.mimic4_note = Some(dir.path().join("mimic4-note"));
    options.corpus = CorpusSource::Mimic4;
    prepare(&options, &|_| {}).unwrap();
    let read = || -> Result<(), Error> {
        Dataset::load(&out, Task::Diagnoses)?;
        truth::load(&dir.path().join("truth"), Task::Mortality)?;
        load_corpus(&out, CorpusSplit::Train)?;
        load_corpus(&out, CorpusSplit::Test).map(|_| ())
    };
    read().unwrap();
    let files = [
        ("data/subjects.csv", "0\n", "1\n"),
        ("data/diagnoses/train.csv", " the ", " a "),
        ("data/diagnoses/validation.csv", " the ", " a "),
        ("data/diagnoses/test.csv", " the ", " a "),
        ("data/diagnoses/labels.txt", "\n4", "\n5"),
        ("data/adaptation/train.csv", " the ", " a "),
        ("data/adaptation/test.csv", " the ", " a "),
        ("truth/mortality.csv", "0.", "0.0"),
    ];
    for (name, old, new) in files {
        let path = dir.path().join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(old), "{name}");
        std::fs::write(&path, text.replacen(old, new, 1)).unwrap();
        says(&read().unwrap_err().to_string(), &[name, "is damaged"]);
        std::fs::write(&path, text).unwrap();
    }
    // Another file in place of one that is listed, and a manifest that lists nothing, as those of own notes were.
    let (train, packed) = (out.join("adaptation/train.csv"), out.join("adaptation/train.csv.gz"));
    std::fs::rename(&train, &packed).unwrap();
    std::fs::write(&packed, flate2_of("id,text\n1,x\n")).unwrap();
    says(&read().unwrap_err().to_string(), &["train.csv.gz", "does not list it"]);
    std::fs::write(out.join("manifest.json"), "{}").unwrap();
    read().unwrap();
}

fn flate2_of(text: &str) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap()
}

#[test]
fn folders_of_a_person_are_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    cohort(dir.path(), 120);
    let raw = dir.path().join("mimic3");
    let error = prepare(&options(&raw, &raw, Fidelity::Paper), &|_| {}).unwrap_err().to_string();
    says(&error, &["mimic3", "is or holds what is read"]);
    let out = dir.path().join("data");
    for _ in 0..2 {
        prepare(&options(&raw, &out, Fidelity::Paper), &|_| {}).unwrap();
    }
    // A synthetic cohort is replaced, but not with a table among it that may be real.
    cohort(dir.path(), 60);
    std::fs::write(raw.join("LABEVENTS.csv"), "ROW_ID\n").unwrap();
    let error = synth(&spec(60), Seed(7), dir.path(), &|_| {}).unwrap_err().to_string();
    says(&error, &["mimic3", "`LABEVENTS.csv`, which this program did not make"]);
    assert!(raw.join("NOTEEVENTS.csv.gz").exists());
}

#[test]
fn reports_hold_no_word_of_a_note() {
    let dir = tempfile::tempdir().unwrap();
    cohort(dir.path(), 300);
    let mut options = options(&dir.path().join("mimic3"), &dir.path().join("data"), Fidelity::Paper);
    options.mimic4_note = Some(dir.path().join("mimic4-note"));
    options.corpus = CorpusSource::Combined;
    options.diff = Diff::CodeToPaper;
    options.near_duplicates = NearDuplicates::Exclude;
    let heard = std::cell::RefCell::new(String::new());
    let manifest = prepare(&options, &|progress| *heard.borrow_mut() += &format!("{progress:?}")).unwrap();
    let heard = heard.into_inner();
    assert!(heard.contains("admission notes") && !heard.contains(CANARY));
    let notes = std::fs::read_to_string(options.out.join("adaptation/train.csv")).unwrap();
    assert!(notes.contains(CANARY), "else this test proves nothing");
    for report in ["manifest.json", "diff.json", "diff.md", "attrition.csv", "attrition.svg", "subjects.csv"] {
        let text = std::fs::read_to_string(options.out.join(report)).unwrap();
        assert!(!text.to_lowercase().contains(&CANARY.to_lowercase()), "{report}");
    }
    assert!(!format!("{manifest:?}").contains(CANARY));
    let dataset = Dataset::load(&options.out, Task::Mortality).unwrap();
    assert!(!format!("{dataset:?}").contains(CANARY));
}
