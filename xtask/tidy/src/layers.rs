//! Crates depend on layers below them only.

use crate::workspace::{DependencyKind, Package, Violation, short_name};

/// Where a crate stands.
struct Layer {
    /// The package without `clinpeft-`.
    name: &'static str,
    /// 0 is the ground; a dev-dependency may use the same level or lower.
    level: u8,
    /// What it may depend on, for itself and for its build script.
    may_use: &'static [&'static str],
    /// Why it stops there.
    reason: &'static str,
}

/// The layers, bottom up. A crate that is missing here fails.
#[rustfmt::skip]
const LAYERS: &[Layer] = &[
    Layer { name: "rng", level: 0, may_use: &[],
        reason: "ground: random streams need nothing" },
    Layer { name: "files", level: 0, may_use: &[],
        reason: "ground: files need nothing" },
    Layer { name: "tensor", level: 1, may_use: &["rng", "files"],
        reason: "the op contract and its CPU side know no device, tape or model" },
    Layer { name: "kernels", level: 3, may_use: &["rng", "files", "tensor"],
        reason: "implements the tensor contract on a device, nothing else; its tests differentiate there" },
    Layer { name: "autodiff", level: 3, may_use: &["rng", "files", "tensor"],
        reason: "differentiates ops, knows no device, no model and no file format" },
    Layer { name: "weights", level: 4, may_use: &["rng", "files", "tensor", "kernels", "autodiff"],
        reason: "reads and writes tensors, knows no model" },
    Layer { name: "nn", level: 5, may_use: &["rng", "files", "tensor", "kernels", "autodiff", "weights"],
        reason: "modules and adapter sites, knows no model family" },
    Layer { name: "llama", level: 6, may_use: &["rng", "files", "tensor", "kernels", "autodiff", "weights", "nn"],
        reason: "a model names no adapter method and no other model" },
    Layer { name: "bert", level: 6, may_use: &["rng", "files", "tensor", "kernels", "autodiff", "weights", "nn"],
        reason: "a model names no adapter method and no other model" },
    Layer { name: "peft", level: 7,
        may_use: &["rng", "files", "tensor", "kernels", "autodiff", "weights", "nn", "llama", "bert"],
        reason: "adapters know no training loop and no data" },
    Layer { name: "train", level: 8,
        may_use: &["rng", "files", "tensor", "kernels", "autodiff", "weights", "nn", "llama", "bert", "peft", "text"],
        reason: "the training loop knows no MIMIC, no metric and no configuration file" },
    Layer { name: "clinical", level: 1, may_use: &["rng", "files"],
        reason: "patients know no model" },
    Layer { name: "text", level: 2, may_use: &["rng", "files", "tensor"],
        reason: "batches may be tensors; models are above" },
    Layer { name: "metrics", level: 1, may_use: &["rng", "files"],
        reason: "plain slices in, numbers out" },
    Layer { name: "linear", level: 1, may_use: &["rng", "files"],
        reason: "texts and labels in, scores out" },
    Layer { name: "report", level: 9, may_use: &["rng", "files", "weights", "metrics"],
        reason: "folders of runs and data sets are the only thing that a report reads" },
    Layer { name: "experiment", level: 10,
        may_use: &["rng", "files", "tensor", "kernels", "autodiff", "weights", "nn", "llama", "bert", "peft", "train",
            "clinical", "text", "metrics", "linear", "report"],
        reason: "runs, plans and profiles; knows no terminal" },
    Layer { name: "cli", level: 11,
        may_use: &["rng", "files", "tensor", "kernels", "autodiff", "weights", "nn", "llama", "bert", "peft", "train",
            "clinical", "text", "metrics", "linear", "report", "experiment"],
        reason: "the program: arguments, commands, terminal" },
    Layer { name: "tidy", level: 0, may_use: &[],
        reason: "must build when the crates do not" },
    Layer { name: "xtask", level: 0, may_use: &[],
        reason: "must build when the crates do not; calls the program" },
    Layer { name: "tests", level: u8::MAX, may_use: EVERYTHING,
        reason: "checks the whole" },
    Layer { name: "benches", level: u8::MAX, may_use: EVERYTHING,
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
    "linear",
    "report",
    "experiment",
    "cli",
];

/// Dependencies that [`LAYERS`] does not allow, and packages without a layer.
pub fn check(packages: &[Package]) -> Vec<Violation> {
    let mut found = Vec::new();
    for package in packages {
        let name = short_name(&package.name);
        let Some(layer) = LAYERS.iter().find(|layer| layer.name == name) else {
            found.push(format!(
                "`{}` has no layer: give it one in xtask/tidy/src/layers.rs, with a reason",
                package.name
            ));
            continue;
        };
        for dependency in &package.dependencies {
            let other = short_name(&dependency.name);
            let is_ours = other != dependency.name || packages.iter().any(|p| p.name == other);
            if is_ours && !allowed(layer, other, dependency.kind) {
                found.push(format!(
                    "`{name}` must not use `{other}`: {} (it may use: {})",
                    layer.reason,
                    match layer.may_use {
                        [] => "no crate of the workspace".to_owned(),
                        names => names.join(", "),
                    }
                ));
            }
        }
    }
    found
}

fn allowed(layer: &Layer, other: &str, kind: DependencyKind) -> bool {
    let level = LAYERS.iter().find(|r| r.name == other).map(|r| r.level);
    let in_tests = kind == DependencyKind::Dev && level.is_some_and(|level| level <= layer.level);
    layer.may_use.contains(&other) || in_tests
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    fn package(name: &str, dependencies: &[(&str, DependencyKind)]) -> Package {
        let dependency = |(name, kind): &(&str, DependencyKind)| Dependency { name: (*name).into(), kind: *kind };
        Package { name: name.into(), dependencies: dependencies.iter().map(dependency).collect(), ..Package::default() }
    }

    #[test]
    fn dependencies_down_are_fine() {
        let packages = [
            package("clinpeft-tensor", &[("clinpeft-rng", DependencyKind::Use), ("ndarray", DependencyKind::Use)]),
            package("clinpeft-tests", &[("clinpeft-experiment", DependencyKind::Use)]),
        ];
        assert_eq!(check(&packages), Vec::<Violation>::new());
    }

    #[test]
    fn a_dependency_up_is_found() {
        let packages = [package("clinpeft-tensor", &[("clinpeft-nn", DependencyKind::Use)])];
        let found = check(&packages);
        assert!(found[0].starts_with("`tensor` must not use `nn`"), "{found:?}");
    }

    #[test]
    fn a_dependency_sideways_is_found() {
        for (from, to) in [
            ("clinpeft-train", "clinpeft-clinical"),
            ("clinpeft-metrics", "clinpeft-tensor"),
            ("clinpeft-report", "clinpeft-train"),
            ("clinpeft-bert", "clinpeft-llama"),
            ("xtask", "clinpeft-files"),
            ("clinpeft-experiment", "xtask"),
        ] {
            let packages = [package(from, &[(to, DependencyKind::Use)]), package("xtask", &[])];
            assert_eq!(check(&packages).len(), 1, "{from} -> {to}");
        }
    }

    #[test]
    fn tests_may_also_use_the_same_level_but_not_above() {
        let used = |to| check(&[package("clinpeft-llama", &[(to, DependencyKind::Dev)])]).len();
        assert_eq!(used("clinpeft-bert"), 0);
        assert_eq!(used("clinpeft-metrics"), 0);
        assert_eq!(used("clinpeft-peft"), 1);
    }

    #[test]
    fn a_crate_without_a_layer_is_found() {
        let found = check(&[package("clinpeft-utils", &[])]);
        assert!(found[0].contains("`clinpeft-utils` has no layer"));
    }

    #[test]
    fn every_layer_uses_layers_below_it() {
        for layer in LAYERS.iter().filter(|layer| layer.level < u8::MAX) {
            for used in layer.may_use {
                let other = LAYERS.iter().find(|r| r.name == *used);
                let other = other.unwrap_or_else(|| panic!("{used} has no layer"));
                assert!(other.level < layer.level, "{} -> {used}", layer.name);
            }
        }
    }
}
