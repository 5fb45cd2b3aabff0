//! What manifests must say.

use std::path::Path;

use crate::workspace::{Package, Violation, read, short_name};

/// Device libraries, by the beginning of the name; only `kernels` may name them.
const DEVICE: [&str; 3] = ["cubecl", "cubek", "wgpu"];

/// Libraries that talk to the net. Notes stay where they are.
const HTTP: [&str; 10] =
    ["reqwest", "ureq", "hyper", "hyper-util", "hf-hub", "isahc", "curl", "attohttpc", "minreq", "surf"];

/// Lines that every manifest has, with their section.
const INHERITED: [(&str, &str); 4] = [
    ("[lints]", "workspace=true"),
    ("[package]", "version.workspace=true"),
    ("[package]", "edition.workspace=true"),
    ("[package]", "license.workspace=true"),
];

/// Checks every package and the lock file.
pub fn check(root: &Path, packages: &[Package]) -> Result<Vec<Violation>, String> {
    let mut found = dependencies(packages);
    found.extend(locked(&read(&root.join("Cargo.lock"))?));
    for package in packages {
        found.extend(inherits(&package.name, &read(&package.manifest)?));
    }
    Ok(found)
}

fn dependencies(packages: &[Package]) -> Vec<Violation> {
    let mut found = Vec::new();
    for package in packages {
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            let device = DEVICE.iter().any(|d| name.starts_with(d));
            if device && short_name(&package.name) != "kernels" {
                found.push(format!("`{}` names `{name}`: only `kernels` may", package.name));
            }
            if HTTP.contains(&name) {
                found.push(format!("`{}` names the HTTP client `{name}`", package.name));
            }
        }
    }
    found
}

/// HTTP clients that came in through other packages.
fn locked(lock: &str) -> Vec<Violation> {
    let names = lock.lines().filter_map(|line| line.strip_prefix("name = \""));
    let names = names.filter_map(|rest| rest.strip_suffix('"'));
    names
        .filter(|name| HTTP.contains(name))
        .map(|name| format!("Cargo.lock holds the HTTP client `{name}`: `cargo tree -i {name}` says why"))
        .collect()
}

/// Whether a manifest inherits what the workspace sets once.
fn inherits(package: &str, manifest: &str) -> Vec<Violation> {
    let missing = INHERITED.iter().filter(|(section, line)| !holds(manifest, section, line));
    missing.map(|(section, line)| format!("`{package}`: its Cargo.toml lacks `{line}` under `{section}`")).collect()
}

fn holds(manifest: &str, section: &str, wanted: &str) -> bool {
    let mut inside = false;
    manifest.lines().any(|line| {
        let code = line.split('#').next().unwrap_or("");
        let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
        if code.starts_with('[') {
            inside = code == section;
        }
        inside && code == wanted
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::{Dependency, DependencyKind};

    fn package(name: &str, dependency: &str) -> Package {
        Package {
            name: name.into(),
            dependencies: vec![Dependency { name: dependency.into(), kind: DependencyKind::Dev }],
            ..Package::default()
        }
    }

    #[test]
    fn a_device_library_outside_of_kernels_is_found() {
        assert_eq!(dependencies(&[package("clinpeft-nn", "cubecl-core")]).len(), 1);
        assert!(dependencies(&[package("clinpeft-kernels", "cubecl-core")]).is_empty());
    }

    #[test]
    fn an_http_client_is_found_even_behind_another_package() {
        assert_eq!(dependencies(&[package("clinpeft-text", "hf-hub")]).len(), 1);
        let lock = "[[package]]\nname = \"curl\"\nversion = \"1\"\n\n[[package]]\nname = \"curly\"\n";
        assert_eq!(locked(lock).len(), 1);
    }

    #[test]
    fn a_manifest_of_its_own_is_found() {
        let good = "[package]\nversion.workspace = true\nedition.workspace = true\nlicense.workspace = true # all\n\n\
                    [lints]\nworkspace = true\n";
        assert!(inherits("a", good).is_empty());
        let own = good.replace("version.workspace = true", "version = \"1.0.0\"");
        assert!(inherits("a", &own)[0].contains("`version.workspace=true`"));
        let elsewhere = good.replace("[lints]", "[dependencies.x]");
        assert!(inherits("a", &elsewhere)[0].contains("`[lints]`"));
    }
}
