//! What a Vulkan device makes of reference cases and of runs. Without a driver these tests fail and say what to install.
#![cfg(feature = "vulkan")]
#![allow(clippy::unwrap_used, reason = "tests")]

use assert_cmd::cargo::cargo_bin;
use clinpeft_experiment::parity::{Options, run, table};
use clinpeft_weights::{Checkpoint, Keep};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

fn reproduce(out: &Path, device: &str) {
    let words = ["reproduce", "--profile", "smoke", "--out", out.to_str().unwrap(), "--device", device];
    let ended = Command::new(cargo_bin("clinpeft")).args(words).output().unwrap();
    assert!(ended.status.success(), "{device}: {}", String::from_utf8_lossy(&ended.stderr));
}

/// Files called `name` below the runs that have a device to themselves, by their path in there.
fn files(out: &Path, name: &str) -> BTreeMap<PathBuf, PathBuf> {
    let root = out.join("runs");
    let all = clinpeft_files::walk(&root).unwrap().into_iter();
    let all = all.filter(|p| p.file_name().is_some_and(|n| n == name) && !is_base(p.strip_prefix(&root).unwrap()));
    all.map(|p| (p.strip_prefix(&root).unwrap().to_path_buf(), p)).collect()
}

fn is_base(run: &Path) -> bool {
    run.to_str().unwrap().starts_with("base-")
}

/// Data and base models of `from`: what adapters are made from must be the same.
fn copy_bases(from: &Path, to: &Path) {
    for path in clinpeft_files::walk(from).unwrap() {
        let place = path.strip_prefix(from).unwrap();
        if place.strip_prefix("runs").is_ok_and(|run| !is_base(run)) {
            continue;
        }
        std::fs::create_dir_all(to.join(place).parent().unwrap()).unwrap();
        std::fs::copy(&path, to.join(place)).unwrap();
    }
}

/// Values of all tensors of a file.
fn tensors(path: &Path) -> BTreeMap<String, Vec<f64>> {
    let file = Checkpoint::open_file(path).unwrap();
    let names = file.tensors().keys().cloned().collect::<Vec<_>>();
    names.into_iter().map(|n| (n.clone(), file.any(&n, Keep::Stored).unwrap().to_f64_vec().unwrap())).collect()
}

fn json(path: &Path) -> serde_json::Value {
    clinpeft_files::read_json(path).unwrap()
}

#[test]
fn final_adapters_and_scores_agree_with_those_of_the_cpu() {
    let (cpu, vulkan) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    reproduce(cpu.path(), "cpu");
    copy_bases(cpu.path(), vulkan.path());
    reproduce(vulkan.path(), "vulkan");
    let mut apart = Vec::new();
    let [here, there] = [cpu.path(), vulkan.path()].map(|out| files(out, "adapter_model.safetensors"));
    assert!(here.len() >= 8 && here.keys().eq(there.keys()), "{:?} {:?}", here.keys(), there.keys());
    for (name, path) in &here {
        let (want, got) = (tensors(path), tensors(&there[name]));
        assert!(want.keys().eq(got.keys()));
        for (tensor, want) in &want {
            let scale = want.iter().fold(0.0f64, |m, x| m.max(x.abs()));
            let worst = want.iter().zip(&got[tensor]).fold(0.0f64, |m, (a, b)| m.max((a - b).abs()));
            if worst > 1e-3 * scale {
                apart.push(format!("{} {tensor}: {worst:e} of {scale:e}", name.display()));
            }
        }
    }
    let [here, there] = [cpu.path(), vulkan.path()].map(|out| files(out, "result.json"));
    let mut compared = 0;
    for (name, path) in &here {
        let [want, got] = [path, &there[name]].map(|p| json(p)["metrics"]["auroc"]["value"].as_f64());
        if let (Some(want), Some(got)) = (want, got) {
            compared += 1;
            if (want - got).abs() >= 5e-4 {
                apart.push(format!("{}: AUROC {want} and {got}", name.display()));
            }
        }
    }
    assert!(compared >= 5 && apart.is_empty(), "{compared} compared; {apart:#?}");
    for path in files(vulkan.path(), "manifest.json").values() {
        let manifest = json(path);
        assert_eq!(manifest["device"], "vulkan:0");
        assert!(manifest["device_memory_mib"].as_f64().is_some_and(|m| m > 0.0), "{manifest}");
    }
}

/// The tolerances are those of the CPU.
#[test]
fn every_case_agrees_with_the_reference_on_vulkan() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/peft");
    let device = clinpeft_kernels::open("vulkan").unwrap_or_else(|e| panic!("{e}"));
    let outcomes = run(&fixtures, &Options { device, ..Options::default() }).unwrap();
    let failed: Vec<_> = outcomes.iter().filter(|o| !o.passed()).cloned().collect();
    assert!(outcomes.len() > 200 && failed.is_empty(), "{}", table(&failed));
}
