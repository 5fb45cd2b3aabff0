//! What a device (Vulkan, or what `CLINPEFT_TEST_DEVICE` names) makes of the reference cases. Without a driver this test fails and
//! says what to install.
#![cfg(any(feature = "vulkan", feature = "cuda"))]
#![allow(clippy::unwrap_used, reason = "tests")]

use clinpeft_tests::parity::{Options, run, table};
use std::path::Path;

/// The tolerances are those of the CPU.
#[test]
fn every_case_agrees_with_the_reference_on_the_device() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/peft");
    let wanted = std::env::var("CLINPEFT_TEST_DEVICE").unwrap_or_else(|_| "vulkan".into());
    let device = clinpeft_kernels::open(&wanted).unwrap_or_else(|e| panic!("{e}"));
    let outcomes = run(&fixtures, &Options { device, ..Options::default() }).unwrap();
    let failed: Vec<_> = outcomes.iter().filter(|o| !o.passed()).cloned().collect();
    assert!(outcomes.len() > 200 && failed.is_empty(), "{}", table(&failed));
}
