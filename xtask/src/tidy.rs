//! `cargo xtask tidy`: what the compiler does not check.
//!
//! | room | check |
//! |---|---|
//! | this file | dependency arrows point down ([`ROOMS`]) |
//! | [`ops`] | every op stands in its rooms and has a gradcheck |
//! | [`manifests`] | who may name CubeCL, no HTTP client, inherited lints and version, crate documentation |
//! | [`lines`] | lines of code |
//!
//! Each check is a function from plain data to a list of violations, with a test that shows how it fails.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use serde_json::Value;

mod lines;
mod manifests;
mod ops;

/// Where a crate stands.
struct Room {
    /// The package without `clinpeft-`.
    name: &'static str,
    /// 0 is the ground; a dev-dependency may use the same height or lower.
    height: u8,
    /// What it may depend on, for itself and for its build script.
    may_use: &'static [&'static str],
    /// Why it stops there.
    reason: &'static str,
}

/// The house, bottom up. A crate that is missing here fails.
#[rustfmt::skip]
const ROOMS: &[Room] = &[
    Room { name: "rng", height: 0, may_use: &[],
        reason: "ground: random streams need nothing" },
    Room { name: "files", height: 0, may_use: &[],
        reason: "ground: files need nothing" },
    Room { name: "tensor", height: 1, may_use: &["rng", "files"],
        reason: "the op contract and its CPU side know no device, tape or model" },
    Room { name: "kernels", height: 3, may_use: &["rng", "files", "tensor"],
        reason: "implements the tensor contract on a device, nothing else; its tests differentiate there" },
    Room { name: "autodiff", height: 3, may_use: &["rng", "files", "tensor"],
        reason: "differentiates ops, knows no device, no model and no file format" },
    Room { name: "weights", height: 4, may_use: &["rng", "files", "tensor", "kernels", "autodiff"],
        reason: "reads and writes tensors, knows no model" },
    Room { name: "nn", height: 5, may_use: &["rng", "files", "tensor", "kernels", "autodiff", "weights"],
        reason: "modules and adapter sites, knows no model family" },
    Room { name: "llama", height: 6, may_use: &["rng", "files", "tensor", "kernels", "autodiff", "weights", "nn"],
        reason: "a model names no adapter method and no other model" },
    Room { name: "bert", height: 6, may_use: &["rng", "files", "tensor", "kernels", "autodiff", "weights", "nn"],
        reason: "a model names no adapter method and no other model" },
    Room { name: "peft", height: 7,
        may_use: &["rng", "files", "tensor", "kernels", "autodiff", "weights", "nn", "llama", "bert"],
        reason: "adapters know no training loop and no data" },
    Room { name: "train", height: 8,
        may_use: &["rng", "files", "tensor", "kernels", "autodiff", "weights", "nn", "llama", "bert", "peft", "text"],
        reason: "the training loop knows no MIMIC, no metric and no configuration file" },
    Room { name: "clinical", height: 1, may_use: &["rng", "files"],
        reason: "patients know no model" },
    Room { name: "text", height: 2, may_use: &["rng", "files", "tensor"],
        reason: "batches may be tensors; models are above" },
    Room { name: "metrics", height: 1, may_use: &["rng", "files"],
        reason: "plain slices in, numbers out" },
    Room { name: "report", height: 9, may_use: &["rng", "files", "weights", "metrics"],
        reason: "folders of runs and data sets are the only thing that a report reads" },
    Room { name: "experiment", height: 10,
        may_use: &["rng", "files", "tensor", "kernels", "autodiff", "weights", "nn", "llama", "bert", "peft", "train",
            "clinical", "text", "metrics", "report"],
        reason: "the top of the house" },
    Room { name: "xtask", height: 0, may_use: &[],
        reason: "must build when the house does not; calls the binary" },
    Room { name: "tests", height: u8::MAX, may_use: EVERYTHING,
        reason: "checks the whole" },
    Room { name: "benches", height: u8::MAX, may_use: EVERYTHING,
        reason: "measures the whole" },
];

const EVERYTHING: &[&str] = &[
    "rng",
    "files",
    "tensor",
    "kernels",
    "autodiff",
    "weights",
    "nn",
    "llama",
    "bert",
    "peft",
    "train",
    "clinical",
    "text",
    "metrics",
    "report",
    "experiment",
];

/// A package of the workspace, as `cargo metadata` has it.
#[derive(Debug, Clone, Default)]
struct Package {
    name: String,
    manifest: PathBuf,
    dependencies: Vec<Dependency>,
}

/// A direct dependency.
#[derive(Debug, Clone)]
struct Dependency {
    name: String,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Normal or build.
    Use,
    Dev,
}

/// What is wrong, in one line.
type Violation = String;

/// Runs every check; prints the lines of code, then what is wrong.
///
/// # Errors
/// Cargo or a file cannot be read. Violations are no error but the exit code 1.
pub fn run() -> Result<ExitCode, String> {
    let (root, packages) = workspace()?;
    let violations = check(&root, &packages)?;
    println!("{}", lines::table(&packages)?);
    if violations.is_empty() {
        println!("tidy: {} packages, no violation", packages.len());
        return Ok(ExitCode::SUCCESS);
    }
    for violation in &violations {
        eprintln!("tidy: {violation}");
    }
    eprintln!("tidy: {} violations", violations.len());
    Ok(ExitCode::from(1))
}

fn check(root: &Path, packages: &[Package]) -> Result<Vec<Violation>, String> {
    let mut violations = layers(packages);
    violations.extend(ops::check(root)?);
    violations.extend(manifests::check(root, packages)?);
    Ok(violations)
}

/// Arrows that [`ROOMS`] does not allow, packages without a room.
fn layers(packages: &[Package]) -> Vec<Violation> {
    let mut found = Vec::new();
    for package in packages {
        let name = house_name(&package.name);
        let Some(room) = ROOMS.iter().find(|room| room.name == name) else {
            found.push(format!("`{}` has no room: give it one in xtask/src/tidy.rs, with a reason", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            let other = house_name(&dependency.name);
            let is_house = other != dependency.name || packages.iter().any(|p| p.name == other);
            if is_house && !allowed(room, other, dependency.kind) {
                found.push(format!(
                    "`{name}` must not use `{other}`: {} (it may use: {})",
                    room.reason,
                    match room.may_use {
                        [] => "nothing of the house".to_owned(),
                        names => names.join(", "),
                    }
                ));
            }
        }
    }
    found
}

fn allowed(room: &Room, other: &str, kind: Kind) -> bool {
    let height = ROOMS.iter().find(|r| r.name == other).map(|r| r.height);
    let in_tests = kind == Kind::Dev && height.is_some_and(|height| height <= room.height);
    room.may_use.contains(&other) || in_tests
}

fn house_name(package: &str) -> &str {
    package.strip_prefix("clinpeft-").unwrap_or(package)
}

/// The root of the workspace and its packages.
fn workspace() -> Result<(PathBuf, Vec<Package>), String> {
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .output()
        .map_err(|e| format!("cannot run cargo metadata: {e}\nhint: start it as `cargo xtask tidy`"))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        return Err(format!("cargo metadata failed: {}", message.trim()));
    }
    let metadata = serde_json::from_slice(&output.stdout).map_err(|e| format!("cargo metadata is not JSON: {e}"))?;
    parse(&metadata).ok_or_else(|| "cargo metadata has an unknown form\nhint: its format version 1 is expected".into())
}

fn parse(metadata: &Value) -> Option<(PathBuf, Vec<Package>)> {
    let text = |value: &Value| Some(value.as_str()?.to_owned());
    let dependency = |value: &Value| {
        Some(Dependency {
            name: text(&value["name"])?,
            kind: match value["kind"].as_str() {
                Some("dev") => Kind::Dev,
                _ => Kind::Use,
            },
        })
    };
    let package = |value: &Value| {
        let dependencies = value["dependencies"].as_array()?.iter().map(dependency);
        Some(Package {
            name: text(&value["name"])?,
            manifest: text(&value["manifest_path"])?.into(),
            dependencies: dependencies.collect::<Option<_>>()?,
        })
    };
    let packages = metadata["packages"].as_array()?.iter().map(package);
    let mut packages: Vec<Package> = packages.collect::<Option<_>>()?;
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    Some((text(&metadata["workspace_root"])?.into(), packages))
}

/// Text of a file, or an error that names it.
fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("cannot read `{}`: {e}", path.display()))
}

/// Files with the ending `.rs` below a folder, sorted; none if the folder is not there.
fn rust_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = open.pop().filter(|folder| folder.is_dir()) {
        let at = |e| format!("cannot list `{}`: {e}", folder.display());
        for entry in fs::read_dir(&folder).map_err(at)? {
            let path = entry.map_err(at)?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn package(name: &str, dependencies: &[(&str, Kind)]) -> Package {
        let dependency = |(name, kind): &(&str, Kind)| Dependency { name: (*name).into(), kind: *kind };
        Package { name: name.into(), dependencies: dependencies.iter().map(dependency).collect(), ..Package::default() }
    }

    #[test]
    fn the_workspace_is_tidy() {
        let (root, packages) = workspace().unwrap();
        assert_eq!(check(&root, &packages).unwrap(), Vec::<Violation>::new());
    }

    #[test]
    fn arrows_down_are_fine() {
        let packages = [
            package("clinpeft-tensor", &[("clinpeft-rng", Kind::Use), ("ndarray", Kind::Use)]),
            package("clinpeft-tests", &[("clinpeft-experiment", Kind::Use)]),
        ];
        assert_eq!(layers(&packages), Vec::<Violation>::new());
    }

    #[test]
    fn an_arrow_up_is_found() {
        let packages = [package("clinpeft-tensor", &[("clinpeft-nn", Kind::Use)])];
        let found = layers(&packages);
        assert!(found[0].starts_with("`tensor` must not use `nn`"), "{found:?}");
    }

    #[test]
    fn an_arrow_sideways_is_found() {
        for (from, to) in [
            ("clinpeft-train", "clinpeft-clinical"),
            ("clinpeft-metrics", "clinpeft-tensor"),
            ("clinpeft-report", "clinpeft-train"),
            ("clinpeft-bert", "clinpeft-llama"),
            ("xtask", "clinpeft-files"),
            ("clinpeft-experiment", "xtask"),
        ] {
            let packages = [package(from, &[(to, Kind::Use)]), package("xtask", &[])];
            assert_eq!(layers(&packages).len(), 1, "{from} -> {to}");
        }
    }

    #[test]
    fn tests_may_also_use_the_same_height_but_not_above() {
        let used = |to| layers(&[package("clinpeft-llama", &[(to, Kind::Dev)])]).len();
        assert_eq!(used("clinpeft-bert"), 0);
        assert_eq!(used("clinpeft-metrics"), 0);
        assert_eq!(used("clinpeft-peft"), 1);
    }

    #[test]
    fn a_crate_without_a_room_is_found() {
        let found = layers(&[package("clinpeft-utils", &[])]);
        assert!(found[0].contains("`clinpeft-utils` has no room"));
    }

    #[test]
    fn every_room_uses_rooms_below_it() {
        for room in ROOMS.iter().filter(|room| room.height < u8::MAX) {
            for used in room.may_use {
                let other = ROOMS.iter().find(|r| r.name == *used);
                let other = other.unwrap_or_else(|| panic!("{used} has no room"));
                assert!(other.height < room.height, "{} -> {used}", room.name);
            }
        }
    }

    #[test]
    fn metadata_is_read() {
        let metadata = json!({"workspace_root": "/r", "packages": [{"name": "b", "manifest_path": "/r/b/Cargo.toml",
            "dependencies": [{"name": "x", "kind": null}, {"name": "y", "kind": "build"}, {"name": "z", "kind": "dev"}]},
            {"name": "a", "manifest_path": "/r/a/Cargo.toml", "dependencies": []}]});
        let (root, packages) = parse(&metadata).unwrap();
        assert_eq!((root, packages[0].name.as_str()), ("/r".into(), "a"));
        let kinds: Vec<Kind> = packages[1].dependencies.iter().map(|d| d.kind).collect();
        assert_eq!(kinds, [Kind::Use, Kind::Use, Kind::Dev]);
        assert!(parse(&json!({"packages": [{"name": 3}]})).is_none());
    }
}
