//! Builds a program of the workspace, with what its `--device` needs, and calls it.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// Cargo, as the one that runs this.
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Builds the program `name` of a package and calls it.
pub fn run(package: &str, name: &str, arguments: &[String]) -> Result<ExitCode, String> {
    let mut build = cargo();
    build.args(["build", "--release", "--package", package, "--bin", name]);
    if let Some(feature) = feature(arguments) {
        build.args(["--features", feature]);
    }
    let built = build.status();
    if !built.map_err(|e| format!("cargo cannot be started: {e}"))?.success() {
        return Err("the program could not be built".into());
    }
    let program = target_folder()?.join("release").join(name);
    let status = Command::new(&program).args(arguments).status();
    let status = status.map_err(|e| format!("`{}` cannot be started: {e}", program.display()))?;
    Ok(status.code().and_then(|c| u8::try_from(c).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Runs the checks of `xtask/tidy`. They are a package of their own, because they parse Rust, and the first build of
/// the program should not wait for a parser.
pub fn tidy() -> Result<ExitCode, String> {
    let status = cargo().args(["run", "--quiet", "--package", "tidy"]).status();
    let status = status.map_err(|e| format!("cargo cannot be started: {e}"))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The cargo feature of the device that the arguments name, if it needs one.
fn feature(arguments: &[String]) -> Option<&'static str> {
    let at = arguments.iter().position(|a| a == "--device" || a.starts_with("--device="))?;
    let name = arguments[at].strip_prefix("--device=").or_else(|| arguments.get(at + 1).map(String::as_str))?;
    let kind = name.split(':').next();
    ["vulkan", "cuda"].into_iter().find(|feature| kind == Some(feature))
}

/// Where cargo builds.
pub fn target_folder() -> Result<PathBuf, String> {
    let out = cargo().args(["metadata", "--format-version", "1", "--no-deps"]).output();
    let out = out.map_err(|e| format!("cargo cannot be started: {e}"))?;
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).map_err(|e| format!("cargo metadata: {e}"))?;
    json["target_directory"].as_str().map(PathBuf::from).ok_or_else(|| "cargo metadata names no target folder".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_chooses_what_is_built() {
        let of = |words: &str| feature(&words.split(' ').map(String::from).collect::<Vec<_>>());
        assert_eq!(of("reproduce --device vulkan --profile smoke"), Some("vulkan"));
        assert_eq!(of("parity DIR --device=cuda:1"), Some("cuda"));
        for plain in ["reproduce", "reproduce --device cpu", "reproduce --device", "reproduce --out vulkan"] {
            assert_eq!(of(plain), None, "{plain}");
        }
    }
}
