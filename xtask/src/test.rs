//! `cargo xtask test` and `cargo xtask lint`.

use crate::program::cargo;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Every test. What cannot run on this machine is said at the end, and is a failure under `CI=true`.
pub fn test() -> Result<ExitCode, String> {
    let mut failed = Vec::new();
    let mut absent = Vec::new();
    step(&mut failed, "all crates on the CPU", &["test", "--workspace"]);
    let texts = std::env::temp_dir().join(format!("clinpeft-cuda-{}", std::process::id()));
    // One build for all of them: the device libraries are most of it.
    let mut on_devices = vec![
        "test",
        "--package",
        "clinpeft-kernels",
        "--package",
        "clinpeft-experiment",
        "--package",
        "clinpeft-cli",
        "--package",
        "clinpeft-tests",
    ];
    on_devices.extend(["--features", "vulkan,cuda"]);
    if vulkan_driver() || std::env::var_os("CLINPEFT_TEST_DEVICE").is_some() {
        on_devices.extend([
            "--lib",
            "--test",
            "conformance",
            "--test",
            "steps",
            "--test",
            "host_syncs",
            "--test",
            "devices",
        ]);
        kernels_step(
            &mut failed,
            "op contract, reference cases, training steps and runs on a device; CUDA C++",
            &on_devices,
            &texts,
        );
    } else {
        on_devices.extend(["--lib", "cuda_text"]);
        kernels_step(&mut failed, "CUDA C++", &on_devices, &texts);
        absent.push("Vulkan: no driver (Debian: apt-get install mesa-vulkan-drivers libvulkan1)");
    }
    match compile_cuda(&texts) {
        Some(true) => {}
        Some(false) => failed.push("CUDA C++ by NVRTC"),
        None => absent.push("CUDA C++ by NVRTC: no Python with the packages that crates/kernels/tests/nvrtc.py names"),
    }
    // What could not be removed lies in the folder for temporary files.
    let _ = std::fs::remove_dir_all(&texts);
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
    // rustfmt does not find modules that a macro declares.
    let operations = op_files().map_err(|e| format!("the operations cannot be listed: {e}"))?;
    let format = ["fmt", "--all", "--check", "--"].into_iter().chain(operations.iter().map(String::as_str));
    step(&mut failed, "rustfmt", &format.collect::<Vec<_>>());
    step(&mut failed, "clippy", &["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]);
    let devices = [
        "clippy",
        "--package",
        "clinpeft-kernels",
        "--package",
        "clinpeft-experiment",
        "--package",
        "clinpeft-cli",
        "--package",
        "clinpeft-tests",
    ];
    let with = ["--features", "vulkan,cuda", "--all-targets", "--", "--deny", "warnings"];
    step(&mut failed, "clippy with devices", &[&devices[..], &with].concat());
    let doc = cargo().env("RUSTDOCFLAGS", "--deny warnings").args(["doc", "--workspace", "--no-deps"]).status();
    if !doc.is_ok_and(|s| s.success()) {
        failed.push("documentation");
    }
    end(&failed)
}

/// The files of the operations: `for_each_op!` of `clinpeft-tensor` declares their modules.
fn op_files() -> std::io::Result<Vec<String>> {
    let mut files = Vec::new();
    for name in ["tensor", "autodiff", "kernels"] {
        for entry in Path::new("crates").join(name).join("src/ops").read_dir()? {
            let path = entry?.path();
            let file = if path.is_dir() { path.join("mod.rs") } else { path };
            if file.is_file() {
                files.push(file.display().to_string());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// A step that leaves the CUDA C++ of the kernels in `texts`.
fn kernels_step(failed: &mut Vec<&'static str>, name: &'static str, arguments: &[&str], texts: &Path) {
    println!("== {name}: cargo {}", arguments.join(" "));
    if !cargo().env("CLINPEFT_CUDA_TEXT", texts).args(arguments).status().is_ok_and(|s| s.success()) {
        failed.push(name);
    }
}

/// Whether NVRTC compiles all of it; `None` if it is missing.
fn compile_cuda(texts: &Path) -> Option<bool> {
    println!("== CUDA C++ by NVRTC: python3 crates/kernels/tests/nvrtc.py");
    let ended = Command::new("python3").arg("crates/kernels/tests/nvrtc.py").arg(texts).status().ok()?;
    if ended.code() == Some(3) { None } else { Some(ended.success()) }
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
