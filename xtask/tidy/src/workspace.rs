//! The packages of the workspace, as `cargo metadata` knows them, and their files.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use serde_json::Value;

/// What is wrong, in one line.
pub type Violation = String;

/// A package of the workspace, as `cargo metadata` has it.
#[derive(Debug, Clone, Default)]
pub struct Package {
    pub name: String,
    pub manifest: PathBuf,
    pub dependencies: Vec<Dependency>,
}

/// A direct dependency.
#[derive(Debug, Clone)]
pub struct Dependency {
    pub name: String,
    pub kind: DependencyKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DependencyKind {
    /// Normal or build.
    Use,
    Dev,
}

/// The name without `clinpeft-`.
pub fn short_name(package: &str) -> &str {
    package.strip_prefix("clinpeft-").unwrap_or(package)
}

/// The root of the workspace and its packages.
pub fn packages() -> Result<(PathBuf, Vec<Package>), String> {
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
                Some("dev") => DependencyKind::Dev,
                _ => DependencyKind::Use,
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
pub fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("cannot read `{}`: {e}", path.display()))
}

/// Files with the ending `.rs` below a folder, sorted; none if the folder is missing.
pub fn rust_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
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

    #[test]
    fn metadata_is_read() {
        let metadata = json!({"workspace_root": "/r", "packages": [{"name": "b", "manifest_path": "/r/b/Cargo.toml",
            "dependencies": [{"name": "x", "kind": null}, {"name": "y", "kind": "build"}, {"name": "z", "kind": "dev"}]},
            {"name": "a", "manifest_path": "/r/a/Cargo.toml", "dependencies": []}]});
        let (root, packages) = parse(&metadata).unwrap();
        assert_eq!((root, packages[0].name.as_str()), ("/r".into(), "a"));
        let kinds: Vec<DependencyKind> = packages[1].dependencies.iter().map(|d| d.kind).collect();
        assert_eq!(kinds, [DependencyKind::Use, DependencyKind::Use, DependencyKind::Dev]);
        assert!(parse(&json!({"packages": [{"name": 3}]})).is_none());
    }
}
