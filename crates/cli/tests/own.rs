//! Both steps on folders of one's own, and what else a person without the matrix types.

#![allow(clippy::unwrap_used, reason = "tests")]

use assert_cmd::cargo::cargo_bin;
use clinpeft_experiment::{Family, TinySizes};
use clinpeft_nn::{Backbone, Trainability};
use clinpeft_rng::Seed;
use clinpeft_text::Tokenizer;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn clinpeft(arguments: &[&str]) -> Output {
    Command::new(cargo_bin("clinpeft")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn text(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

#[track_caller]
fn works(arguments: &[&str]) -> Output {
    let out = clinpeft(arguments);
    assert!(out.status.success(), "{arguments:?}: {}", text(&out));
    out
}

const CANARY: &str = "zzcanaryzz";

/// A tiny LLaMA folder and a file of notes: those who die have another word in their note.
fn folders(dir: &Path) -> (PathBuf, PathBuf) {
    folders_of(dir, "llama", serde_json::json!({}))
}

/// The same for a model of another family, with other keys in its configuration.
fn folders_of(dir: &Path, model_type: &str, keys: serde_json::Value) -> (PathBuf, PathBuf) {
    let note = |i: usize| {
        let word = if i.is_multiple_of(3) { "moribund" } else { "stable" };
        format!("patient {i} came in {word} and was seen by the doctor {CANARY}")
    };
    let notes: Vec<String> = (0..90).map(note).collect();
    let family = Family::named(model_type).unwrap();
    let tokenizer = Tokenizer::train(notes.iter(), 300, family.tokenizer()).unwrap();
    let model = dir.join(format!("tiny-{model_type}"));
    std::fs::create_dir_all(&model).unwrap();
    let vocabulary = tokenizer.vocab_size();
    let mut config = family.tiny(TinySizes { vocabulary, width: 16, layers: 2, heads: 2, positions: 512 });
    config.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    family.untrained(config, Seed(1), Trainability::Frozen).unwrap().save(&model).unwrap();
    tokenizer.save(&model.join("tokenizer.json")).unwrap();
    let mut csv = String::from("id,subject,text,label\n");
    for (i, note) in notes.iter().enumerate() {
        csv += &format!("h{i},p{},\"{note}\",{}\n", i / 2, if i.is_multiple_of(3) { "DIE" } else { "0" });
    }
    let file = dir.join("notes.csv");
    std::fs::write(&file, csv).unwrap();
    (model, file)
}

fn run_folder(out: &Path, part: &str) -> PathBuf {
    let mut runs = std::fs::read_dir(out.join("runs")).unwrap().map(|d| d.unwrap().path());
    runs.find(|p| p.file_name().unwrap().to_str().unwrap().contains(part)).unwrap()
}

#[test]
fn a_mistral_with_a_window_and_a_qwen2_run_both_steps_and_convert() {
    for (family, keys) in [
        ("mistral", serde_json::json!({"sliding_window": 5})),
        ("qwen2", serde_json::json!({"sliding_window": 5, "use_sliding_window": true, "max_window_layers": 1})),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (model, notes) = folders_of(dir.path(), family, keys);
        let out = dir.path().join("out");
        let converted = dir.path().join("converted");
        let [model, base, data, to] = [&model, &converted, &notes, &out].map(|p| p.to_str().unwrap());
        works(&["convert", model, "--out", base]);
        assert!(text(&works(&["doctor", "--out", to])).contains("cpu"));
        let own = ["--base", base, "--data", data, "--out", to, "--set", "training.epochs=1"];
        works(&[&["adapt"], &own[..]].concat());
        let adapted = run_folder(&out, "lora");
        let more = ["--task", "mortality", "--method", "ia3", "--clinical", adapted.to_str().unwrap(), "--frozen"];
        works(&[&["finetune"], &own[..], &more].concat());
        let tuned = run_folder(&out, "mortality");
        let scores = dir.path().join("scores.csv");
        works(&["predict", "--run", tuned.to_str().unwrap(), "--input", data, "--out", scores.to_str().unwrap()]);
        assert_eq!(std::fs::read_to_string(&scores).unwrap().lines().count(), 91);
        let whole = ["--task", "mortality", "--full", "--name", "whole"];
        works(&[&["finetune"], &own[..], &whole].concat());
        let config = run_folder(&out, "whole").join("model/config.json");
        let config: serde_json::Value = clinpeft_files::read_json(&config).unwrap();
        assert_eq!((&config["model_type"], &config["sliding_window"]), (&family.into(), &5.into()));
        assert!(config["architectures"][0].as_str().unwrap().ends_with("ForSequenceClassification"));
    }
}

#[test]
fn two_steps_merge_scores_and_report_on_own_folders() {
    let dir = tempfile::tempdir().unwrap();
    let (model, notes) = folders(dir.path());
    let out = dir.path().join("out");
    let [base, data, to] = [&model, &notes, &out].map(|p| p.to_str().unwrap());
    let own = ["--base", base, "--data", data, "--out", to, "--set", "training.epochs=2"];
    let first = works(&[&["adapt"], &own[..]].concat());
    let adapted = run_folder(&out, "tiny-llama-lora");
    let below = adapted.to_str().unwrap();
    let more = ["--task", "mortality", "--method", "lora", "--clinical", below, "--frozen"];
    let second = works(&[&["finetune"], &own[..], &more].concat());
    let tuned = run_folder(&out, "clinical-frozen-lora-mortality");
    let stack: serde_json::Value = clinpeft_files::read_json(&tuned.join("adapter/stack.json")).unwrap();
    let roles: Vec<_> = stack["adapters"].as_array().unwrap().iter().map(|a| a["trainable"].as_bool()).collect();
    assert_eq!(roles, [Some(false), Some(true)]);

    // The same command again runs nothing.
    let state = tuned.join("status.json");
    let before = std::fs::metadata(&state).unwrap().modified().unwrap();
    works(&[&["finetune"], &own[..], &more].concat());
    assert_eq!(before, std::fs::metadata(&state).unwrap().modified().unwrap());

    // The merged model alone is the model with its adapter.
    let merged = dir.path().join("merged");
    let adapter = adapted.join("adapter");
    works(&["merge", "--base", base, "--adapter", adapter.to_str().unwrap(), "--out", merged.to_str().unwrap()]);
    let load = |folder: &Path| {
        let keep = clinpeft_weights::Keep::Stored;
        clinpeft_llama::Llama::load(folder, keep, &clinpeft_tensor::Device::Cpu).unwrap()
    };
    let (plain, both) = (load(&model), load(&merged));
    let weights = |m: &clinpeft_llama::Llama, part: &str| -> Vec<f64> {
        let found = m.parameters().into_iter().find(|p| p.name().ends_with(part)).unwrap();
        found.value().to_f64_vec().unwrap()
    };
    assert_ne!(weights(&plain, "0.self_attn.q_proj.weight"), weights(&both, "0.self_attn.q_proj.weight"));
    assert_eq!(weights(&plain, "0.self_attn.k_proj.weight"), weights(&both, "0.self_attn.k_proj.weight"));
    assert!(merged.join("tokenizer.json").exists());

    let scores = dir.path().join("scores.csv");
    works(&["predict", "--run", tuned.to_str().unwrap(), "--input", data, "--out", scores.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(&scores).unwrap().lines().count(), 91);
    let reported = works(&["report", "--out", to]);
    let tables = text(&reported);
    assert!(tables.starts_with("Cohort of real notes") && tables.contains("tiny-llama + clinical (frozen) + lora"));
    for shown in [&first, &second, &reported] {
        assert!(!text(shown).contains(CANARY));
    }
    for file in clinpeft_files::walk(&out.join("report")).unwrap() {
        assert!(!std::fs::read_to_string(&file).unwrap().contains(CANARY), "{}", file.display());
    }
}

#[test]
fn a_bag_of_words_learns_scores_and_shows_no_note() {
    let dir = tempfile::tempdir().unwrap();
    let (_, notes) = folders(dir.path());
    let out = dir.path().join("out");
    let [data, to] = [&notes, &out].map(|p| p.to_str().unwrap());
    let own = ["finetune", "--data", data, "--out", to, "--task", "mortality", "--method", "bag-of-words"];
    works(&own);
    let run = run_folder(&out, "bag-of-words-logistic-regression-mortality");
    let result: serde_json::Value = clinpeft_files::read_json(&run.join("result.json")).unwrap();
    assert_eq!(result["metrics"]["auroc"]["value"], 1.0, "one word tells");

    // The words of the notes are in one file of the run, which only the owner reads, and in nothing that is shared.
    let reported = works(&["report", "--out", to]);
    assert!(text(&reported).contains("Bag of words + logistic regression: ours, not in the paper"));
    let holds = |path: &PathBuf| String::from_utf8_lossy(&std::fs::read(path).unwrap()).contains(CANARY);
    let files = ["runs", "report"].map(|part| clinpeft_files::walk(&out.join(part)).unwrap()).concat();
    let holding: Vec<PathBuf> = files.into_iter().filter(holds).collect();
    assert_eq!(holding, [run.join("model/vocabulary.json")]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(holding[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    // The folder alone scores notes, as the run did.
    let scores = dir.path().join("scores.csv");
    let folder = run.to_str().unwrap();
    works(&["predict", "--run", folder, "--input", data, "--out", scores.to_str().unwrap()]);
    let scores = std::fs::read_to_string(&scores).unwrap();
    let probability =
        |row: usize| -> f64 { scores.lines().nth(row + 1).unwrap().split(',').nth(1).unwrap().parse().unwrap() };
    assert!(scores.starts_with("id,DIE\n") && probability(0) > probability(1));
    let metrics: serde_json::Value =
        serde_json::from_slice(&works(&["evaluate", "--run", folder, "--input", data]).stdout).unwrap();
    assert_eq!(metrics["auroc"]["value"], 1.0);

    // The same command again runs nothing; a damaged vocabulary is made again.
    let made = || run.join("status.json").metadata().unwrap().modified().unwrap();
    let before = made();
    works(&own);
    assert_eq!(before, made());
    std::fs::write(run.join("model/vocabulary.json"), "[]").unwrap();
    works(&own);
    assert!(before < made() && holds(&run.join("model/vocabulary.json")));
}

#[test]
fn what_is_wrong_with_own_folders_is_named_with_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let (model, notes) = folders(dir.path());
    let out = dir.path().join("out");
    let [base, data, to] = [&model, &notes, &out].map(|p| p.to_str().unwrap());
    let refused = |arguments: &[&str], part: &str| {
        let ended = clinpeft(arguments);
        let said = text(&ended);
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains(part) && said.contains("hint:") && !said.contains(CANARY), "{part}: {said}");
    };
    let empty = dir.path().join("empty");
    std::fs::create_dir_all(&empty).unwrap();
    refused(&["adapt", "--base", empty.to_str().unwrap(), "--data", data, "--out", to], "config.json");
    let write = |name: &str, content: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_string()
    };
    let bad = write("bad.csv", "id,note\n1,x\n");
    refused(&["adapt", "--base", base, "--data", &bad, "--out", to], "`text`");
    let bad =
        write("label.csv", &format!("id,text,label,split\n1,{CANARY},1,train\n2,x,ZEBRA,test\n3,x,1,validation\n"));
    refused(&["finetune", "--base", base, "--data", &bad, "--out", to, "--task", "mortality"], "row 2, column `label`");
    let bad = write("split.csv", "id,text,split\n1,x,dev\n");
    refused(&["adapt", "--base", base, "--data", &bad, "--out", to], "row 1, column `split`");
    let place = ["--set", "training.epoch=1"];
    refused(&[&["adapt", "--base", base, "--data", data, "--out", to], &place[..]].concat(), "training.epoch");
    refused(&["report", "--out", empty.to_str().unwrap()], "holds no run");
    let task = ["--data", data, "--out", to, "--task", "mortality"];
    refused(&[&["finetune"], &task[..]].concat(), "no base model is given");
    refused(&[&["finetune", "--base", base, "--method", "bag-of-words"], &task[..]].concat(), "takes no base model");
    assert!(!out.join("runs").exists(), "nothing was begun");
}

#[test]
fn the_real_matrix_without_inputs_names_all_that_is_missing_and_where_it_belongs() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = dir.path().join("in");
    let out = dir.path().join("out");
    let paper =
        ["reproduce", "--profile", "paper", "--inputs", inputs.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let refused = clinpeft(&paper);
    assert_eq!(refused.status.code(), Some(1));
    let plan = works(&[&paper[..], &["--dry-run", "--on", "h100"]].concat());
    for said in [text(&refused), text(&plan)] {
        for part in ["in/models/llama-7b", "in/models/core", "in/mimic3", "in/mimic4-note"] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    let plan: serde_json::Value =
        serde_json::from_slice(&works(&[&paper[..], &["--dry-run", "--json", "--table", "4"]].concat()).stdout)
            .unwrap();
    // Twenty cells of its own, the repeated row, and the adaptation below it.
    assert_eq!(plan["runs"].as_array().unwrap().len(), 26);
    assert!(!out.exists(), "a plan writes nothing");
}

#[test]
fn doctor_says_what_this_machine_is() {
    let plain = works(&["doctor"]);
    assert!(text(&plain).contains("memory") && text(&plain).contains("device     cpu"));
    let json: serde_json::Value = serde_json::from_slice(&works(&["doctor", "--json"]).stdout).unwrap();
    assert!(json["machine"]["cores"].as_u64().unwrap() > 0);
}
