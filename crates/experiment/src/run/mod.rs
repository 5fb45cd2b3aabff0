//! One run in its folder.

mod adaptation;
mod bag_of_words;
mod base;
pub mod context;
mod downstream;
pub(crate) mod evaluation;
pub mod record;

use crate::error::{Error, Result};
use crate::resources::machine::cpu_seconds;
use crate::run::context::{Context, Control, STATE};
use crate::run::record::{Report, RunManifest};
use crate::spec::{Base, Kind};
use crate::store::{RunFolder, RunState};
use clinpeft_tensor::Device;
use std::time::{Duration, Instant};

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
        Kind::Adaptation => adaptation::adaptation(context),
        Kind::Trial if context.spec.task.is_none() => adaptation::trial(context),
        Kind::Downstream | Kind::Trial => match (context.spec.base.clone(), context.spec.task) {
            (Base::BagOfWords(settings), Some(task)) => bag_of_words::run(context, task, &settings),
            _ => downstream::run(context),
        },
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
        gemm: clinpeft_tensor::gemm::isa(context.spec.training.precision.into()),
        packs: report.base.as_ref().map(|used| used.packs.to_json()),
        seed: context.spec.seed,
        data_hash: context.spec.data_hash.clone(),
        base_hash: report.base.map(|used| used.hash),
        id_key: report.id_key,
        peak_memory_mib: peak,
        device_memory_mib: device_memory(&context.control.device)?.map(|bytes| bytes as f64 / f64::from(1 << 20)),
        wall_seconds: started.elapsed().as_secs_f64(),
        cpu_seconds: cpu_seconds(),
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
