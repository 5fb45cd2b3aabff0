//! What a device (Vulkan, or what `CLINPEFT_TEST_DEVICE` names) makes of runs. Without a driver these tests
//! fail and say what to install.
#![cfg(any(feature = "vulkan", feature = "cuda"))]
#![allow(clippy::unwrap_used, reason = "tests")]

use assert_cmd::cargo::cargo_bin;
use clinpeft_metrics::{Bootstrap, evaluate};
use clinpeft_report::predictions::{Labels, Predictions};
use clinpeft_rng::Seed;
use clinpeft_weights::{Checkpoint, Keep};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

fn wanted() -> String {
    std::env::var("CLINPEFT_TEST_DEVICE").unwrap_or_else(|_| "vulkan".into())
}

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

/// What a run of a task predicts, and how well.
struct Scores {
    predictions: Predictions,
    auroc: f64,
}

impl Scores {
    fn of(path: &Path) -> Scores {
        let auroc = json(&path.with_file_name("result.json"))["metrics"]["auroc"]["value"].as_f64().unwrap();
        Scores { predictions: Predictions::read(path).unwrap(), auroc }
    }

    /// AUROC of these scores when those of what is true are moved by `distance`.
    fn moved(&self, distance: f32) -> f64 {
        let p = &self.predictions;
        let is_true = |at: usize| match &p.labels {
            Labels::Classes(classes) if p.columns == 1 => classes[at] == 1,
            Labels::Classes(classes) => classes[at / p.columns] as usize == at % p.columns,
            Labels::Sets(labels) => labels[at] == 1,
        };
        let scores = p.scores.iter().enumerate().map(|(at, s)| if is_true(at) { s + distance } else { *s });
        let scores = scores.collect::<Vec<f32>>();
        let none = Bootstrap { resamples: 0, level: 0.95, seed: Seed(1) };
        p.with_labels(|labels| evaluate(labels, &scores, &p.subjects, &none)).unwrap().metrics["auroc"].value
    }

    /// What differs: a score by a thousandth of their range (and a few roundings of a probability), or AUROC in the third digit
    /// where no pair of scores is so near that rounding decides which of them is larger.
    fn difference(&self, other: &Scores) -> Option<String> {
        let (here, there) = (&self.predictions.scores, &other.predictions.scores);
        let (least, most) = here.iter().fold((f32::MAX, f32::MIN), |(l, m), s| (l.min(*s), m.max(*s)));
        let apart = here.iter().zip(there).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
        let [low, high] = [-2.0, 2.0].map(|way| self.moved(way * apart));
        let near = (low - 5e-4..high + 5e-4).contains(&other.auroc);
        let same = here.len() == there.len() && apart <= (1e-3 * (most - least)).max(4.0 * f32::EPSILON);
        (!near || !same).then(|| {
            format!("AUROC {} and {}, scores {apart:e} apart within {least} to {most}", self.auroc, other.auroc)
        })
    }
}

#[test]
fn final_adapters_and_scores_agree_with_those_of_the_cpu() {
    let (cpu, device) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    reproduce(cpu.path(), "cpu");
    copy_bases(cpu.path(), device.path());
    reproduce(device.path(), &wanted());
    let mut apart = Vec::new();
    let [here, there] = [cpu.path(), device.path()].map(|out| files(out, "adapter_model.safetensors"));
    assert!(here.len() >= 80 && here.keys().eq(there.keys()), "{:?} {:?}", here.keys(), there.keys());
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
    let [here, there] = [cpu.path(), device.path()].map(|out| files(out, "predictions.safetensors"));
    let mut compared = 0;
    for (name, path) in here.iter().filter(|(_, path)| Checkpoint::open_file(path).unwrap().has("scores")) {
        compared += 1;
        let (want, got) = (Scores::of(path), Scores::of(&there[name]));
        apart.extend(want.difference(&got).map(|what| format!("{}: {what}", name.display())));
        // Two scores of ventilation are not that near.
        if name.to_str().unwrap().contains("-ventilation-") && (want.auroc - got.auroc).abs() >= 5e-4 {
            apart.push(format!("{}: AUROC {} and {}", name.display(), want.auroc, got.auroc));
        }
    }
    assert!(compared >= 85 && apart.is_empty(), "{compared} compared; {apart:#?}");
    // A bag of words computes on the CPU whatever the device.
    let manifests = files(device.path(), "manifest.json").into_iter();
    for (_, path) in manifests.filter(|(run, _)| !run.to_str().unwrap().starts_with("bag-of-words")) {
        let manifest = json(&path);
        assert_eq!(manifest["device"], format!("{}:0", wanted()));
        assert!(manifest["device_memory_mib"].as_f64().is_some_and(|m| m > 0.0), "{manifest}");
    }
}
