//! What a dataset folder says about itself: what rules change, what splits share, whether two sites hold the same.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

mod support;

use clinpeft_clinical::prepare::{
    Comparison, CorpusSource, Diff, DiffReport, Fidelity, Manifest, NearDuplicates, PrepareOptions, compare, prepare,
};
use clinpeft_clinical::{Dataset, Example, Split, Task};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use support::{cohort, options};

fn made(options: &PrepareOptions) -> Manifest {
    prepare(options, &|_| {}).unwrap()
}

fn samples(folder: &Path, task: Task) -> BTreeMap<u64, (Example, Split)> {
    let data = Dataset::load(folder, task).unwrap();
    let of = |split: Split| data.split(split).iter().map(move |e| (e.id.0, (e.clone(), split)));
    Split::ALL.into_iter().flat_map(of).collect()
}

/// Rewrites a packed table.
fn rewrite(path: &Path, change: impl Fn(String) -> String) {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    let mut gz = flate2::write::GzEncoder::new(std::fs::File::create(path).unwrap(), flate2::Compression::fast());
    gz.write_all(change(text).as_bytes()).unwrap();
    gz.finish().unwrap();
}

#[test]
fn diff_report_counts_what_the_two_dataset_folders_differ_in() {
    let dir = tempfile::tempdir().unwrap();
    cohort(dir.path(), 200);
    let raw = dir.path().join("mimic3");
    made(&options(&raw, &dir.path().join("code"), Fidelity::Code));
    let mut paper = options(&raw, &dir.path().join("paper"), Fidelity::Paper);
    let plain = made(&paper);
    paper.diff = Diff::CodeToPaper;
    let with_diff = made(&paper);
    assert_eq!(plain.cohort, with_diff.cohort, "a report changes no data");
    let report: DiffReport = clinpeft_files::read_json(&paper.out.join("diff.json")).unwrap();
    let rules: Vec<_> = report.steps.iter().map(|s| s.rule.as_str()).collect();
    assert_eq!(rules[..2], ["sections", "note_order"]);
    for task in Task::PUBLISHED {
        let (old, new) = (samples(&dir.path().join("code"), task), samples(&paper.out, task));
        let both = || new.iter().filter_map(|(id, n)| old.get(id).map(|o| (o, n)));
        let changes = report.all.iter().find(|c| c.part == task.name()).unwrap();
        assert_eq!(changes.before, old.len() as u64);
        assert_eq!(changes.before + changes.added - changes.removed, new.len() as u64, "{task}");
        assert_eq!(changes.texts, both().filter(|(o, n)| o.0.text != n.0.text).count() as u64, "{task}");
        assert_eq!(changes.splits, both().filter(|(o, n)| o.1 != n.1).count() as u64, "{task}");
    }
    let step = |rule: &str, part: &str| {
        let step = report.steps.iter().find(|s| s.rule == rule).unwrap();
        step.changes.iter().find(|c| c.part == part).cloned().unwrap_or_default()
    };
    assert!(step("sections", "notes").texts > 0 && step("column_types", "procedures").labels > 0);
    assert!(step("ventilation_split", "ventilation").splits > 0);
    assert_eq!(step("column_types", "diagnoses").labels, 0);
    let table = std::fs::read_to_string(paper.out.join("diff.md")).unwrap();
    assert!(table.contains("| `sections` |"));
}

#[test]
fn diff_report_counts_what_the_two_corpora_differ_in() {
    let dir = tempfile::tempdir().unwrap();
    cohort(dir.path(), 200);
    let corpus = |fidelity: Fidelity| {
        let mut options = options(&dir.path().join("mimic3"), &dir.path().join(fidelity.name()), fidelity);
        options.mimic4_note = Some(dir.path().join("mimic4-note"));
        options.corpus = CorpusSource::Combined;
        options.diff = Diff::CodeToPaper;
        let manifest = made(&options);
        let mut notes = BTreeMap::new();
        for split in ["train", "test"] {
            let mut table =
                csv::Reader::from_path(options.out.join("adaptation").join(format!("{split}.csv"))).unwrap();
            let rows = table.records().map(Result::unwrap);
            notes.extend(rows.map(|row| (row[0].to_string(), (row[1].to_string(), split))));
        }
        let report: DiffReport = clinpeft_files::read_json(&options.out.join("diff.json")).unwrap();
        (manifest, notes, report)
    };
    let (code, old, of_code) = corpus(Fidelity::Code);
    let (paper, new, report) = corpus(Fidelity::Paper);
    let both = || new.iter().filter_map(|(id, n)| old.get(id).map(|o| (o, n)));
    let changes = report.all.iter().find(|c| c.part == "adaptation").unwrap();
    assert_eq!(changes.before, old.len() as u64);
    assert_eq!(changes.added, 0);
    assert_eq!(changes.before - changes.removed, new.len() as u64);
    assert_eq!(changes.texts, both().filter(|(o, n)| o.0 != n.0).count() as u64);
    assert_eq!(changes.splits, both().filter(|(o, n)| o.1 != n.1).count() as u64);
    let step = |report: &DiffReport, rule: &str| {
        let step = report.steps.iter().find(|s| s.rule == rule).unwrap();
        step.changes.first().cloned().unwrap()
    };
    let dropped_in = |manifest: &Manifest, filter: &str| -> u64 {
        let steps = manifest.attrition.iter().filter(|s| s.task == "adaptation" && s.filter.contains(filter));
        steps.map(|s| s.dropped).sum()
    };
    let dropped = |filter: &str| dropped_in(&paper, filter);
    // Notes without a text are in neither corpus.
    let cleaning =
        ["marked", "has a text", "repeated"].map(dropped).iter().sum::<u64>() - dropped_in(&code, "has a text");
    assert_eq!(step(&report, "corpus_cleaning").removed, cleaning);
    assert!(cleaning > 0 && step(&report, "corpus_cleaning").texts > 0);
    let leaks = dropped("patient is not") + dropped("does not hold");
    assert_eq!(step(&report, "corpus_leaks").removed, leaks);
    assert!(leaks > 0 && step(&report, "corpus_leaks").texts == 0);
    let split = step(&report, "corpus_split");
    assert!(split.splits > 0 && split.removed + split.added + split.texts == 0);
    assert_eq!(step(&of_code, "corpus_cleaning"), step(&report, "corpus_cleaning"));
}

#[test]
fn manifests_are_equal_whatever_the_names_and_the_compression_of_the_files() {
    let dir = tempfile::tempdir().unwrap();
    cohort(dir.path(), 120);
    let raw = dir.path().join("mimic3");
    let first = made(&options(&raw, &dir.path().join("a"), Fidelity::Paper));
    let packed = raw.join("ADMISSIONS.csv.gz");
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(&packed).unwrap()).read_to_end(&mut text).unwrap();
    std::fs::write(raw.join("admissions.csv"), &text).unwrap();
    std::fs::remove_file(&packed).unwrap();
    let second = made(&options(&raw, &dir.path().join("b"), Fidelity::Paper));
    assert_ne!(first.inputs[0].blake3, second.inputs[0].blake3);
    assert_eq!(compare(&first, &second), Comparison::Equal(None));

    let code = made(&options(&raw, &dir.path().join("c"), Fidelity::Code));
    assert!(matches!(compare(&first, &code), Comparison::Different(what) if what.starts_with("rule `")));
    rewrite(&raw.join("DIAGNOSES_ICD.csv.gz"), |t| t.lines().take(60).collect::<Vec<_>>().join("\n") + "\n");
    let less = made(&options(&raw, &dir.path().join("d"), Fidelity::Paper));
    assert!(matches!(compare(&first, &less), Comparison::Different(what) if what.contains("`DIAGNOSES_ICD`")));
    let mut outputs = first.clone();
    outputs.cohort.blake3.clear();
    outputs.cohort.parts.insert("mortality/test".into(), String::new());
    assert!(matches!(compare(&first, &outputs), Comparison::Different(what) if what.contains("`mortality/test`")));
}

#[test]
fn a_synthetic_cohort_is_not_taken_for_the_real_release() {
    let dir = tempfile::tempdir().unwrap();
    cohort(dir.path(), 120);
    let manifest = made(&options(&dir.path().join("mimic3"), &dir.path().join("data"), Fidelity::Paper));
    assert_eq!(manifest.release.release, "not the real release");
    assert_eq!(manifest.release.first_deviation.unwrap().expected, 46_520);
}

#[test]
fn copies_of_a_held_out_note_are_counted_and_can_be_left_out_of_training() {
    let dir = tempfile::tempdir().unwrap();
    cohort(dir.path(), 200);
    let raw = dir.path().join("mimic3");
    let mut options = options(&raw, &dir.path().join("data"), Fidelity::Paper);
    options.tasks = vec![Task::Mortality];
    made(&options);
    let known = samples(&options.out, Task::Mortality);
    let of = |split: Split| *known.iter().find(|(_, (_, s))| *s == split).unwrap().0;
    let (train, test) = (of(Split::Train), of(Split::Test));
    // The note of a tested admission, one word changed, is filed a second time under one that is learnt from.
    let path = raw.join("NOTEEVENTS.csv.gz");
    let mut bytes = Vec::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(&path).unwrap()).read_to_end(&mut bytes).unwrap();
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    let header = reader.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let place = |name: &str| header.iter().position(|h| h == name).unwrap();
    let is = |row: &csv::StringRecord, id: u64| {
        row[place("HADM_ID")].trim_end_matches(".0") == id.to_string() && &row[place("CATEGORY")] == "Discharge summary"
    };
    let original = rows.iter().find(|r| is(r, test)).unwrap()[place("TEXT")].to_string();
    let gz = flate2::write::GzEncoder::new(std::fs::File::create(&path).unwrap(), flate2::Compression::fast());
    let mut writer = csv::Writer::from_writer(gz);
    writer.write_record(&header).unwrap();
    for row in rows {
        let copied = is(&row, train);
        let cells = row.iter().enumerate().map(|(i, cell)| match i {
            _ if copied && i == place("TEXT") => original.replacen("Attending", "Physician", 1) + "\n",
            _ => cell.to_string(),
        });
        writer.write_record(cells).unwrap();
    }
    writer.into_inner().unwrap().finish().unwrap();

    let between = |m: &Manifest| {
        let found = |l: &&clinpeft_clinical::prepare::SplitLeaks| l.first == "train" && l.second == "test";
        m.leaks.splits.iter().find(found).cloned().unwrap()
    };
    let kept = made(&options);
    assert!(between(&kept).near_duplicates >= 1 && between(&kept).near_duplicates_were == "kept");
    assert!(samples(&options.out, Task::Mortality).contains_key(&train));
    options.near_duplicates = NearDuplicates::Exclude;
    let dropped = made(&options);
    assert_eq!(between(&dropped).near_duplicates_were, "dropped");
    assert!(!samples(&options.out, Task::Mortality).contains_key(&train));
    let step = dropped.attrition.iter().rfind(|s| s.task == "mortality").unwrap();
    assert!(step.dropped >= 1 && step.kept == samples(&options.out, Task::Mortality).len() as u64);
}

#[test]
fn a_list_gives_labels_and_splits_of_the_ventilation_task() {
    let dir = tempfile::tempdir().unwrap();
    cohort(dir.path(), 200);
    let raw = dir.path().join("mimic3");
    let mut options = options(&raw, &dir.path().join("data"), Fidelity::Code);
    options.tasks = vec![Task::Mortality, Task::Ventilation];
    made(&options);
    let ids: Vec<u64> = samples(&options.out, Task::Mortality).into_keys().take(30).collect();
    let list = dir.path().join("pmv.csv");
    let rows: String = ids
        .iter()
        .enumerate()
        .map(|(i, id)| format!("{id}.0,{},{}\n", i % 2, ["train", "val", "test"][i % 3]))
        .collect();
    std::fs::write(&list, format!("HADM_ID,label,split\n{rows}999999999,1,test\n")).unwrap();
    options.pmv_labels = Some(list);
    // The tables of the bedside are not needed then.
    std::fs::remove_file(raw.join("CHARTEVENTS.csv.gz")).unwrap();
    let manifest = made(&options);
    let made_of = samples(&options.out, Task::Ventilation);
    assert_eq!(made_of.keys().copied().collect::<Vec<_>>(), ids);
    for (i, id) in ids.iter().enumerate() {
        let (example, split) = &made_of[id];
        assert_eq!(*split, Split::ALL[i % 3]);
        assert_eq!(example.label, clinpeft_clinical::Label::Class(i as u32 % 2));
    }
    assert!(manifest.irregularities.iter().any(|i| i.kind.starts_with("ventilation list") && i.count == 1));
    options.fidelity = Fidelity::Paper;
    made(&options);
    let mortality = samples(&options.out, Task::Mortality);
    for (id, (_, split)) in samples(&options.out, Task::Ventilation) {
        assert_eq!(split, mortality[&id].1, "by patient, as the other tasks");
    }
}
