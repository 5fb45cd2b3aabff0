//! The program as a user meets it: whole runs on the smoke profile, killed, resumed, fed with bad input.

#![allow(clippy::unwrap_used, reason = "tests")]

use assert_cmd::cargo::cargo_bin;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

fn clinpeft(arguments: &[&str]) -> Output {
    Command::new(cargo_bin("clinpeft")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn text(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// A small part of the matrix: base, adaptation, and one cell with both adapters.
const PART: &[&str] = &["reproduce", "--profile", "smoke", "--only", "(Trainable) + Downstream,mortality"];

fn reproduce(out: &Path, more: &[&str]) -> Output {
    clinpeft(&[PART, &["--out", out.to_str().unwrap()], more].concat())
}

/// Every adapter, prediction, event and result below `runs`, by path.
fn results(out: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = clinpeft_files::walk(&out.join("runs")).unwrap();
    let wanted = |p: &PathBuf| {
        let kind = p.extension().is_some_and(|e| e == "safetensors" || e == "jsonl") || p.ends_with("result.json");
        kind && !p.components().any(|c| c.as_os_str() == "checkpoint")
    };
    let read = |p: PathBuf| {
        let mut bytes = std::fs::read(&p).unwrap();
        if p.ends_with("result.json") {
            let mut result: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            for measured in ["seconds", "peak_memory_mib"] {
                assert!(result.as_object_mut().unwrap().remove(measured).is_some());
            }
            bytes = result.to_string().into_bytes();
        }
        (p.strip_prefix(out).unwrap().to_path_buf(), bytes)
    };
    files.into_iter().filter(wanted).map(read).collect()
}

#[test]
fn killed_and_resumed_equals_undisturbed_at_any_number_of_threads() {
    let (calm, rough) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = reproduce(calm.path(), &["--threads", "2"]);
    assert!(first.status.success(), "{}", text(&first));
    let expected = results(calm.path());
    assert!(expected.len() >= 6, "{:?}", expected.keys());
    // Killed again and again, each time a little later, with one thread.
    let mut patience = 300;
    loop {
        let mut child = Command::new(cargo_bin("clinpeft"))
            .args([PART, &["--out", rough.path().to_str().unwrap(), "--threads", "1"]].concat())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let until = std::time::Instant::now() + Duration::from_millis(patience);
        while std::time::Instant::now() < until && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(10));
        }
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        patience = patience * 3 / 2;
    }
    assert_eq!(expected.keys().collect::<Vec<_>>(), results(rough.path()).keys().collect::<Vec<_>>());
    for (path, bytes) in &expected {
        assert!(results(rough.path())[path] == *bytes, "{} differs", path.display());
    }

    // The same command again runs nothing: no file below `runs` is written.
    let times = |out: &Path| -> Vec<_> {
        let files = clinpeft_files::walk(&out.join("runs")).unwrap();
        files.into_iter().map(|p| std::fs::metadata(p).unwrap().modified().unwrap()).collect()
    };
    let before = times(calm.path());
    assert!(reproduce(calm.path(), &[]).status.success());
    assert_eq!(before, times(calm.path()));

    worker_killed(calm.path(), "downstream-llama-lora-mortality", &expected);
    nothing_shows_a_note(calm.path(), &first);
    files_are_complete(calm.path());
}

/// The run folder whose name has `part`.
fn run_folder(out: &Path, part: &str) -> PathBuf {
    let mut runs = std::fs::read_dir(out.join("runs")).unwrap().map(|d| d.unwrap().path());
    runs.find(|p| p.file_name().unwrap().to_str().unwrap().contains(part)).unwrap()
}

/// The process that trains is killed itself, with a checkpoint after every step.
fn worker_killed(out: &Path, run: &str, expected: &BTreeMap<PathBuf, Vec<u8>>) {
    let cell = run_folder(out, run);
    for file in clinpeft_files::walk(&cell).unwrap() {
        if file.file_name().is_some_and(|n| n != "run.toml") {
            std::fs::remove_file(file).unwrap();
        }
    }
    let arguments = ["run", cell.to_str().unwrap(), "--threads", "1", "--checkpoint-every", "0"];
    let mut patience = 200;
    loop {
        let mut child = Command::new(cargo_bin("clinpeft")).args(arguments).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(patience));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        patience += 150;
    }
    assert!(results(out) == *expected);
}

#[test]
fn bert_killed_and_resumed_equals_undisturbed() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path();
    let only = ["--only", "BlueBERT,mortality", "--out", out.to_str().unwrap()];
    let first = clinpeft(&[&["reproduce", "--profile", "smoke"], &only[..]].concat());
    assert!(first.status.success(), "{}", text(&first));
    let expected = results(out);
    for run in ["base-bluebert", "bluebert-mortality", "bluebert-lora-mortality"] {
        worker_killed(out, run, &expected);
    }
    nothing_shows_a_note(out, &first);
    files_are_complete(out);
    for run in ["bluebert-mortality", "bluebert-lora-mortality"] {
        for file in ["predictions.safetensors", "validation.safetensors"] {
            assert!(run_folder(out, run).join(file).exists(), "{run} lacks {file}");
        }
    }
    whole_model_is_a_hugging_face_folder(&run_folder(out, "bluebert-mortality"));
    for run in ["bluebert-mortality", "bluebert-lora-mortality"] {
        own_notes_are_scored_as_in_the_run(out, &run_folder(out, run));
    }
}

/// The test split as a file of one's own gives the run's own scores and metrics.
fn own_notes_are_scored_as_in_the_run(out: &Path, run: &Path) {
    let data = std::fs::read_dir(out.join("data")).unwrap().map(|d| d.unwrap().path());
    let input = data.into_iter().find(|p| p.is_dir()).unwrap().join("mortality/test.csv");
    let (input, run_name, csv) = (input.to_str().unwrap(), run.to_str().unwrap(), run.join("own.csv"));
    let scored = clinpeft(&["predict", "--run", run_name, "--input", input, "--out", csv.to_str().unwrap()]);
    assert!(scored.status.success(), "{}", text(&scored));
    let written = std::fs::read_to_string(&csv).unwrap();
    std::fs::remove_file(&csv).unwrap();
    let scores = written.lines().skip(1).map(|l| l.split_once(',').unwrap().1.parse::<f32>().unwrap());
    let file = std::fs::read(run.join("predictions.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&file).unwrap();
    let own = file.tensor("scores").unwrap();
    let own = own.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
    assert_eq!(scores.collect::<Vec<_>>(), own.collect::<Vec<_>>());
    assert_eq!(written.lines().next().unwrap(), "id,DIE");
    let measured = clinpeft(&["evaluate", "--run", run_name, "--input", input]);
    let measured: serde_json::Value = serde_json::from_slice(&measured.stdout).unwrap();
    let result: serde_json::Value = clinpeft_files::read_json(&run.join("result.json")).unwrap();
    assert_eq!(measured["auroc"]["value"], result["metrics"]["auroc"]["value"]);
    // A column that is missing and a label that does not exist are named, without their values.
    let bad = tempfile::tempdir().unwrap();
    for (content, place) in [("id,note\n1,x\n", "`text`"), ("id,text,label\n1,x,ZEBRA\n", "row 1, column `label`")] {
        let path = bad.path().join("bad.csv");
        std::fs::write(&path, content).unwrap();
        let refused = clinpeft(&["evaluate", "--run", run_name, "--input", path.to_str().unwrap()]);
        assert_eq!(refused.status.code(), Some(1));
        let said = text(&refused);
        assert!(said.contains(place) && said.contains("hint:") && !said.contains("ZEBRA"), "{said}");
    }
}

/// Full fine-tuning leaves a model with its head and the names of its classes.
fn whole_model_is_a_hugging_face_folder(run: &Path) {
    let folder = run.join("model");
    let device = clinpeft_tensor::Device::Cpu;
    clinpeft_bert::Bert::load(&folder, clinpeft_weights::Keep::Stored, &device).unwrap();
    let weights = clinpeft_weights::Checkpoint::open(&folder).unwrap();
    let dims = ["classifier.weight", "classifier.bias"].map(|name| weights.tensors()[name].dims[0]);
    assert_eq!(dims, [2, 2], "two classes, a weight and a bias");
    let config: serde_json::Value = clinpeft_files::read_json(&folder.join("config.json")).unwrap();
    assert_eq!(config["architectures"][0], "BertForSequenceClassification");
    assert_eq!(config["id2label"].as_object().unwrap().len(), 2);
    assert!(folder.join("tokenizer.json").exists());
}

/// The canary is in the raw notes and the datasets, and nowhere else.
fn nothing_shows_a_note(out: &Path, printed: &Output) {
    let canary = clinpeft_clinical::synth::CANARY.as_bytes();
    let holds = |bytes: &[u8]| bytes.windows(canary.len()).any(|w| w.eq_ignore_ascii_case(canary));
    let data = clinpeft_files::walk(&out.join("data")).unwrap();
    assert!(data.iter().any(|p| holds(&std::fs::read(p).unwrap())), "the datasets hold the canary");
    for part in ["runs", "report"] {
        for file in clinpeft_files::walk(&out.join(part)).unwrap() {
            assert!(!holds(&std::fs::read(&file).unwrap()), "{} shows a note", file.display());
        }
    }
    assert!(!holds(&printed.stdout) && !holds(&printed.stderr));
}

fn files_are_complete(out: &Path) {
    let report = std::fs::read_to_string(out.join("report/tables.md")).unwrap();
    assert!(report.lines().next().unwrap().contains("Synthetic"), "{report}");
    for folder in std::fs::read_dir(out.join("runs")).unwrap() {
        let folder = folder.unwrap().path();
        for file in ["run.toml", "manifest.json", "events.jsonl", "result.json", "status.json"] {
            assert!(folder.join(file).exists(), "{} lacks {file}", folder.display());
        }
        assert!(!folder.join("checkpoint").exists());
    }
}

#[test]
fn failed_cell_is_shown_and_the_rest_goes_on() {
    let out = tempfile::tempdir().unwrap();
    let only = ["--only", "LLaMA,mortality,length_of_stay"];
    let part = ["reproduce", "--profile", "smoke", "--out", out.path().to_str().unwrap(), only[0], only[1]];
    let names = clinpeft(&[&part[..], &["--dry-run"]].concat());
    let names = String::from_utf8(names.stdout).unwrap();
    let victim = names.split_whitespace().find(|l| l.starts_with("llama-mortality")).unwrap();
    // A folder in place of a file: this run cannot write its events.
    std::fs::create_dir_all(out.path().join("runs").join(victim).join("events.jsonl")).unwrap();
    let ended = clinpeft(&part);
    assert_eq!(ended.status.code(), Some(1), "{}", text(&ended));
    assert!(text(&ended).contains("runs failed") && text(&ended).contains("hint:"));
    let tables = std::fs::read_to_string(out.path().join("report/tables.md")).unwrap();
    assert!(tables.contains("failed:"), "{tables}");
    let done = std::fs::read_dir(out.path().join("runs")).unwrap().filter(|d| {
        let status = std::fs::read_to_string(d.as_ref().unwrap().path().join("status.json"));
        status.is_ok_and(|s| s.contains("done"))
    });
    assert!(done.count() > 8, "the others are done");
}

/// A cohort in raw form, to be damaged.
fn raw() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let out = clinpeft(&["synth", "--cohort", "smoke", "--patients", "60", "--out", dir.path().to_str().unwrap()]);
    assert!(out.status.success(), "{}", text(&out));
    dir
}

/// Prepares a damaged cohort: exit code 1, a hint, the place, and no dataset folder.
fn refused(dir: &Path, place: &[&str]) {
    let target = dir.join("data");
    let (mimic3, notes) = (dir.join("mimic3"), dir.join("mimic4-note"));
    let out = clinpeft(&[
        "prepare",
        "--mimic3",
        mimic3.to_str().unwrap(),
        "--mimic4-note",
        notes.to_str().unwrap(),
        "--out",
        target.to_str().unwrap(),
    ]);
    assert_eq!(out.status.code(), Some(1), "{}", text(&out));
    for word in place {
        assert!(text(&out).contains(word), "{word}: {}", text(&out));
    }
    assert!(!text(&out).to_lowercase().contains(&clinpeft_clinical::synth::CANARY.to_lowercase()));
    let left = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    assert!(left.into_iter().all(|name| name != "data" && !name.starts_with(".partial")), "nothing is half-written");
}

#[test]
fn prepare_and_compare_show_no_note_and_tell_equal_from_different() {
    let dir = raw();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    let (mimic3, notes) = (path("mimic3"), path("mimic4-note"));
    let prepare = |out: &str, more: &[&str]| {
        let out = path(out);
        let ended =
            clinpeft(&[&["prepare", "--mimic3", &mimic3, "--mimic4-note", &notes, "--out", &out], more].concat());
        assert!(ended.status.success(), "{}", text(&ended));
        ended
    };
    let printed = prepare("a", &["--diff", "--exclude-near-duplicates"]);
    prepare("b", &["--exclude-near-duplicates"]);
    prepare("c", &["--fidelity", "code"]);
    let compared = |other: &str| clinpeft(&["compare", &path("a/manifest.json"), &path(other)]);
    let (equal, different, absent) =
        (compared("b/manifest.json"), compared("c/manifest.json"), compared("d/manifest.json"));
    assert!(equal.status.success() && text(&equal).starts_with("equal: "), "{}", text(&equal));
    assert_eq!(different.status.code(), Some(1));
    assert!(text(&different).starts_with("different: rule "), "{}", text(&different));
    assert_eq!(absent.status.code(), Some(2));
    assert!(text(&absent).contains("hint:"));
    let canary = clinpeft_clinical::synth::CANARY.to_lowercase();
    let shown = [&printed, &equal, &different].map(text).concat();
    assert!(shown.contains("not the real release") && !shown.to_lowercase().contains(&canary));
    let files = clinpeft_files::walk(&dir.path().join("a")).unwrap();
    let (data, reports): (Vec<_>, Vec<_>) = files.iter().partition(|p| p.extension().is_some_and(|e| e == "csv"));
    let holds = |p: &&PathBuf| String::from_utf8_lossy(&std::fs::read(p).unwrap()).to_lowercase().contains(&canary);
    assert!(data.iter().any(holds) && !reports.iter().any(holds));
    for name in ["manifest.json", "diff.json", "diff.md", "attrition.svg"] {
        assert!(reports.iter().any(|p| p.file_name().is_some_and(|n| n == name)), "{name}");
    }
}

fn rewrite(path: &Path, change: impl Fn(String) -> String) {
    let mut old = String::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut old).unwrap();
    let mut gz = flate2::write::GzEncoder::new(std::fs::File::create(path).unwrap(), flate2::Compression::fast());
    gz.write_all(change(old).as_bytes()).unwrap();
    gz.finish().unwrap();
}

#[test]
fn truncated_gzip_is_refused() {
    let dir = raw();
    let path = dir.path().join("mimic3/NOTEEVENTS.csv.gz");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    refused(dir.path(), &["NOTEEVENTS.csv.gz", "hint:"]);
}

#[test]
fn missing_column_is_refused() {
    let dir = raw();
    rewrite(&dir.path().join("mimic3/ADMISSIONS.csv.gz"), |s| s.replacen("DISCHTIME", "DISCHARGED", 1));
    refused(dir.path(), &["ADMISSIONS.csv.gz", "DISCHTIME", "hint:"]);
}

#[test]
fn unparsable_date_is_refused() {
    let dir = raw();
    rewrite(&dir.path().join("mimic3/ADMISSIONS.csv.gz"), |s| {
        let mut lines: Vec<String> = s.lines().map(str::to_string).collect();
        let broken = lines[3].replacen("-", "x", 2);
        lines[3] = broken;
        lines.join("\n") + "\n"
    });
    refused(dir.path(), &["ADMISSIONS.csv.gz", "hint:"]);
}

#[test]
fn configuration_of_another_model_is_refused() {
    let out = tempfile::tempdir().unwrap();
    let model = out.path().join("gpt2");
    std::fs::create_dir_all(&model).unwrap();
    std::fs::write(model.join("config.json"), r#"{"model_type":"gpt2","vocab_size":8}"#).unwrap();
    let first = reproduce(out.path(), &["--dry-run"]);
    let name = String::from_utf8(first.stdout).unwrap();
    let name = name.split_whitespace().find(|l| l.contains("mortality")).unwrap().to_string();
    // The plan's run, but with a folder in place of the tiny base model and without adapters.
    assert!(reproduce(out.path(), &[]).status.success());
    let path = out.path().join("runs").join(&name).join("run.toml");
    let mut spec: clinpeft_experiment::RunSpec = toml_of(&path);
    spec.base = clinpeft_experiment::Base::Folder { folder: model };
    spec.stack.clear();
    let store = clinpeft_experiment::Store::new(out.path());
    let folder = store.create(&spec).unwrap();
    let ended = clinpeft(&["run", folder.path().to_str().unwrap()]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(text(&ended).contains("`gpt2`") && text(&ended).contains("hint:"), "{}", text(&ended));
    assert!(!folder.file("result.json").exists() && !folder.file("adapter").exists());
}

fn toml_of(path: &Path) -> clinpeft_experiment::RunSpec {
    clinpeft_experiment::RunSpec::load(path).unwrap()
}

#[test]
fn unknown_profile_names_the_known_ones() {
    let out = clinpeft(&["reproduce", "--profile", "deme", "--out", "/nonexistent/x"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out).contains("smoke, llama, demo, paper"), "{}", text(&out));
}
