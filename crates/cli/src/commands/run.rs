//! `clinpeft run`: one run.

use crate::args::DeviceArg;
use crate::args::{STOP, threads};
use crate::terminal::Terminal;
use clap::Args;
use clinpeft_experiment::{Control, Error, Result, RunFolder, execute};
use std::io::Read;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

#[derive(Debug, Args)]
pub struct Run {
    /// Run folder with run.toml
    folder: PathBuf,
    /// Number of threads; results do not depend on it
    #[arg(long, value_parser = crate::args::count)]
    threads: Option<usize>,
    /// Stop with a checkpoint when standard input ends
    #[arg(long, hide = true)]
    stop_at_end_of_input: bool,
    /// Seconds between checkpoints
    #[arg(long, default_value_t = 20.0)]
    checkpoint_every: f64,
    #[command(flatten)]
    place: DeviceArg,
}

pub fn run(o: Run, terminal: &Terminal) -> Result<()> {
    if o.stop_at_end_of_input {
        std::thread::spawn(|| {
            // The input ends when the parent closes it or dies.
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            STOP.store(true, Ordering::Relaxed);
        });
    }
    let checkpoint_every = Duration::try_from_secs_f64(o.checkpoint_every)
        .map_err(|_| Error::Options("`--checkpoint-every` is a number of seconds".into()))?;
    go(&RunFolder::at(&o.folder), o.threads, checkpoint_every, &o.place, terminal)
}

/// Runs what another command has planned, with a checkpoint every 20 seconds.
pub fn carry_out(folder: &RunFolder, wanted: Option<usize>, place: &DeviceArg, terminal: &Terminal) -> Result<()> {
    go(folder, wanted, Duration::from_secs(20), place, terminal)
}

fn go(
    folder: &RunFolder,
    wanted: Option<usize>,
    checkpoint_every: Duration,
    place: &DeviceArg,
    terminal: &Terminal,
) -> Result<()> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads(wanted)).build_global();
    pool.map_err(|e| Error::Options(format!("threads cannot be started: {e}")))?;
    let device = place.open_for(&folder.store()?)?;
    // On a thread of the pool: whoever asks the pool from outside sleeps, and is woken, for every operation.
    rayon::scope(|_| {
        let mut steps = terminal.steps();
        let mut observe = |e: &clinpeft_train::Event, total: u64| steps.on_event(e, total);
        let mut warn = |text: &str| terminal.warn(text);
        let said = Mutex::new(Instant::now());
        let resampled = |done: usize, total: usize| terminal.resampled(&said, done, total);
        execute(
            folder,
            Control {
                stop: &STOP,
                observe: &mut observe,
                resampled: &resampled,
                warn: &mut warn,
                checkpoint_every,
                device,
            },
        )
    })?;
    terminal.say(&format!("done: {}", folder.path().display()));
    Ok(())
}
