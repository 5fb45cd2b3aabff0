//! Ended at any moment, and begun again: the result is that of an undisturbed call.

use crate::siege::child::{Ended, Sent, said};
use crate::siege::deeds::{DEEDS, Deed};
use crate::siege::tree;
use crate::siege::trial::Trial;
use rustix::process::Signal;
use std::io;
use std::time::Duration;

/// Seconds within which a command stops when it is told to.
const STOPS_WITHIN: f64 = 20.0;

/// The deed of a trial: each in turn.
pub(super) fn deed(trial: &Trial<'_>) -> &'static Deed {
    &DEEDS[trial.number as usize % DEEDS.len()]
}

/// SIGKILL at random moments, up to three times.
pub(super) fn killed(trial: &mut Trial<'_>) -> io::Result<()> {
    let deed = deed(trial);
    let calm = deed.calm(trial.world, &trial.dir)?;
    deed.begin(trial.world, &trial.dir)?;
    let call = deed.call(trial.world)?;
    for _ in 0..=trial.draw.below(3) {
        let after = trial.draw.moment(calm.seconds * 1.1);
        trial.call_sent(&call, Some(Sent { signal: Signal::KILL, after }))?;
    }
    finish(trial, deed, &calm.results)
}

/// A signal that asks to stop.
pub(super) fn signalled(trial: &mut Trial<'_>) -> io::Result<()> {
    let deed = deed(trial);
    let calm = deed.calm(trial.world, &trial.dir)?;
    deed.begin(trial.world, &trial.dir)?;
    let call = deed.call(trial.world)?;
    let signal = *trial.draw.pick(&[Signal::TERM, Signal::INT, Signal::USR1, Signal::USR2]);
    // Before the handler stands a signal is a kill.
    let after = Duration::from_millis(100) + trial.draw.moment(calm.seconds);
    let ended = trial.call_sent(&call, Some(Sent { signal, after }))?;
    trial.expect(ended.signal.is_none(), || {
        format!("{signal:?} ended `{}` at once: it was to stop by itself", deed.name)
    });
    trial.expect(ended.stopped_within < STOPS_WITHIN, || {
        format!("`{}` took {:.1} s to stop after {signal:?}", deed.name, ended.stopped_within)
    });
    if deed.trains && ended.code == Some(130) {
        checkpointed(trial)?;
    }
    if ended.signal.is_none() {
        trial.expect_code(&ended, &[0, 130]);
    }
    finish(trial, deed, &calm.results)
}

/// A run that has begun to train and is not done has a checkpoint.
fn checkpointed(trial: &mut Trial<'_>) -> io::Result<()> {
    for path in tree::files(&trial.path("out"))? {
        let Some(run) = path.parent().filter(|_| path.file_name().is_some_and(|n| n == "events.jsonl")) else {
            continue;
        };
        let done = std::fs::read_to_string(run.join("status.json")).is_ok_and(|s| s.contains("\"done\""));
        let ran = std::fs::read(&path)?.windows(6).any(|w| w == b"\"step\"");
        let kept = run.join("checkpoint/state.safetensors").is_file();
        let finished = run.join("adapter").exists() || run.join("model").exists();
        trial.expect(done || !ran || kept || finished, || {
            format!("{} was stopped after a step and has no checkpoint", run.display())
        });
    }
    Ok(())
}

/// The same command once more.
fn finish(trial: &mut Trial<'_>, deed: &Deed, expected: &crate::siege::world::Results) -> io::Result<()> {
    let call = deed.call(trial.world)?;
    let ended: Ended = trial.call(&call)?;
    trial
        .expect(ended.code == Some(0) || is_there(&ended), || format!("the same command then fails: {}", said(&ended)));
    trial.expect_whole("out")?;
    trial.expect_results(expected, "out")
}

/// Whether a command says that what it would make is there already, as it is after a call that was disturbed too late.
pub(super) fn is_there(ended: &Ended) -> bool {
    ended.code == Some(1) && String::from_utf8_lossy(&ended.stderr).contains("is not empty")
}
