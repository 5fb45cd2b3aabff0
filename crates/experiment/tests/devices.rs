//! Reference cases on a Vulkan device. Without a driver these tests fail and say what to install.
#![cfg(feature = "vulkan")]
#![allow(clippy::unwrap_used, reason = "tests")]

use clinpeft_experiment::parity::{Options, run, table};
use std::path::Path;

/// The tolerances are those of the CPU.
#[test]
fn every_case_agrees_with_the_reference_on_vulkan() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/peft");
    let device = clinpeft_kernels::open("vulkan").unwrap_or_else(|e| panic!("{e}"));
    let outcomes = run(&fixtures, &Options { device, ..Options::default() }).unwrap();
    let failed: Vec<_> = outcomes.iter().filter(|o| !o.passed()).cloned().collect();
    assert!(outcomes.len() > 200 && failed.is_empty(), "{}", table(&failed));
}
