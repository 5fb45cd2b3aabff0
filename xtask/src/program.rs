//! Builds the program `clinpeft` and calls it with the same arguments.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// Cargo, as the one that runs this.
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Builds and calls.
pub fn run(arguments: &[String]) -> Result<ExitCode, String> {
    let built = cargo().args(["build", "--release", "--package", "clinpeft-experiment"]).status();
    if !built.map_err(|e| format!("cargo cannot be started: {e}"))?.success() {
        return Err("the program could not be built".into());
    }
    let program = target_folder()?.join("release").join("clinpeft");
    let status = Command::new(&program).args(arguments).status();
    let status = status.map_err(|e| format!("`{}` cannot be started: {e}", program.display()))?;
    Ok(status.code().and_then(|c| u8::try_from(c).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Where cargo builds.
pub fn target_folder() -> Result<PathBuf, String> {
    let out = cargo().args(["metadata", "--format-version", "1", "--no-deps"]).output();
    let out = out.map_err(|e| format!("cargo cannot be started: {e}"))?;
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).map_err(|e| format!("cargo metadata: {e}"))?;
    json["target_directory"].as_str().map(PathBuf::from).ok_or_else(|| "cargo metadata names no target folder".into())
}
