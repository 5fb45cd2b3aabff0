//! Counts and failures, and the page that shows them.

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter, Result, Write};
use std::path::PathBuf;

/// A trial that broke a promise.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The attack, or `read/` and the form of a file.
    pub attack: String,
    /// Its number.
    pub number: u64,
    /// The seed of the siege.
    pub seed: u64,
    /// The calls of the program.
    pub calls: Vec<String>,
    /// What was broken.
    pub faults: Vec<String>,
    /// The folder as it was left, or the input.
    pub folder: PathBuf,
}

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Failure { attack, number, seed, .. } = self;
        writeln!(f, "FAILED {attack}#{number}: cargo xtask siege --seed {seed} --only '{attack}#{number}'")?;
        for call in &self.calls {
            writeln!(f, "  $ {call}")?;
        }
        for fault in &self.faults {
            writeln!(f, "  - {}", fault.replace('\n', " / "))?;
        }
        write!(f, "  {}", self.folder.display())
    }
}

/// So many failures of one attack that say nearly the same are told.
const TOLD: usize = 5;

impl Failure {
    /// What was broken, without what differs from time to time.
    fn cause(&self) -> String {
        let first = self.faults.first().map(String::as_str).unwrap_or_default();
        first.chars().filter(|c| !c.is_ascii_digit()).take(150).collect()
    }
}

/// What one kind of attack has done.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Trials, or inputs of a reader.
    pub trials: u64,
    /// Calls of the program; inputs that a reader accepted.
    pub calls: u64,
    /// Trials or inputs that broke a promise.
    pub failed: u64,
    /// Why it could not be tried on this machine.
    pub untried: Option<String>,
}

/// What a siege has done.
#[derive(Debug, Default)]
pub struct Record {
    /// By attack.
    pub counts: BTreeMap<String, Counts>,
    /// In the order in which they came.
    pub failures: Vec<Failure>,
    /// Seconds for which readers were called.
    pub reading: f64,
}

impl Record {
    /// Counts a trial.
    pub fn count(&mut self, attack: &str, calls: u64, untried: Option<String>) {
        let counts = self.counts.entry(attack.into()).or_default();
        counts.trials += u64::from(untried.is_none());
        counts.calls += calls;
        counts.untried = untried.or(counts.untried.take());
    }

    /// Keeps a failure to tell of, unless enough of its kind are kept already; counts it in any case.
    pub fn fail(&mut self, failure: Failure, tell: &mut dyn FnMut(&Failure)) {
        self.counts.entry(failure.attack.clone()).or_default().failed += 1;
        let alike = self.failures.iter().filter(|f| f.attack == failure.attack && f.cause() == failure.cause()).count();
        if alike < TOLD {
            tell(&failure);
            self.failures.push(failure);
        }
    }

    /// All failures, told or not.
    pub fn failed(&self) -> u64 {
        self.counts.values().map(|c| c.failed).sum()
    }

    /// Inputs that readers were given.
    pub fn inputs(&self) -> u64 {
        self.counts.iter().filter(|(name, _)| name.starts_with("read/")).map(|(_, c)| c.trials).sum()
    }

    /// A Markdown table, one line for each kind of attack.
    pub fn table(&self) -> String {
        let mut text =
            String::from("| attack | trials | calls | failures | not tried here |\n|---|---:|---:|---:|---|\n");
        for (name, counts) in &self.counts {
            let untried = counts.untried.as_deref().unwrap_or("");
            let _ = writeln!(text, "| {name} | {} | {} | {} | {untried} |", counts.trials, counts.calls, counts.failed);
        }
        if self.reading > 0.0 {
            let rate = self.inputs() as f64 / self.reading * 3600.0;
            let _ = writeln!(text, "\nReaders took {} inputs, {rate:.0} an hour on one core.", self.inputs());
        }
        text
    }
}

/// The page `docs/siege.md` with this table in it.
pub fn page(table: &str, said: &str) -> String {
    format!("{}\n{said}\n\n{table}", include_str!("page.md"))
}
