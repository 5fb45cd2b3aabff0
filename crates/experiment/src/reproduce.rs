//! The whole matrix: cohort, runs, report.

use crate::cohort::{self, Ready};
use crate::launch::{Ended, Launcher, News, launch};
use crate::plan::{Only, Planned, plan};
use crate::profile::Row;
use crate::{Error, Kind, Matrix, Profile, Result, Store};
use clinpeft_clinical::Progress;
use clinpeft_clinical::prepare::Fidelity;
use clinpeft_report::{Cohort, Plan, Summary};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is to be reproduced.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// Name of the profile.
    pub profile: &'a str,
    /// Seeds of the runs; those of the profile if empty.
    pub seeds: Vec<u64>,
    /// Rows and tasks.
    pub only: Only,
    /// Presets of the rules; each gives a set of tables.
    pub fidelities: Vec<Fidelity>,
    /// Threads for everything.
    pub threads: usize,
    /// Name of the device for every run.
    pub device: &'a str,
}

/// What the caller hears.
pub enum Heard<'a> {
    /// The cohort is being made.
    Cohort(Progress),
    /// All runs, before the first one.
    Plan(&'a [Planned]),
    /// A run has started or ended.
    Run(News<'a>),
}

/// The runs without running them.
pub fn dry_run(store: &Store, options: &Options<'_>, hear: &mut dyn FnMut(Heard<'_>)) -> Result<Vec<Planned>> {
    Ok(prepare(store, options, hear)?.1)
}

/// Makes the cohort, runs everything that is not done, writes the report.
///
/// Runs that fail are shown in the report and end in an error after it.
pub fn reproduce(
    store: &Store,
    options: &Options<'_>,
    program: &Path,
    stop: &AtomicBool,
    hear: &mut dyn FnMut(Heard<'_>),
) -> Result<Summary> {
    let (ready, runs, profile) = prepare(store, options, hear)?;
    hear(Heard::Plan(&runs));
    let launcher = Launcher { program, threads: options.threads, device: options.device, stop };
    let ends = launch(store, &runs, &launcher, &mut |news| hear(Heard::Run(news)))?;
    if stop.load(Ordering::Relaxed) {
        return Err(Error::Stopped);
    }
    let summary = report(store, &ready, &runs, &profile)?;
    let mut lost = runs.iter().filter_map(|r| match ends.get(&r.name) {
        Some(Ended::Failed(e)) => Some(format!("{}: {}", r.name, e.lines().next().unwrap_or_default())),
        _ => None,
    });
    match lost.next() {
        None => Ok(summary),
        Some(first) => Err(Error::Failed { failed: 1 + lost.count(), total: runs.len(), first }),
    }
}

fn prepare(
    store: &Store,
    options: &Options<'_>,
    hear: &mut dyn FnMut(Heard<'_>),
) -> Result<(Ready, Vec<Planned>, Profile)> {
    let (profile, matrix) = (Profile::named(options.profile)?, Matrix::paper()?);
    let heard = std::cell::RefCell::new(hear);
    let progress = |p: Progress| (*heard.borrow_mut())(Heard::Cohort(p));
    let seeds = if options.seeds.is_empty() { profile.seeds.clone() } else { options.seeds.clone() };
    let (mut first, mut runs): (Option<Ready>, Vec<Planned>) = (None, Vec::new());
    for fidelity in &options.fidelities {
        let ready = cohort::ready(store, &profile, *fidelity, &progress)?;
        let common = ready.common(*fidelity, seeds.clone());
        for run in plan(&profile, &matrix, &common, &options.only)? {
            if runs.iter().all(|r| r.name != run.name) {
                runs.push(run);
            }
        }
        first.get_or_insert(ready);
    }
    let ready = first.ok_or_else(|| Error::Options("no fidelity was chosen".into()))?;
    if !runs.iter().any(|r| r.spec.kind != Kind::Base) {
        return Err(Error::Options("`--only` and `--table` leave nothing\nhint: give parts of row names, or names of tasks, that these tables have".into()));
    }
    Ok((ready, runs, profile))
}

fn report(store: &Store, ready: &Ready, runs: &[Planned], profile: &Profile) -> Result<Summary> {
    let matrix = Matrix::paper()?;
    let run_of = |row: &Row| runs.iter().any(|r| r.spec.table == Some(row.table) && r.spec.row == row.name);
    // A table that only repeats rows of others is left out.
    let rows = |table: u8| -> Vec<String> {
        let all: Vec<&Row> = matrix.table(table).into_iter().filter(|r| run_of(r)).collect();
        let own = all.iter().any(|r| r.table == table);
        all.into_iter().filter(|_| own).map(|r| r.name.clone()).collect()
    };
    let mut wanted = Plan { table2: rows(2), table3: rows(3), table4: rows(4), ..Plan::default() };
    for run in runs.iter().filter(|r| r.spec.table.is_some()) {
        if !wanted.seeds.contains(&run.spec.seed) {
            wanted.seeds.push(run.spec.seed);
        }
    }
    let has = |t: &clinpeft_clinical::Task| runs.iter().any(|r| r.spec.task == Some(*t));
    wanted.tasks = profile.tasks.iter().filter(|t| has(t)).map(ToString::to_string).collect();
    wanted.folders = Some(runs.iter().filter(|r| r.spec.kind != Kind::Base).map(|r| r.name.clone()).collect());
    Ok(clinpeft_report::write(store.root(), &wanted, Cohort::Synthetic, &ready.counts)?)
}
