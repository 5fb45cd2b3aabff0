//! Who may read what holds notes, ids or tokens.

use crate::siege::deeds::{self, Deed};
use crate::siege::tree;
use crate::siege::trial::Trial;
use std::io;
use std::path::Component;

/// Folders that nobody else may enter, wherever they stand.
const PRIVATE: [&str; 3] = ["data", "raw", "tokens"];

/// Files that nobody else may read, wherever they stand.
const FILES: [&str; 3] = ["predictions.safetensors", "validation.safetensors", "scores.csv"];

/// Under a umask that lets everybody read and write.
pub(super) fn private(trial: &mut Trial<'_>) -> io::Result<()> {
    let names = ["prepare", "synth", "predict", "adapt", "finetune", "run", "reproduce"];
    let all: Vec<&'static Deed> = names.into_iter().map(deeds::deed).collect();
    let deed = all[trial.number as usize % all.len()];
    deed.begin(trial.world, &trial.dir)?;
    let mut call = deed.call(trial.world)?;
    call.limits.umask = "000";
    let ended = trial.call(&call)?;
    trial.expect_code(&ended, &[0]);
    let root = trial.path("out");
    let mut open = Vec::new();
    tree::visit(&root, &mut |path, meta| {
        let inside = path.strip_prefix(&root).unwrap_or(path);
        let mode = tree::mode(meta);
        let private = inside.components().any(|c| is_one_of(c, &PRIVATE))
            || inside.components().next_back().is_some_and(|c| is_one_of(c, &FILES));
        let lock = inside.ends_with(".lock");
        if private && !lock && mode & 0o077 != 0 {
            open.push(format!("{} has mode {mode:o}", inside.display()));
        }
        Ok(())
    })?;
    trial.expect(open.is_empty(), || format!("{} paths are open to others: {}", open.len(), open[0]));
    Ok(())
}

fn is_one_of(c: Component<'_>, names: &[&str]) -> bool {
    names.iter().any(|name| c.as_os_str() == *name)
}
