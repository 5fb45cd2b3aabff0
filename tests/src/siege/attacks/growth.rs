//! Memory over many steps.

use crate::siege::deeds;
use crate::siege::trial::Trial;
use std::io;

/// What resident memory may grow from the second quarter of a run to its last, in KiB.
const GROWTH_KIB: u64 = 4 << 10;

/// Ten thousand tiny steps.
pub(super) fn steps(trial: &mut Trial<'_>) -> io::Result<()> {
    let deed = deeds::deed("adapt");
    deed.begin(trial.world, &trial.dir)?;
    let mut call = deed.call(trial.world)?;
    for (place, value) in [("training.batch_sequences", "1"), ("training.epochs", "200"), ("tokens.max_length", "16")] {
        call.words.extend(["--set".into(), format!("{place}={value}")]);
    }
    trial.with_patience(600);
    let ended = trial.call(&call)?;
    trial.expect_code(&ended, &[0]);
    let (n, all) = (ended.resident.len(), &ended.resident);
    let mean = |part: &[u64]| part.iter().sum::<u64>() / (part.len() as u64).max(1);
    let (early, late) = (mean(&all[n / 4..n / 2]), mean(&all[n - n / 4..]));
    trial.expect(late < early + GROWTH_KIB, || format!("resident memory grows from {early} to {late} KiB in one run"));
    Ok(())
}
