//! The whole matrix: data, runs, report.

use crate::cohort::{self, Inputs, Ready, Told};
use crate::launch::{Ended, Launcher, News, launch};
use crate::plan::{Common, Only, Planned, plan};
use crate::profile::{Data, Part, Row};
use crate::search::{Values, with};
use crate::{Error, Kind, Matrix, Profile, Result, RunSpec, Store};
use clinpeft_clinical::prepare::Fidelity;
use clinpeft_clinical::{Progress, Task};
use clinpeft_report::{Cohort, Plan, Summary};
use std::collections::{BTreeMap, BTreeSet};
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
    /// Presets of the rules, each with every row; if empty, those of the profile with its rows.
    pub fidelities: Vec<Fidelity>,
    /// Models and raw data that a person brings.
    pub inputs: Inputs,
    /// Settings that differ from the profile's, by their place in `run.toml`; a run without that place is as before.
    pub set: Values,
    /// Threads for everything.
    pub threads: usize,
    /// Name of the device for every run.
    pub device: &'a str,
}

/// What the caller hears.
pub enum Heard<'a> {
    /// The data are being made.
    Cohort(Progress),
    /// Data that the program makes are damaged, and are made again.
    Damaged(&'a Error),
    /// All runs, before the first one.
    Plan(&'a [Planned]),
    /// A run has started or ended.
    Run(News<'a>),
}

impl<'a> From<Told<'a>> for Heard<'a> {
    fn from(told: Told<'a>) -> Heard<'a> {
        match told {
            Told::Progress(progress) => Heard::Cohort(progress),
            Told::Damaged(why) => Heard::Damaged(why),
        }
    }
}

/// The runs, without running them, and the profile that they come from.
///
/// Data that the program makes are made; real data are planned for as they are, prepared or not.
pub fn dry_run(
    store: &Store,
    options: &Options<'_>,
    hear: &mut dyn FnMut(Heard<'_>),
) -> Result<(Profile, Vec<Planned>)> {
    let profile = Profile::named(options.profile)?;
    let heard = std::cell::RefCell::new(hear);
    let progress = |told: Told<'_>| (*heard.borrow_mut())(told.into());
    let runs = runs(&profile, options, |part| match &profile.data {
        Data::Synthetic { .. } => cohort::ready(store, &profile.data, part.rules, &options.inputs, &progress),
        Data::Mimic { .. } => cohort::planned(store, &profile.data, part.rules, &options.inputs),
    })?;
    Ok((profile, runs))
}

/// Makes the data, runs everything that is not done, writes the report.
///
/// Runs that fail are shown in the report and end in an error after it.
pub fn reproduce(
    store: &Store,
    options: &Options<'_>,
    program: &Path,
    stop: &AtomicBool,
    hear: &mut dyn FnMut(Heard<'_>),
) -> Result<Summary> {
    let profile = Profile::named(options.profile)?;
    if let Data::Mimic { .. } = profile.data {
        let planned = |part: &Part| cohort::planned(store, &profile.data, part.rules, &options.inputs);
        check_inputs(&profile, &options.inputs, &runs(&profile, options, planned)?)?;
    }
    let _alone = clinpeft_files::lock(store.root())?;
    clinpeft_report::refuse_foreign(store.root())?;
    store.sweep();
    let runs = {
        let heard = std::cell::RefCell::new(&mut *hear);
        let progress = |told: Told<'_>| (*heard.borrow_mut())(told.into());
        runs(&profile, options, |part| cohort::ready(store, &profile.data, part.rules, &options.inputs, &progress))?
    };
    hear(Heard::Plan(&runs));
    let launcher = Launcher { program, threads: options.threads, device: options.device, stop };
    let ends = launch(store, &runs, &launcher, &mut |news| hear(Heard::Run(news)))?;
    if stop.load(Ordering::Relaxed) {
        return Err(Error::Stopped);
    }
    let specs: Vec<&RunSpec> = runs.iter().map(|run| &run.spec).collect();
    let summary = report(store, &specs)?;
    let mut lost = runs.iter().filter_map(|r| match ends.get(&r.name) {
        Some(Ended::Failed(e)) => Some(format!("{}: {}", r.name, e.lines().next().unwrap_or_default())),
        _ => None,
    });
    match lost.next() {
        None => Ok(summary),
        Some(first) => Err(Error::Failed { failed: 1 + lost.count(), total: runs.len(), first }),
    }
}

/// Errors with all that the runs need and `inputs` lacks.
pub(crate) fn check_inputs(profile: &Profile, inputs: &Inputs, runs: &[Planned]) -> Result<()> {
    let missing = crate::estimate::missing(profile, inputs, runs);
    if missing.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = missing.iter().map(|m| format!("  {}: {}", m.path.display(), m.what)).collect();
    Err(Error::Options(format!(
        "the inputs are not complete; missing are\n{}\nhint: put them there, or name another folder with `--inputs`; README.md \
         shows its layout",
        lines.join("\n")
    )))
}

/// The runs of all parts; what two parts share is there once.
fn runs(
    profile: &Profile,
    options: &Options<'_>,
    mut ready: impl FnMut(&Part) -> Result<Ready>,
) -> Result<Vec<Planned>> {
    let seeds = if options.seeds.is_empty() { &profile.seeds } else { &options.seeds };
    let matrix = Matrix::paper()?;
    let mut runs: Vec<Planned> = Vec::new();
    for part in profile.parts(&options.fidelities) {
        let common: Common = ready(&part)?.common(part.rules, &options.inputs, seeds.clone());
        for run in plan(profile, &part, &matrix, &common, &options.only)? {
            if runs.iter().all(|r| r.name != run.name) {
                runs.push(run);
            }
        }
    }
    if !runs.iter().any(|r| r.spec.kind != Kind::Base) {
        return Err(Error::Options("`--only` and `--table` leave nothing\nhint: give parts of row names, or names of tasks, that these tables have".into()));
    }
    changed(runs, &options.set)
}

/// Runs with other settings, under the names that these give them.
fn changed(mut runs: Vec<Planned>, set: &Values) -> Result<Vec<Planned>> {
    let mut names = BTreeMap::new();
    let mut unused: BTreeSet<&String> = set.keys().collect();
    for run in &mut runs {
        run.spec.rename_runs(&names);
        let made_here = run.spec.kind == Kind::Base;
        for (place, value) in set.iter().filter(|_| !made_here) {
            // A row without that place stays as it is.
            if let Ok(spec) = with(&run.spec, &Values::from([(place.clone(), value.clone())])) {
                run.spec = spec;
                unused.remove(place);
            }
        }
        let new = run.spec.folder_name()?;
        for need in &mut run.needs {
            if let Some(name) = names.get(need) {
                need.clone_from(name);
            }
        }
        names.insert(std::mem::replace(&mut run.name, new.clone()), new);
    }
    match unused.first() {
        None => Ok(runs),
        Some(place) => Err(Error::Options(format!(
            "no run has a setting `{place}`, or it takes other values\nhint: places are those of run.toml, adapters by name: \
             training.micro_tokens=1024"
        ))),
    }
}

/// Every run below `<out>/runs` that a table shows, as it stands there, in the order of the names. The report itself tells of
/// folders whose `run.toml` cannot be read.
pub fn found(store: &Store) -> Result<Vec<RunSpec>> {
    let folder = store.root().join("runs");
    let mut paths = Vec::new();
    if folder.is_dir() {
        for entry in std::fs::read_dir(&folder).map_err(clinpeft_files::at("list", &folder))? {
            paths.push(entry.map_err(clinpeft_files::at("list", &folder))?.path().join("run.toml"));
        }
    }
    paths.sort();
    let specs = paths.iter().filter_map(|path| RunSpec::load(path).ok());
    Ok(specs.filter(|spec| matches!(spec.kind, Kind::Adaptation | Kind::Downstream)).collect())
}

/// Columns of the tables.
const COLUMNS: [Task; 5] = [Task::Ventilation, Task::Mortality, Task::LengthOfStay, Task::Diagnoses, Task::Procedures];

/// Writes the report on these runs, whatever has become of them.
pub fn report(store: &Store, runs: &[&RunSpec]) -> Result<Summary> {
    let matrix = Matrix::paper()?;
    let mut plans: Vec<Plan> = Vec::new();
    for rules in [Fidelity::Paper, Fidelity::Code] {
        let part: Vec<&RunSpec> = runs.iter().copied().filter(|r| r.fidelity == rules).collect();
        if part.iter().any(|r| r.kind != Kind::Base) {
            plans.push(tables(&matrix, rules, &part)?);
        }
    }
    // The task sizes of the first preset stand in Table 1.
    let first =
        runs.iter().find(|r| plans.first().is_some_and(|p| p.fidelity == r.fidelity.name()) && r.data.is_some());
    let Some(data) = first.and_then(|r| r.data.clone()) else {
        let what =
            format!("`{}` holds no run of a table\nhint: `clinpeft reproduce` makes them", store.root().display());
        return Err(Error::Options(what));
    };
    let folder = store.data(&data);
    let kind = if folder.join("ceilings.json").exists() { Cohort::Synthetic } else { Cohort::Own };
    // Runs can be shown without the data that they were made from; the report says what it could not read of them.
    let counts = cohort::found(&folder, data).map(|found| found.counts).unwrap_or_default();
    Ok(clinpeft_report::write(store.root(), &plans, kind, &counts)?)
}

/// What a preset's runs fill of the tables. Rows that the matrix does not have follow those that it has.
fn tables(matrix: &Matrix, rules: Fidelity, runs: &[&RunSpec]) -> Result<Plan> {
    let run_of = |row: &Row| runs.iter().any(|r| r.table == Some(row.table) && r.row == row.name);
    let rows = |table: u8| -> Vec<String> {
        let all: Vec<&Row> = matrix.table(table).into_iter().filter(|r| run_of(r)).collect();
        // A table that only repeats rows of others is left out.
        let own = all.iter().any(|r| r.table == table);
        let mut names: Vec<String> = all.into_iter().filter(|_| own).map(|r| r.name.clone()).collect();
        for run in runs.iter().filter(|r| r.table == Some(table)) {
            if !names.contains(&run.row) {
                names.push(run.row.clone());
            }
        }
        names
    };
    let seeds: BTreeSet<u64> = runs.iter().filter(|r| r.table.is_some()).map(|r| r.seed).collect();
    let folders: Result<BTreeSet<String>> =
        runs.iter().filter(|r| r.kind != Kind::Base).map(|r| r.folder_name()).collect();
    let has = |task: &Task| runs.iter().any(|r| r.task == Some(*task));
    Ok(Plan {
        fidelity: rules.name().into(),
        table2: rows(2),
        table3: rows(3),
        table4: rows(4),
        tasks: COLUMNS.iter().filter(|t| has(t)).map(ToString::to_string).collect(),
        seeds: seeds.into_iter().collect(),
        folders: Some(folders?),
    })
}
