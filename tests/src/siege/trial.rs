//! One trial: calls of the program in a folder of its own, and the promises that hold for each of them.

use super::child::{Call, Ended, PATIENCE, Sent, said, start};
use super::draw::Draw;
use super::tree::{self, Snapshot};
use super::world::World;
use super::{leaks, promises};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A trial while it runs.
pub struct Trial<'w> {
    /// What was made before the first trial.
    pub world: &'w World,
    /// The folder in which the program is called; paths of calls are relative to it.
    pub dir: PathBuf,
    /// Its number among those of its attack.
    pub number: u64,
    /// The trial's choices.
    pub draw: Draw,
    /// Every call, as it could be typed.
    pub calls: Vec<String>,
    /// Promises that were broken.
    pub faults: Vec<String>,
    /// Why it could not be tried on this machine.
    pub untried: Option<String>,
    foreign: Vec<(PathBuf, Snapshot)>,
    patience: Duration,
}

impl<'w> Trial<'w> {
    /// A trial in an empty folder `dir`.
    pub fn new(world: &'w World, dir: &Path, number: u64, draw: Draw) -> io::Result<Trial<'w>> {
        if dir.exists() {
            fs::remove_dir_all(dir)?;
        }
        fs::create_dir_all(dir)?;
        let (calls, faults, foreign) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Trial { world, dir: dir.into(), number, draw, calls, faults, untried: None, foreign, patience: PATIENCE })
    }

    /// Lets calls take longer than usual, for attacks that train long.
    pub fn with_patience(&mut self, seconds: u64) {
        self.patience = Duration::from_secs(seconds);
    }

    /// A path in the trial's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Copies a part of the world into the trial's folder.
    pub fn bring(&self, part: &str, to: &str) -> io::Result<()> {
        tree::copy(&self.world.part(part), &self.path(to))
    }

    /// From now on this file, or everything that is in this folder now, must stay as it is.
    pub fn guard(&mut self, name: &str) -> io::Result<()> {
        let path = self.path(name);
        let before = tree::snapshot(&path)?;
        self.foreign.push((path, before));
        Ok(())
    }

    /// Calls the program and checks what every call promises.
    pub fn call(&mut self, call: &Call) -> io::Result<Ended> {
        self.call_sent(call, None)
    }

    /// The same, with a signal on its way.
    pub fn call_sent(&mut self, call: &Call, sent: Option<Sent>) -> io::Result<Ended> {
        let running = start(&self.world.program, call, &self.dir)?;
        self.note(call, sent);
        let ended = running.watch(sent, self.patience)?;
        self.judge(&ended, call);
        Ok(ended)
    }

    /// Two calls at once, the second a little later.
    pub fn call_both(&mut self, calls: [&Call; 2], apart: Duration) -> io::Result<[Ended; 2]> {
        let first = start(&self.world.program, calls[0], &self.dir)?;
        self.note(calls[0], None);
        let patience = self.patience;
        let watched = std::thread::spawn(move || first.watch(None, patience));
        std::thread::sleep(apart);
        let second = start(&self.world.program, calls[1], &self.dir)?;
        self.note(calls[1], None);
        let second = second.watch(None, patience)?;
        let first = watched.join().map_err(|_| io::Error::other("the watcher of the first call is gone"))??;
        self.judge(&first, calls[0]);
        self.judge(&second, calls[1]);
        Ok([first, second])
    }

    fn note(&mut self, call: &Call, sent: Option<Sent>) {
        let words: Vec<String> = call.words.iter().map(|w| quoted(w)).collect();
        let mut said = format!("clinpeft {}", words.join(" "));
        if let Some(s) = sent {
            said += &format!("   # {:?} after {} ms", s.signal, s.after.as_millis());
        }
        self.calls.push(said);
    }

    fn judge(&mut self, ended: &Ended, call: &Call) {
        let place = self.calls.len();
        // Who asks for the scores of his notes on the terminal sees his own ids there.
        let asked = call.words.iter().any(|w| w == "/dev/stdout");
        let broken = promises::broken(ended, if asked { &self.world.keys } else { &self.world.secrets });
        self.faults.extend(broken.into_iter().map(|what| format!("call {place}: {what}")));
    }

    /// A promise of this trial alone.
    pub fn expect(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.faults.push(otherwise());
        }
    }

    /// The call must have ended with one of these codes.
    pub fn expect_code(&mut self, ended: &Ended, codes: &[i32]) {
        self.expect(ended.code.is_some_and(|c| codes.contains(&c)), || {
            format!("ended with {:?} (signal {:?}), not {codes:?}: {}", ended.code, ended.signal, said(ended))
        });
    }

    /// What is left must be what an undisturbed call leaves.
    pub fn expect_results(&mut self, expected: &super::world::Results, root: &str) -> io::Result<()> {
        let found = tree::results(&self.path(root))?;
        for what in tree::differences(expected, &found) {
            self.faults.push(format!("not what an undisturbed call leaves: {what}"));
        }
        Ok(())
    }

    /// The promises that are checked once, at the end: foreign files, half-written files, leaks.
    pub fn close(&mut self) -> io::Result<()> {
        for (path, before) in std::mem::take(&mut self.foreign) {
            let after = tree::snapshot(&path)?;
            // A file itself has the empty path.
            let changed: Vec<&PathBuf> = before.keys().filter(|k| before.get(*k) != after.get(*k)).collect();
            if let Some(first) = changed.first() {
                let name = if first.as_os_str().is_empty() { path.clone() } else { path.join(first) };
                self.faults.push(format!("a foreign file was changed: {} ({} in all)", name.display(), changed.len()));
            }
        }
        self.faults.extend(leaks::shown(&self.dir, &self.world.secrets)?);
        Ok(())
    }

    /// Nothing half-written is below `root`.
    pub fn expect_whole(&mut self, root: &str) -> io::Result<()> {
        let mut left = Vec::new();
        tree::visit(&self.path(root), &mut |p, _| {
            let name = p.file_name().unwrap_or_default().to_string_lossy();
            left.extend((name.starts_with(".clinpeft-partial-") || name.starts_with(".tmp")).then(|| p.to_path_buf()));
            Ok(())
        })?;
        self.expect(left.is_empty(), || format!("half-written: {}", left[0].display()));
        Ok(())
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,+:".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { format!("'{}'", word.escape_default()) }
}
