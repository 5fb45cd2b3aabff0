//! Runs in processes of their own, several at a time, each after those that it needs.

use crate::error::Result;
use crate::events::{ProgressEvent, RunEnd};
use crate::plan::planned::PlannedRun;
use crate::resources::machine::disk_free;
use crate::store::{RunState, Store};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How the processes are started.
#[derive(Debug, Clone, Copy)]
pub struct Launcher<'a> {
    /// The program, which must know `run FOLDER --threads N --device NAME`.
    pub program: &'a Path,
    /// Name of the device for every run.
    pub device: &'a str,
    /// Threads for all processes together; at most as many processes.
    pub threads: usize,
    /// Set from outside to stop.
    pub stop: &'a AtomicBool,
}

/// Ends by name of the run.
pub type Ends = BTreeMap<String, RunEnd>;

/// Runs all of `plan`. A run that fails does not stop the others, except those that need it.
pub fn launch(
    store: &Store,
    plan: &[PlannedRun],
    launcher: &Launcher<'_>,
    tell: &mut dyn FnMut(ProgressEvent<'_>),
) -> Result<Ends> {
    let mut ends = Ends::new();
    let mut running: Vec<(usize, Child, Instant)> = Vec::new();
    let mut waiting = not_done(store, plan, &mut ends, tell);
    // A device is one thing: runs beside each other would share its memory and wait for each other.
    let at_once = if launcher.device == "cpu" { launcher.threads } else { 1 };
    while !waiting.is_empty() || !running.is_empty() {
        let stopping = launcher.stop.load(Ordering::Relaxed);
        if stopping {
            waiting.clear();
            for (_, child, _) in &mut running {
                // A child stops with a checkpoint when its input ends.
                drop(child.stdin.take());
            }
        }
        drop_lost(store, plan, &mut waiting, &mut ends, tell);
        let ready: Vec<usize> = waiting.iter().copied().filter(|i| is_ready(&plan[*i], &ends)).collect();
        let free = at_once.saturating_sub(running.len());
        let beside = (ready.len() + running.len()).clamp(1, at_once);
        let share = (launcher.threads / beside).max(1);
        for i in ready.into_iter().take(free) {
            waiting.retain(|w| *w != i);
            match start(store, &plan[i], launcher, share) {
                Ok(child) => {
                    tell(ProgressEvent::RunStarted(&plan[i]));
                    running.push((i, child, Instant::now()));
                }
                Err(e) => end(store, &plan[i], RunEnd::Failed(e.to_string()), &mut ends, tell),
            }
        }
        let mut i = 0;
        while i < running.len() {
            let Some(status) = running[i].1.try_wait().map_err(clinpeft_files::at("wait for", launcher.program))?
            else {
                i += 1;
                continue;
            };
            let (place, _, since) = running.swap_remove(i);
            let run = &plan[place];
            let ended = match store.run(&run.name).state() {
                Ok(Some(RunState::Done)) => RunEnd::Now(since.elapsed().as_secs()),
                Ok(Some(RunState::Failed { error })) => RunEnd::Failed(error),
                Err(e) => RunEnd::Failed(e.to_string()),
                _ if stopping => RunEnd::Stopped,
                _ => RunEnd::Failed(died(store, status)),
            };
            end(store, run, ended, &mut ends, tell);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(ends)
}

/// Why a process ended that could not leave a word: on a full disk it cannot.
fn died(store: &Store, status: ExitStatus) -> String {
    let full = disk_free(store.root()).is_some_and(|free| free < 1 << 20);
    let why =
        if full { "; the disk is full\nhint: free some space there, or choose a folder on another disk" } else { "" };
    format!("its process ended with {status}{why}")
}

/// Notes and tells how a run ended.
fn end(store: &Store, run: &PlannedRun, ended: RunEnd, ends: &mut Ends, tell: &mut dyn FnMut(ProgressEvent<'_>)) {
    if let RunEnd::Failed(error) = &ended {
        // A folder that takes no word of it shows the run as unfinished; the others go on.
        let state = RunState::Failed { error: error.clone() };
        let _ = store.create(&run.spec).and_then(|folder| folder.set_state(&state));
    }
    tell(ProgressEvent::RunEnded(run, &ended));
    ends.insert(run.name.clone(), ended);
}

/// The runs that need a process: all but those that are done and whole.
fn not_done(
    store: &Store,
    plan: &[PlannedRun],
    ends: &mut Ends,
    tell: &mut dyn FnMut(ProgressEvent<'_>),
) -> Vec<usize> {
    let mut left = Vec::new();
    for (i, run) in plan.iter().enumerate() {
        let folder = store.run(&run.name);
        match (folder.state(), folder.damage()) {
            (Ok(Some(RunState::Done)), None) => end(store, run, RunEnd::Before, ends, tell),
            (Ok(Some(RunState::Done)), Some(why)) => {
                tell(ProgressEvent::RunDamaged(run, &why));
                left.push(i);
            }
            (Ok(_), _) => left.push(i),
            (Err(e), _) => end(store, run, RunEnd::Failed(e.to_string()), ends, tell),
        }
    }
    left
}

/// Takes out what waits for something that failed.
fn drop_lost(
    store: &Store,
    plan: &[PlannedRun],
    waiting: &mut Vec<usize>,
    ends: &mut Ends,
    tell: &mut dyn FnMut(ProgressEvent<'_>),
) {
    waiting.retain(|i| {
        let run = &plan[*i];
        let lost = run.needs.iter().find(|n| matches!(ends.get(*n), Some(RunEnd::Failed(_))));
        let error = lost.map(|lost| format!("it needs `{lost}`, which failed"));
        if let Some(error) = error {
            end(store, run, RunEnd::Failed(error), ends, tell);
            return false;
        }
        true
    });
}

fn is_ready(run: &PlannedRun, ends: &Ends) -> bool {
    run.needs.iter().all(|n| matches!(ends.get(n), Some(RunEnd::Before | RunEnd::Now(_))))
}

fn start(store: &Store, run: &PlannedRun, launcher: &Launcher<'_>, threads: usize) -> Result<Child> {
    let program = launcher.program;
    let folder = store.create(&run.spec)?;
    let path = folder.file("log.txt");
    let log = File::create(&path).map_err(clinpeft_files::at("create", &path))?;
    let child = Command::new(program)
        .arg("run")
        .arg(folder.path())
        .args(["--threads", &threads.to_string(), "--device", launcher.device, "--stop-at-end-of-input"])
        // Activations are freed and allocated again in every step; keeping their pages spares the kernel's work.
        .envs([("MALLOC_TRIM_THRESHOLD_", "536870912"), ("MALLOC_MMAP_THRESHOLD_", "536870912")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn();
    Ok(child.map_err(clinpeft_files::at("start", program))?)
}
