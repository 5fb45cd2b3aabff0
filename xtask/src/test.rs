//! `cargo xtask test` and `cargo xtask lint`.

use crate::program::cargo;
use std::path::Path;
use std::process::ExitCode;

/// Every test. What cannot run on this machine is said at the end, and is a failure under `CI=true`.
pub fn test() -> Result<ExitCode, String> {
    let mut failed = Vec::new();
    let mut absent = Vec::new();
    step(&mut failed, "all crates on the CPU", &["test", "--workspace"]);
    if vulkan_driver() {
        let arguments = ["test", "--package", "clinpeft-kernels", "--features", "vulkan"];
        step(&mut failed, "op contract on Vulkan", &arguments);
    } else {
        absent.push("op contract on Vulkan: no driver (Debian: apt-get install mesa-vulkan-drivers libvulkan1)");
    }
    for what in &absent {
        println!("NOT RUN: {what}");
    }
    if std::env::var_os("CI").is_some() && !absent.is_empty() {
        failed.push("what did not run");
    }
    end(&failed)
}

/// What a reviewer should not have to say.
pub fn lint() -> Result<ExitCode, String> {
    let mut failed = Vec::new();
    step(&mut failed, "rustfmt", &["fmt", "--all", "--check"]);
    step(&mut failed, "clippy", &["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]);
    let doc = cargo().env("RUSTDOCFLAGS", "--deny warnings").args(["doc", "--workspace", "--no-deps"]).status();
    if !doc.is_ok_and(|s| s.success()) {
        failed.push("documentation");
    }
    end(&failed)
}

fn step(failed: &mut Vec<&'static str>, name: &'static str, arguments: &[&str]) {
    println!("== {name}: cargo {}", arguments.join(" "));
    if !cargo().args(arguments).status().is_ok_and(|s| s.success()) {
        failed.push(name);
    }
}

fn end(failed: &[&str]) -> Result<ExitCode, String> {
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("FAILED: {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}

/// True if the Vulkan loader would find a driver.
fn vulkan_driver() -> bool {
    ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"]
        .iter()
        .any(|d| Path::new(d).read_dir().is_ok_and(|mut files| files.next().is_some()))
}
