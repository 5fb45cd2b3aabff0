//! Two processes at once in one place.

use super::kills::{deed, is_there};
use crate::siege::child::{Ended, said};
use crate::siege::trial::Trial;
use std::io;

/// Both succeed, or one says that the folder is in use; never does the first one fail.
pub(super) fn two_at_once(trial: &mut Trial<'_>) -> io::Result<()> {
    let deed = deed(trial);
    let calm = deed.calm(trial.world, &trial.dir)?;
    deed.begin(trial.world, &trial.dir)?;
    let call = deed.call(trial.world)?;
    let apart = trial.draw.moment(calm.seconds * 0.8);
    let [first, second] = trial.call_both([&call, &call], apart)?;
    let refused =
        |e: &Ended| e.code == Some(1) && String::from_utf8_lossy(&e.stderr).contains("another process") || is_there(e);
    // Which of two is first is known only if there is some time between them.
    let clear = apart.as_millis() > 100;
    trial.expect(first.code == Some(0) || (!clear && refused(&first)), || {
        format!("the first of two, {} ms apart, fails: {}", apart.as_millis(), said(&first))
    });
    trial.expect(second.code == Some(0) || refused(&second), || {
        format!("the second of two, {} ms later, fails otherwise: {}", apart.as_millis(), said(&second))
    });
    trial.expect_whole("out")?;
    trial.expect_results(&calm.results, "out")
}
