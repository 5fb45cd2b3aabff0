//! The cases of this repository pass, and a folder that cannot be read is an error.
#![allow(clippy::unwrap_used, reason = "tests")]

use clinpeft_tests::parity::{Options, json_lines, run, table};
use std::path::{Path, PathBuf};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/peft")
}

#[test]
fn every_case_agrees_with_the_reference() {
    let outcomes = run(&fixtures(), &Options::default()).unwrap();
    let failed: Vec<_> = outcomes.iter().filter(|o| !o.passed()).cloned().collect();
    assert!(outcomes.len() > 200 && failed.is_empty(), "{}", table(&failed));
    let lines = json_lines(&outcomes).unwrap();
    assert_eq!(lines.lines().count(), outcomes.len());
}

#[test]
fn unknown_case_or_folder_is_an_error() {
    let case = Some("lora_casual".to_string());
    let e = run(&fixtures(), &Options { case, ..Options::default() }).unwrap_err().to_string();
    assert!(e.contains("`lora_causal`"), "{e}");
    assert!(run(Path::new("/nowhere"), &Options::default()).is_err());
}

/// A copy of the cases in which one piece of text of a file is another.
fn changed(file: &str, from: &str, to: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for path in clinpeft_files::walk(&fixtures()).unwrap() {
        let target = copy.path().join(path.strip_prefix(fixtures()).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(path, target).unwrap();
    }
    let path = copy.path().join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from));
    std::fs::write(&path, text.replace(from, to)).unwrap();
    copy
}

fn failures(dir: &Path, case: &str) -> Vec<String> {
    let case = Some(case.to_string());
    let outcomes = run(dir, &Options { case, ..Options::default() }).unwrap();
    let failed = outcomes.iter().filter(|o| !o.passed());
    failed.map(|o| format!("{} {}", o.quantity, o.failure.clone().unwrap_or_default())).collect()
}

#[test]
fn a_changed_adapter_fails() {
    let file = "cases/lora_causal/adapter/adapter_config.json";
    let copy = changed(file, "\"lora_alpha\": 6", "\"lora_alpha\": 7");
    let failed = failures(copy.path(), "lora_causal");
    for quantity in ["logits", "loss", "gradients", "merged", "step losses"] {
        assert!(failed.iter().any(|f| f.starts_with(quantity)), "{quantity}: {failed:?}");
    }
}

#[test]
fn a_case_that_is_not_supported_fails_and_says_so() {
    let copy = changed("manifest.json", "\"kind\": \"cls\"", "\"kind\": \"mamba\"");
    assert!(failures(copy.path(), "lora_classifier")[0].contains("`mamba` are not supported"));
    let file = "cases/lora_causal/adapter/adapter_config.json";
    let copy = changed(file, "\"layer_replication\": null", "\"layer_replication\": [[0, 2]]");
    assert!(failures(copy.path(), "lora_causal")[0].contains("`layer_replication`"));
}
