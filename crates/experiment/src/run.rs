//! One run in its folder.

use crate::inputs::Used;
use crate::{Error, Kind, Result, RunFolder, RunSpec, RunState, Store, base, downstream, estimate, language};
use clinpeft_metrics::{Bootstrap, Estimate};
use clinpeft_rng::Seed;
use clinpeft_tensor::Device;
use clinpeft_train::{Event, Outcome};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How a run is watched and stopped.
pub struct Control<'a> {
    /// Set from outside to stop with a checkpoint.
    pub stop: &'a AtomicBool,
    /// Told of every event, with the number of all steps.
    pub observe: &'a mut dyn FnMut(&Event, u64),
    /// Told how many resamples of a confidence interval are done, and of how many.
    pub resampled: &'a (dyn Fn(usize, usize) + Sync),
    /// Told of what was found damaged and is made again.
    pub warn: &'a mut dyn FnMut(&str),
    /// Time between two checkpoints.
    pub checkpoint_every: Duration,
    /// Where the model runs. No part of the spec: the same run is the same to rounding on each.
    pub device: Device,
}

/// What the kinds of runs share.
pub(crate) struct Context<'a> {
    pub spec: RunSpec,
    pub folder: RunFolder,
    pub store: Store,
    pub control: Control<'a>,
}

/// Name of the checkpoint file in its folder.
const STATE: &str = "state.safetensors";

impl Context<'_> {
    /// The checkpoint file.
    pub fn checkpoint(&self) -> PathBuf {
        self.folder.file("checkpoint").join(STATE)
    }

    /// The dataset folder, checked to be the one of the spec.
    pub fn data(&self) -> Result<PathBuf> {
        let name = self.spec.data.as_ref().ok_or_else(|| Error::Options("this run names no data".into()))?;
        let folder = self.store.data(name);
        let hash = clinpeft_files::hash_file(&folder.join("manifest.json"))?;
        if Some(&hash) != self.spec.data_hash.as_ref() {
            let what = format!("`{}` is not the data that this run was made for", folder.display());
            return Err(Error::Options(format!("{what}\nhint: prepare it again, or plan the run again")));
        }
        Ok(folder)
    }

    /// Tells how far the intervals are, and ends them when the run is to stop.
    pub fn watch(&self) -> impl Fn(usize) -> ControlFlow<()> + Sync {
        let (stop, told, total) = (self.control.stop, self.control.resampled, self.spec.bootstrap_resamples);
        move |done| {
            told(done, total);
            if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }

    /// Settings of the confidence intervals.
    pub fn bootstrap(&self) -> Bootstrap {
        Bootstrap {
            resamples: self.spec.bootstrap_resamples,
            level: 0.95,
            seed: Seed(self.spec.seed).part("bootstrap"),
        }
    }
}

/// What a run has to say, as `result.json`.
#[derive(Debug, Serialize)]
pub(crate) struct RunResult {
    pub kind: Kind,
    pub table: Option<u8>,
    pub row: String,
    pub task: Option<String>,
    pub seed: u64,
    pub fidelity: String,
    pub split: &'static str,
    pub n: usize,
    pub metrics: BTreeMap<String, Number>,
    /// Why a metric is missing.
    pub undefined: BTreeMap<String, String>,
    pub ceiling: Option<f64>,
    pub trainable_parameters: usize,
    pub total_parameters: usize,
    /// Seconds of training, over all starts.
    pub seconds: f64,
    /// Tokens run in training.
    pub tokens: u64,
    pub steps: u64,
    /// Epoch whose parameters were kept.
    pub epoch: u64,
    pub validation_score: Option<f64>,
    pub peak_memory_mib: Option<f64>,
}

/// A figure with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Number {
    /// The figure.
    pub value: f64,
    /// Where the interval begins, if there is one.
    pub lo: Option<f64>,
    /// Where it ends.
    pub hi: Option<f64>,
}

impl From<&Estimate> for Number {
    fn from(e: &Estimate) -> Number {
        Number { value: e.value, lo: e.interval.map(|i| i.lo), hi: e.interval.map(|i| i.hi) }
    }
}

impl RunResult {
    pub fn new(spec: &RunSpec, outcome: &Outcome) -> RunResult {
        RunResult {
            kind: spec.kind,
            table: spec.table,
            row: spec.row.clone(),
            task: spec.task.map(|t| t.to_string()),
            seed: spec.seed,
            fidelity: spec.fidelity.name().into(),
            split: "test",
            n: 0,
            metrics: BTreeMap::new(),
            undefined: BTreeMap::new(),
            ceiling: None,
            trainable_parameters: 0,
            total_parameters: 0,
            seconds: outcome.seconds,
            tokens: outcome.tokens,
            steps: outcome.steps,
            epoch: outcome.epoch,
            validation_score: outcome.score,
            peak_memory_mib: None,
        }
    }
}

/// What a run was made with, as `manifest.json`.
#[derive(Debug, Serialize)]
struct RunManifest {
    program: &'static str,
    git: &'static str,
    target: &'static str,
    device: String,
    threads: usize,
    /// The unit of the machine that computes products with frozen weights.
    products: &'static str,
    /// Orders of frozen weights that are kept for it, their bytes, and what the trial of them gained.
    packs: Option<Value>,
    seed: u64,
    data_hash: Option<String>,
    base_hash: Option<String>,
    /// Predictions can be joined by id where this is equal.
    id_key: Option<String>,
    peak_memory_mib: Option<f64>,
    device_memory_mib: Option<f64>,
    wall_seconds: f64,
    /// Seconds of processor time, over all threads.
    cpu_seconds: f64,
    tokens_kept: u64,
    tokens_dropped: u64,
}

/// What the kinds of runs report beside their result.
pub(crate) struct Report {
    pub result: RunResult,
    /// The base model that it began with.
    pub base: Option<Used>,
    /// Fingerprint of the key of the ids in its predictions.
    pub id_key: Option<String>,
    pub kept: u64,
    pub dropped: u64,
}

/// Runs what `run.toml` in `folder` says, from its checkpoint if there is one. Does nothing if it is done.
///
/// The state is `done` only after everything else is written.
pub fn execute(folder: &RunFolder, control: Control<'_>) -> Result<()> {
    let spec = folder.spec()?;
    let _lock = wait_for_lock(folder)?;
    clinpeft_files::sweep(folder.path());
    clinpeft_files::sweep(&folder.file("checkpoint"));
    if folder.state()? == Some(RunState::Done) {
        match folder.damage() {
            // Killed between the two last things it does, a run would leave its checkpoint.
            None => return remove_checkpoint(folder),
            Some(why) => (control.warn)(&format!("{why}\nthe run is made again")),
        }
    }
    folder.set_damaged_aside()?;
    folder.set_state(&RunState::Running)?;
    let started = Instant::now();
    let store = folder.store()?;
    let mut context = Context { spec, folder: folder.clone(), store, control };
    let mut ended = attempt(&mut context);
    if let Err(e @ Error::Train(clinpeft_train::Error::Damaged { .. })) = &ended {
        // What it holds cannot be trusted, and training gives the same again.
        (context.control.warn)(&format!("{e}\nthe run begins anew"));
        remove_checkpoint(folder)?;
        ended = attempt(&mut context);
    }
    match ended.and_then(|report| finish(&context, report, started)) {
        Ok(()) => Ok(()),
        // Not an end: the folder stays as it is and the same command goes on.
        Err(Error::Stopped) => Err(Error::Stopped),
        Err(e) => {
            // On a full disk this fails too, and says less than what failed first.
            let _ = folder.set_state(&RunState::Failed { error: e.to_string() });
            Err(e)
        }
    }
}

fn attempt(context: &mut Context<'_>) -> Result<Report> {
    match context.spec.kind {
        Kind::Base => base::base(context),
        Kind::Adaptation => language::adaptation(context),
        Kind::Trial if context.spec.task.is_none() => language::trial(context),
        Kind::Downstream | Kind::Trial => downstream::run(context),
    }
}

fn finish(context: &Context<'_>, mut report: Report, started: Instant) -> Result<()> {
    let peak = peak_memory_mib();
    report.result.peak_memory_mib = peak;
    let manifest = RunManifest {
        program: concat!("clinpeft ", env!("CARGO_PKG_VERSION")),
        git: env!("CLINPEFT_GIT"),
        target: env!("CLINPEFT_TARGET"),
        device: context.control.device.name(),
        threads: rayon::current_num_threads(),
        products: clinpeft_tensor::product::unit_name(context.spec.training.precision.into()),
        packs: report.base.as_ref().map(|used| used.packs.to_json()),
        seed: context.spec.seed,
        data_hash: context.spec.data_hash.clone(),
        base_hash: report.base.map(|used| used.hash),
        id_key: report.id_key,
        peak_memory_mib: peak,
        device_memory_mib: device_memory(&context.control.device)?.map(|bytes| bytes as f64 / f64::from(1 << 20)),
        wall_seconds: started.elapsed().as_secs_f64(),
        cpu_seconds: estimate::cpu_seconds(),
        tokens_kept: report.kept,
        tokens_dropped: report.dropped,
    };
    let folder = &context.folder;
    clinpeft_files::write_json(&folder.file("manifest.json"), &manifest)?;
    clinpeft_files::write_json(&folder.file("result.json"), &report.result)?;
    folder.set_state(&RunState::Done)?;
    remove_checkpoint(folder)
}

/// Removes the checkpoint, and its folder unless somebody else put something there.
fn remove_checkpoint(folder: &RunFolder) -> Result<()> {
    let checkpoint = folder.file("checkpoint");
    let state = checkpoint.join(STATE);
    if state.is_file() {
        std::fs::remove_file(&state).map_err(clinpeft_files::at("remove", &state))?;
    }
    let _ = std::fs::remove_dir(&checkpoint);
    Ok(())
}

/// A process that was told to stop may need a moment to write its checkpoint.
fn wait_for_lock(folder: &RunFolder) -> Result<clinpeft_files::Lock> {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        match clinpeft_files::lock(folder.path()) {
            Ok(lock) => return Ok(lock),
            Err(clinpeft_files::Error::Content { .. }) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(100));
            }
            Err(e) => return Err(e.into()),
        }
    }
}

/// Bytes that the pool of a device has set aside, which never falls: its high-water mark.
fn device_memory(device: &Device) -> Result<Option<u64>> {
    match device {
        Device::Cpu => Ok(None),
        Device::Other(backend) => backend.memory().map_err(|e| Error::Model(e.into())),
    }
}

/// Highest resident memory of this process, where the system tells.
fn peak_memory_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<f64>().ok()? / 1024.0)
}
