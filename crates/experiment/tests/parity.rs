//! The cases of this repository pass, and a folder that cannot be read is an error.

use clinpeft_experiment::parity::{Options, json_lines, run, table};
use std::path::{Path, PathBuf};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/peft")
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
    let e = run(
        &fixtures(),
        &Options {
            case,
            ..Options::default()
        },
    )
    .unwrap_err()
    .to_string();
    assert!(e.contains("`lora_causal`"), "{e}");
    assert!(run(Path::new("/nowhere"), &Options::default()).is_err());
}
