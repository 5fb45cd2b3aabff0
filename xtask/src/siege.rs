//! `cargo xtask siege`: builds the program and the harness, and starts the harness. What it does is in the package `tests`.

use crate::program::{cargo, target_folder};
use std::process::{Command, ExitCode};

/// Where `--write` puts the page.
const PAGE: &str = "docs/siege.md";

/// Builds both and calls the harness with `options`; its exit code is 1 if a promise was broken.
pub fn run(options: &[&str]) -> Result<ExitCode, String> {
    let packages = ["--package", "clinpeft-cli", "--package", "clinpeft-tests"];
    let built =
        cargo().args(["build", "--release"]).args(packages).args(["--bin", "clinpeft", "--bin", "siege"]).status();
    if !built.map_err(|e| format!("cargo cannot be started: {e}"))?.success() {
        return Err("the program or the harness could not be built".into());
    }
    let folder = target_folder()?.join("release");
    let mut harness = Command::new(folder.join("siege"));
    harness.arg("--program").arg(folder.join("clinpeft"));
    for option in options {
        harness.arg(option);
        harness.args((*option == "--write").then_some(PAGE));
    }
    let status = harness.status().map_err(|e| format!("the harness cannot be started: {e}"))?;
    Ok(status.code().and_then(|c| u8::try_from(c).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}
