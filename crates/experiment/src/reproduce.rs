//! The whole matrix: data, runs, report.

use crate::data::dataset::{self, DatasetInfo};
use crate::data::inputs_dir::Inputs;
use crate::error::{Error, Result};
use crate::events::{ProgressEvent, RunEnd};
use crate::launch::{Launcher, launch};
use crate::plan::filter::RowFilter;
use crate::plan::missing::check_inputs;
use crate::plan::planned::PlannedRun;
use crate::plan::{PlanContext, plan};
use crate::profiles::{Data, Matrix, Part, Profile};
use crate::report::report;
use crate::spec::overrides::{Overrides, with};
use crate::spec::{Kind, RunSpec};
use crate::store::Store;
use clinpeft_clinical::prepare::Fidelity;
use clinpeft_report::Summary;
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
    pub only: RowFilter,
    /// Presets of the rules, each with every row; if empty, those of the profile with its rows.
    pub fidelities: Vec<Fidelity>,
    /// Models and raw data that a person brings.
    pub inputs: Inputs,
    /// Settings that differ from the profile's, by their place in `run.toml`; a run without that place is as before.
    pub set: Overrides,
    /// Threads for everything.
    pub threads: usize,
    /// Name of the device for every run.
    pub device: &'a str,
}

/// The runs, without running them, and the profile that they come from.
///
/// Data that the program makes are made; real data are planned for as they are, prepared or not.
pub fn dry_run(
    store: &Store,
    options: &Options<'_>,
    on_event: &mut dyn FnMut(ProgressEvent<'_>),
) -> Result<(Profile, Vec<PlannedRun>)> {
    let profile = Profile::named(options.profile)?;
    let shared = std::cell::RefCell::new(on_event);
    let progress = |event: ProgressEvent<'_>| (*shared.borrow_mut())(event);
    let runs = runs(&profile, options, |part| match &profile.data {
        Data::Synthetic { .. } => dataset::ready(store, &profile.data, part.rules, &options.inputs, &progress),
        Data::Mimic { .. } => dataset::planned(store, &profile.data, part.rules, &options.inputs),
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
    on_event: &mut dyn FnMut(ProgressEvent<'_>),
) -> Result<Summary> {
    let profile = Profile::named(options.profile)?;
    if let Data::Mimic { .. } = profile.data {
        let planned = |part: &Part| dataset::planned(store, &profile.data, part.rules, &options.inputs);
        check_inputs(&profile, &options.inputs, &runs(&profile, options, planned)?)?;
    }
    let _alone = clinpeft_files::lock(store.root())?;
    clinpeft_report::refuse_foreign(store.root())?;
    store.sweep();
    let runs = {
        let shared = std::cell::RefCell::new(&mut *on_event);
        let progress = |event: ProgressEvent<'_>| (*shared.borrow_mut())(event);
        runs(&profile, options, |part| dataset::ready(store, &profile.data, part.rules, &options.inputs, &progress))?
    };
    on_event(ProgressEvent::Plan(&runs));
    let launcher = Launcher { program, threads: options.threads, device: options.device, stop };
    let ends = launch(store, &runs, &launcher, on_event)?;
    if stop.load(Ordering::Relaxed) {
        return Err(Error::Stopped);
    }
    let specs: Vec<&RunSpec> = runs.iter().map(|run| &run.spec).collect();
    let summary = report(store, &specs)?;
    let mut lost = runs.iter().filter_map(|r| match ends.get(&r.name) {
        Some(RunEnd::Failed(e)) => Some(format!("{}: {}", r.name, e.lines().next().unwrap_or_default())),
        _ => None,
    });
    match lost.next() {
        None => Ok(summary),
        Some(first) => Err(Error::Failed { failed: 1 + lost.count(), total: runs.len(), first }),
    }
}

/// The runs of all parts; what two parts share is there once.
fn runs(
    profile: &Profile,
    options: &Options<'_>,
    mut ready: impl FnMut(&Part) -> Result<DatasetInfo>,
) -> Result<Vec<PlannedRun>> {
    let seeds = if options.seeds.is_empty() { &profile.seeds } else { &options.seeds };
    let matrix = Matrix::paper()?;
    let mut runs: Vec<PlannedRun> = Vec::new();
    for part in profile.parts(&options.fidelities) {
        let common: PlanContext = PlanContext::new(&ready(&part)?, part.rules, &options.inputs, seeds.clone());
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
fn changed(mut runs: Vec<PlannedRun>, set: &Overrides) -> Result<Vec<PlannedRun>> {
    let mut names = BTreeMap::new();
    let mut unused: BTreeSet<&String> = set.keys().collect();
    for run in &mut runs {
        run.spec.rename_runs(&names);
        let made_here = run.spec.kind == Kind::Base;
        for (place, value) in set.iter().filter(|_| !made_here) {
            // A row without that place stays as it is.
            if let Ok(spec) = with(&run.spec, &Overrides::from([(place.clone(), value.clone())])) {
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
