//! The siege: hostile trials of the built program and mutated input for its readers.
//!
//! | module | what is in it |
//! |---|---|
//! | [`attacks`] | one file for each kind of attack on the built program |
//! | [`readers`] | readers of files, called in a process of their own with mutated input |
//! | [`world`], [`deeds`] | what trials begin with, and the commands that they give |
//! | [`trial`], [`child`], [`promises`], [`leaks`] | how a command is called, and what must hold for every call |
//! | [`record`] | counts, failures, and the page `docs/siege.md` |
//!
//! The same seed gives the same trials: each draws from a stream of its own, named by attack and number. When a signal arrives is
//! up to the machine.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub mod attacks;
pub mod child;
pub mod deeds;
pub mod draw;
pub mod leaks;
pub mod promises;
pub mod readers;
pub mod record;
pub mod tree;
pub mod trial;
pub mod world;

use attacks::{ATTACKS, Attack};
use draw::Draw;
use record::{Failure, Record};
use trial::Trial;
use world::World;

/// What a siege is given.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program.
    pub program: PathBuf,
    /// Where trials run and failures are kept.
    pub folder: PathBuf,
    /// Minutes in all.
    pub minutes: f64,
    /// Seed of every choice.
    pub seed: u64,
    /// A part of the names of attacks; `NAME#7` is one trial.
    pub only: Option<String>,
}

/// Attacks whose names contain a word, and the number of the only trial.
fn chosen(only: Option<&str>) -> (Vec<Attack>, Option<u64>) {
    let (word, number) = match only.and_then(|o| o.split_once('#')) {
        Some((word, number)) => (word, number.parse().ok()),
        None => (only.unwrap_or(""), None),
    };
    (ATTACKS.iter().copied().filter(|a| a.name.contains(word)).collect(), number)
}

/// Attacks the program until the time is over; attacks take turns. `tell` hears of every failure.
///
/// # Errors
/// The world could not be made, or the machine refused what a trial needs.
pub fn program(options: &Options, record: &mut Record, tell: &mut dyn FnMut(&Failure)) -> io::Result<()> {
    let (attacks, number) = chosen(options.only.as_deref());
    if attacks.is_empty() {
        return Ok(());
    }
    let until = Instant::now() + Duration::from_secs_f64(options.minutes * 60.0);
    let world = World::make(&options.program, &options.folder.join("world"))?;
    let one = number.map_or(0..u64::MAX, |n| n..n + 1);
    for round in one {
        for attack in attacks.iter().filter(|a| number.is_some() || round % a.every == 0) {
            if Instant::now() > until {
                return Ok(());
            }
            let number = if number.is_some() { round } else { round / attack.every };
            if let Some(failure) = attempt(&world, options, *attack, number, record)? {
                record.fail(failure, tell);
            }
        }
    }
    Ok(())
}

/// One trial. What failed is moved where it can be looked at.
fn attempt(
    world: &World,
    options: &Options,
    attack: Attack,
    number: u64,
    record: &mut Record,
) -> io::Result<Option<Failure>> {
    // Always the same folder, since absolute paths are part of what a run is.
    let dir = options.folder.join("trial");
    let mut trial = Trial::new(world, &dir, number, Draw::of(options.seed, attack.name, number))?;
    let ended = (attack.attempt)(&mut trial).and_then(|()| trial.close());
    if let Err(e) = ended {
        trial.faults.push(format!("the trial itself could not go on: {e}"));
    }
    let calls = trial.calls.iter().filter(|c| c.starts_with("clinpeft ")).count();
    record.count(attack.name, calls as u64, trial.untried.take());
    if trial.faults.is_empty() {
        return Ok(None);
    }
    let kept = keep(&dir, &options.folder, &format!("{}-{number}", attack.name.replace('/', "-")))?;
    Ok(Some(Failure {
        attack: attack.name.into(),
        number,
        seed: options.seed,
        calls: trial.calls,
        faults: trial.faults,
        folder: kept,
    }))
}

/// Most folders of failures that are kept.
const KEPT: usize = 60;

fn keep(dir: &Path, folder: &Path, name: &str) -> io::Result<PathBuf> {
    let failures = folder.join("failures");
    std::fs::create_dir_all(&failures)?;
    let target = failures.join(name);
    if target.exists() {
        std::fs::remove_dir_all(&target)?;
    }
    if std::fs::read_dir(&failures)?.count() >= KEPT {
        return Ok(dir.into());
    }
    std::fs::rename(dir, &target)?;
    Ok(target)
}
