//! A small made-up run store and the report on it.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use clinpeft_report::predictions::{Labels, Predictions};
use clinpeft_report::{BAG_OF_WORDS, Cohort, CohortCounts, Plan, Summary, write};
use serde_json::{Value, json};

/// Writes a run folder; `None` as the error means that it has finished.
fn run(out: &Path, folder: &str, result: &Value, error: Option<&str>) {
    let dir = out.join("runs").join(folder);
    fs::create_dir_all(&dir).expect("temporary folder");
    let put = |name: &str, value: &Value| {
        fs::write(dir.join(name), value.to_string()).expect("temporary folder");
    };
    match error {
        None => {
            put("result.json", result);
            put("status.json", &json!({"state": "done"}));
        }
        Some(error) => {
            let (row, seed) = (result["row"].to_string(), &result["seed"]);
            let task = match &result["task"] {
                Value::String(task) => format!("task = \"{task}\"\n"),
                _ => String::new(),
            };
            let switches = format!("row = {row}\nseed = {seed}\n{task}");
            fs::write(dir.join("run.toml"), switches).expect("temporary folder");
            put("status.json", &json!({"state": "failed", "error": error}));
        }
    }
}

fn adaptation(row: &str, seed: u64, perplexity: f64) -> Value {
    json!({"kind": "adaptation", "table": 2, "row": row, "seed": seed, "fidelity": "paper", "split": "test", "n": 40,
        "metrics": {
            "perplexity": {"value": perplexity, "lo": perplexity - 0.1, "hi": perplexity + 0.2},
            "train_perplexity": perplexity - 0.25, "perplexity_before": {"value": 9.5}},
        "trainable_parameters": 2048, "total_parameters": 102_400, "seconds": 75.5, "tokens": 123_456,
        "peak_memory_mib": 210.5})
}

fn downstream(row: &str, task: &str, seed: u64, auroc: f64) -> Value {
    json!({"kind": "downstream", "table": 3, "row": row, "task": task, "seed": seed, "fidelity": "paper",
        "split": "test", "n": 400,
        "metrics": {"auroc": {"value": auroc, "lo": auroc - 0.03, "hi": auroc + 0.03}, "auprc": {"value": 0.5}},
        "ceiling": 0.9, "trainable_parameters": 64, "total_parameters": 102_464, "seconds": 12.25, "tokens": 1000,
        "peak_memory_mib": 99.0})
}

const TASKS: [&str; 5] = ["ventilation", "mortality", "length_of_stay", "diagnoses", "procedures"];

fn plan(seeds: &[u64]) -> Plan {
    let text = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
    Plan {
        fidelity: "paper".into(),
        table2: text(&["LLaMA + LoRA", "LLaMA + Prompt Tuning"]),
        table3: text(&["LLaMA", "LLaMA + LoRA", "LLaMA + Clinical LLaMA-LoRA (Frozen)"]),
        table4: text(&["BlueBERT + LoRA"]),
        tasks: text(&TASKS),
        seeds: seeds.to_vec(),
        folders: None,
    }
}

/// One seed is complete but for a failure and a gap; a second seed is there for the first rows.
fn store(out: &Path) {
    run(out, "adapt-1", &adaptation("LLaMA + LoRA", 1, 3.0), None);
    run(out, "adapt-2", &adaptation("LLaMA + LoRA", 2, 3.5), None);
    let prompt = adaptation("LLaMA + Prompt Tuning", 1, 0.0);
    run(out, "prompt-1", &prompt, Some("loss is NaN at step 7\nhint: lower the rate"));
    for (i, task) in TASKS.iter().enumerate() {
        for seed in [1, 2] {
            let auroc = 0.5 + 0.05 * (i + 1) as f64 + 0.02 * (seed - 1) as f64;
            let result = downstream("LLaMA", task, seed, auroc);
            run(out, &format!("llama-{task}-{seed}"), &result, None);
        }
    }
    let lora = |task| downstream("LLaMA + LoRA", task, 1, 0.8);
    run(out, "lora-v-1", &lora("ventilation"), Some("no | memory"));
    run(out, "lora-m-1", &lora("mortality"), None);
    run(out, "stray-1", &downstream("Another row", "mortality", 1, 0.7), None);
    fs::create_dir_all(out.join("runs/nameless")).expect("temporary folder");
    fs::create_dir_all(out.join("runs/.partial-x")).expect("temporary folder");
}

fn counts() -> CohortCounts {
    let manifest = json!({"hash": "x", "tasks": {
        "mortality": {"classes": 2, "kind": "binary", "splits": {"train": 1400, "validation": 200, "test": 400}},
        "extra": {"classes": 3, "kind": "classes", "splits": {"train": 1, "validation": 2, "test": 3}}}});
    serde_json::from_value(manifest).expect("has the form")
}

fn report(out: &Path, seeds: &[u64]) -> Summary {
    write(out, &[plan(seeds)], Cohort::Synthetic, &counts()).expect("report can be written")
}

fn read(out: &Path, name: &str) -> String {
    fs::read_to_string(out.join("report").join(name)).expect("report is there")
}

/// The line of `text` that holds both parts.
#[track_caller]
fn line<'t>(text: &'t str, start: &str, part: &str) -> &'t str {
    let mut lines = text.lines();
    let found = lines.find(|l| l.starts_with(start) && l.contains(part));
    found.unwrap_or_else(|| panic!("no line `{start}` with `{part}` in\n{text}"))
}

#[test]
fn markdown_equals_the_snapshot() {
    let out = tempfile::tempdir().unwrap();
    store(out.path());
    let summary = report(out.path(), &[1]);
    let expected = include_str!("snapshots/tables.md");
    let found = read(out.path(), "tables.md");
    assert!(found == expected, "tables.md is now:\n{found}");
    assert_eq!(summary.terminal(), expected);
    let counts = [summary.done, summary.failed, summary.unfinished, summary.missing];
    assert_eq!(counts, [7, 2, 0, 13]);
}

#[test]
fn csv_equals_the_snapshot() {
    let out = tempfile::tempdir().unwrap();
    store(out.path());
    report(out.path(), &[1]);
    let found = read(out.path(), "tables.csv");
    let expected = include_str!("snapshots/tables.csv");
    assert!(found == expected, "tables.csv is now:\n{found}");
    let width = found.lines().nth(1).unwrap().split(',').count();
    assert!(found.lines().skip(2).all(|l| l.split(',').count() == width));
}

#[test]
fn several_seeds_show_mean_and_spread_and_what_is_absent() {
    let out = tempfile::tempdir().unwrap();
    store(out.path());
    report(out.path(), &[1, 2]);
    let text = read(out.path(), "tables.md");
    let llama = line(&text, "| LLaMA  ", "/ 51.38");
    assert!(llama.contains("56.00 (55.00–57.00, 2 seeds) / 51.38 / 90.00"), "{llama}");
    // Macro averages seed by seed.
    assert!(llama.contains("66.00 (65.00–67.00, 2 seeds) / 59.94 / 90.00"), "{llama}");
    let lora = line(&text, "| LLaMA + LoRA ", "/ 74.89");
    assert!(lora.contains("seed 1 failed: no \\| memory; seed 2 missing / 51.65"), "{lora}");
    assert!(lora.contains("80.00 [77.00, 83.00]; seed 2 missing / 74.89"), "{lora}");
    let html = read(out.path(), "index.html");
    assert!(html.contains("<a href=\"../runs/llama-ventilation-2/\">seed 2</a>"));
}

#[test]
fn html_is_one_file_with_a_link_from_every_number() {
    let out = tempfile::tempdir().unwrap();
    store(out.path());
    report(out.path(), &[1]);
    let html = read(out.path(), "index.html");
    assert!(html.starts_with("<!-- Synthetic cohort and tiny stand-in models"));
    assert!(html.contains("<p class=\"banner\">Synthetic cohort"));
    assert!(html.contains("prefers-color-scheme: dark") && html.contains("name=\"viewport\""));
    for elsewhere in ["http://", "https://", "<script", "@import", "src="] {
        assert!(!html.contains(elsewhere), "{elsewhere}");
    }
    assert!(html.contains("<td class=\"done\"><a href=\"../runs/lora-m-1/\">80.00</a><small>[77.00, 83.00]</small>"));
    assert!(html.contains("<td class=\"failed\"><a href=\"../runs/lora-v-1/\">failed: no | memory</a>"));
    assert!(html.contains("<td class=\"missing\">missing<small>paper 65.66</small>"));
    assert!(
        html.contains("<a href=\"#table-3-downstream-tasks\">") && html.contains("id=\"table-3-downstream-tasks\"")
    );
}

#[test]
fn writing_twice_gives_the_same_bytes() {
    let out = tempfile::tempdir().unwrap();
    store(out.path());
    let files = FILES;
    predicted(out.path());
    let all = || {
        report(out.path(), &[1, 2]);
        files.map(|name| read(out.path(), name))
    };
    assert_eq!(all(), all());
}

#[test]
fn the_newest_run_of_a_cell_is_shown_and_the_other_is_listed() {
    let out = tempfile::tempdir().unwrap();
    for (folder, auroc, age) in [("a-new", 0.75, 10), ("b-old", 0.25, 1000)] {
        run(out.path(), folder, &downstream("LLaMA", "mortality", 1, auroc), None);
        let status = out.path().join("runs").join(folder).join("status.json");
        let time = SystemTime::now() - Duration::from_secs(age);
        File::options().write(true).open(status).and_then(|file| file.set_modified(time)).unwrap();
    }
    report(out.path(), &[1]);
    let text = read(out.path(), "tables.md");
    assert!(line(&text, "| LLaMA  ", "/ 66.80").contains("75.00 [72.00, 78.00]"));
    line(&text, "| b-old", "older than a-new");
}

#[test]
fn two_fidelities_give_two_sets_of_tables() {
    let out = tempfile::tempdir().unwrap();
    let mut code = downstream("LLaMA", "mortality", 1, 0.4);
    code["fidelity"] = "code".into();
    run(out.path(), "a", &downstream("LLaMA", "mortality", 1, 0.6), None);
    run(out.path(), "b", &code, None);
    let plans = [plan(&[1]), Plan { fidelity: "code".into(), ..plan(&[1]) }];
    write(out.path(), &plans, Cohort::Synthetic, &counts()).unwrap();
    let text = read(out.path(), "tables.md");
    let (paper, code) = (text.find("Fidelity: paper").unwrap(), text.find("Fidelity: code").unwrap());
    assert!(paper < code);
    line(&text[..code], "| LLaMA  ", "60.00 [57.00, 63.00]");
    line(&text[code..], "| LLaMA  ", "40.00 [37.00, 43.00]");
}

#[test]
fn published_macro_stands_beside_the_same_tasks_only() {
    let out = tempfile::tempdir().unwrap();
    store(out.path());
    let mut plan = plan(&[1]);
    plan.tasks.truncate(2);
    write(out.path(), &[plan], Cohort::Synthetic, &counts()).unwrap();
    let text = read(out.path(), "tables.md");
    assert!(line(&text, "| LLaMA  ", "/ 51.38").trim_end_matches([' ', '|']).ends_with("57.50 / – / 90.00"));
}

#[test]
fn only_a_synthetic_cohort_is_called_synthetic() {
    let out = tempfile::tempdir().unwrap();
    write(out.path(), &[plan(&[1])], Cohort::Own, &CohortCounts::default()).unwrap();
    for name in FILES {
        let text = read(out.path(), name);
        assert!(!text.contains("ynthetic") && text.lines().next().unwrap().contains("real notes"));
    }
}

const FILES: [&str; 5] = ["tables.md", "tables.csv", "tables.tex", "comparisons.csv", "index.html"];

/// Predictions of a test or validation split: 120 rows of 100 patients, scores that lean towards the truth by `skill`.
fn predictions(task: &str, skill: f32) -> Predictions {
    let n = 120u64;
    let noise = |i: u64, k: u64| ((i * 7919 + k * 104_729 + 13) % 997) as f32 / 997.0;
    let truth = |i: u64, k: u64| (i * 31 + k) % 3;
    let ids: Vec<u64> = (0..n).collect();
    let (labels, scores, columns): (Labels, Vec<f32>, usize) = match task {
        "length_of_stay" => {
            let score = |i: u64, c: u64| 0.1 + 0.2 * noise(i, c) + skill * f32::from(u8::from(truth(i, 0) == c));
            let row = |i: &u64| {
                let row = [0, 1, 2].map(|c| score(*i, c));
                row.map(|s| s / row.iter().sum::<f32>())
            };
            let truths = ids.iter().map(|i| truth(*i, 0) as u32).collect();
            (Labels::Classes(truths), ids.iter().flat_map(row).collect(), 3)
        }
        "diagnoses" => {
            let cells: Vec<(u64, u64)> = ids.iter().flat_map(|i| [(*i, 0), (*i, 1)]).collect();
            let truths: Vec<u8> = cells.iter().map(|(i, k)| u8::from(truth(*i, *k) == 0)).collect();
            let scores = cells.iter().zip(&truths).map(|((i, k), y)| 0.6 * noise(*i, *k) + skill * f32::from(*y));
            let scores = scores.collect();
            (Labels::Sets(truths), scores, 2)
        }
        _ => {
            let truths: Vec<u32> = ids.iter().map(|i| u32::from(truth(*i, 0) == 0)).collect();
            let scores = ids.iter().zip(&truths).map(|(i, y)| 0.6 * noise(*i, 9) + skill * *y as f32).collect();
            (Labels::Classes(truths), scores, 1)
        }
    };
    let subjects = ids.iter().map(|i| i % 100).collect();
    Predictions { id_key: None, ids, subjects, labels, scores, decisions: None, columns, names: vec![] }
}

const PREDICTED: [&str; 3] = ["mortality", "length_of_stay", "diagnoses"];

/// Two rows with predictions: the second one has skill.
fn predicted(out: &Path) {
    predicted_rows(out, &[("LLaMA", 0.02), ("LLaMA + LoRA", 0.35)]);
}

fn predicted_rows(out: &Path, rows: &[(&str, f32)]) {
    for (row, skill) in rows.iter().copied() {
        for task in PREDICTED {
            let folder = format!("{row}-{task}");
            run(out, &folder, &downstream(row, task, 1, 0.6), None);
            let folder = out.join("runs").join(folder);
            predictions(task, skill)
                .write(&folder.join("predictions.safetensors"), task, "test")
                .expect("temporary folder");
            predictions(task, skill)
                .write(&folder.join("validation.safetensors"), task, "validation")
                .expect("temporary folder");
            let events = r#"{"event": "status", "table": "the stack", "step": 1}
{"event": "step", "step": 1, "loss": 0.7, "gradient_norms": {"downstream": 0.5}}
{"event": "epoch", "epoch": 1, "score": 0.6}"#;
            fs::write(folder.join("events.jsonl"), events).expect("temporary folder");
        }
    }
}

fn predicted_plan() -> Plan {
    let mut plan = plan(&[1]);
    plan.table3.truncate(2);
    plan.table2.clear();
    plan.table4.clear();
    plan.tasks = PREDICTED.map(String::from).into();
    plan
}

#[test]
fn predictions_give_joint_intervals_tests_and_pictures() {
    let out = tempfile::tempdir().unwrap();
    predicted(out.path());
    write(out.path(), &[predicted_plan()], Cohort::Synthetic, &counts()).unwrap();
    let text = read(out.path(), "tables.md");
    let better = line(&text, "| LLaMA + LoRA ", "60.00");
    assert_eq!(better.matches("↑⇑").count(), 4, "three tasks and the macro average: {better}");
    assert!(better.contains("60.00↑⇑ [57.00, 63.00] / 74.89 outside / 90.00"), "{better}");
    let average = better.split('|').rev().nth(1).unwrap();
    assert!(average.contains('[') && !average.contains("57.00"), "the joint interval: {average}");
    let comparisons = read(out.path(), "comparisons.csv");
    assert_eq!(comparisons.lines().count(), 2 + 4);
    let start = "3,paper,LLaMA + LoRA,LLaMA,\"row above, best baseline\",";
    assert!(line(&comparisons, &format!("{start}mortality"), "").ends_with("DeLong"));
    assert!(line(&comparisons, &format!("{start}macro_average"), "").ends_with("bootstrap"));
    let html = read(out.path(), "index.html");
    for part in
        ["mortality: ROC", "mortality: reliability", "mortality: training loss", "class=\"band c1 d0\"", "the stack"]
    {
        assert!(html.contains(part), "{part}");
    }
    assert!(html.contains("at T = ") && html.contains("downstream 5.000e-1"));
}

#[test]
fn every_other_row_is_tested_against_the_bag_of_words_which_is_marked_as_ours() {
    let out = tempfile::tempdir().unwrap();
    predicted_rows(
        out.path(),
        &[(BAG_OF_WORDS, 0.2), ("LLaMA", 0.02), ("LLaMA + LoRA", 0.6), ("BlueBERT + LoRA", 0.02)],
    );
    let mut plan = predicted_plan();
    plan.table3.insert(0, BAG_OF_WORDS.into());
    plan.table4 = vec!["BlueBERT + LoRA".into()];
    write(out.path(), &[plan], Cohort::Synthetic, &counts()).unwrap();
    let comparisons = read(out.path(), "comparisons.csv");
    for (table, row) in [(3, "LLaMA"), (3, "LLaMA + LoRA"), (4, "BlueBERT + LoRA")] {
        for task in PREDICTED.iter().chain(&["macro_average"]) {
            line(&comparisons, &format!("{table},paper,{row},{BAG_OF_WORDS},bag of words,{task}"), "");
        }
    }
    assert!(!comparisons.contains(&format!("paper,{BAG_OF_WORDS},")), "it is compared with by the others");
    assert!(!comparisons.contains(&format!("{BAG_OF_WORDS},row above")), "it is no row of the paper");
    let text = read(out.path(), "tables.md");
    assert!(line(&text, "| LLaMA + LoRA ", "60.00").contains('▲') && line(&text, "| LLaMA  ", "60.00").contains('▼'));
    assert!(text.contains(&format!("- {BAG_OF_WORDS}: ours, not in the paper.")));
    assert!(text.contains("▲ ▼: than the bag of words"));
}

#[test]
fn both_fidelities_stand_side_by_side() {
    let out = tempfile::tempdir().unwrap();
    predicted(out.path());
    let mut code = downstream("LLaMA", "mortality", 1, 0.4);
    code["fidelity"] = "code".into();
    run(out.path(), "code", &code, None);
    let code = Plan { fidelity: "code".into(), table3: vec!["LLaMA".into()], ..predicted_plan() };
    write(out.path(), &[predicted_plan(), code], Cohort::Synthetic, &counts()).unwrap();
    let text = read(out.path(), "tables.md");
    let five = &text[text.find("## Table 5.").unwrap()..];
    let five = &five[..five[3..].find("\n## ").unwrap()];
    line(five, "| LLaMA ", "| 60.00 \\| 40.00 ");
    assert!(!five.contains("| LLaMA + LoRA "), "only what both have");
    assert!(read(out.path(), "index.html").contains("Table 5b."));
}

#[test]
fn every_output_shows_what_is_absent_and_damaged_predictions_are_named() {
    let out = tempfile::tempdir().unwrap();
    predicted(out.path());
    let runs = out.path().join("runs");
    fs::write(runs.join("LLaMA-mortality/predictions.safetensors"), b"damaged").unwrap();
    fs::write(runs.join("LLaMA-diagnoses/status.json"), r#"{"state": "running"}"#).unwrap();
    let failed = r#"{"state": "failed", "error": "no 50% memory_left"}"#;
    fs::write(runs.join("LLaMA + LoRA-diagnoses/status.json"), failed).unwrap();
    fs::remove_dir_all(runs.join("LLaMA + LoRA-mortality")).unwrap();
    write(out.path(), &[predicted_plan()], Cohort::Synthetic, &counts()).unwrap();
    for name in ["tables.md", "tables.csv", "tables.tex", "index.html"] {
        let text = read(out.path(), name);
        assert!(text.contains("unfinished") && text.contains("failed") && text.contains("missing"), "{name}");
    }
    assert!(read(out.path(), "tables.tex").contains("failed: no 50\\% memory\\_left"));
    assert!(read(out.path(), "index.html").contains("LLaMA-mortality takes no part: predictions.safetensors:"));
}

#[test]
fn nothing_beyond_what_is_shown_leaves_a_run_folder() {
    let canary = "CANARYTEXT";
    let out = tempfile::tempdir().unwrap();
    predicted(out.path());
    let runs = out.path().join("runs");
    let error = json!({"state": "failed", "error": format!("no memory\n{canary}")});
    fs::write(runs.join("LLaMA-mortality/status.json"), error.to_string()).unwrap();
    let folder = runs.join("LLaMA + LoRA-mortality");
    fs::write(folder.join("manifest.json"), json!({"program": "clinpeft", "note": canary}).to_string()).unwrap();
    fs::write(folder.join("run.toml"), format!("data = \"d\"\nnote = \"{canary}\"\n")).unwrap();
    fs::write(folder.join("events.jsonl"), format!("{{\"event\": \"other\", \"text\": \"{canary}\"}}\n{canary}"))
        .unwrap();
    let manifest = json!({"note": canary, "leaks": {"pairs": 2, "text": canary.repeat(10)},
        "attrition": [{"task": "mortality", "filter": "has a note", "kept": 1200, "dropped": 34, "text": canary}]});
    fs::create_dir_all(out.path().join("data/d")).unwrap();
    fs::write(out.path().join("data/d/manifest.json"), manifest.to_string()).unwrap();
    write(out.path(), &[predicted_plan()], Cohort::Synthetic, &counts()).unwrap();
    for name in FILES {
        assert!(!read(out.path(), name).contains(canary), "{name}");
    }
    assert!(read(out.path(), "index.html").contains("<td class=\"done\">1,200</td>"));
}

#[test]
fn hostile_names_stay_text() {
    let out = tempfile::tempdir().unwrap();
    let row = "<script>alert(1)</script>, \"x\"";
    run(out.path(), "a\"><b", &downstream(row, "mortality", 1, 0.5), None);
    let mut plan = plan(&[1]);
    plan.table3 = vec![row.into()];
    write(out.path(), &[plan], Cohort::Synthetic, &CohortCounts::default()).unwrap();
    let html = read(out.path(), "index.html");
    assert!(!html.contains("<script") && html.contains("../runs/a%22%3E%3Cb/"));
    assert!(read(out.path(), "tables.csv").contains("\"<script>alert(1)</script>, \"\"x\"\"\""));
}
