//! What the report computes from the predictions of one fidelity: resamples by patient, calibration, curves.
//!
//! Patients are drawn from all patients of all tasks, so resample `i` of one cell and resample `i` of another hold the same
//! people: differences and macro averages are taken resample by resample.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;

use clinpeft_metrics::{
    Bootstrap, Calibration, Curves, Population, Resampled, at_temperature, auroc_resampled, curves, reliability,
    temperature,
};
use clinpeft_rng::Seed;

use crate::plan::Plan;
use crate::predictions::{Labels, Predictions};
use crate::store::{Key, Run, State, Store};

/// The report's own draws; the runs' intervals have theirs.
pub(crate) const BOOTSTRAP: Bootstrap = Bootstrap { resamples: 1000, level: 0.95, seed: Seed(1988) };

/// Draws of the bands of curves, which are wide enough to be read off a picture.
const BANDS: Bootstrap = Bootstrap { resamples: 200, ..BOOTSTRAP };

/// Grid of the curves.
const POINTS: usize = 101;

/// Bins of the reliability curves.
pub(crate) const BINS: NonZeroUsize = NonZeroUsize::new(10).expect("10 is not 0");

/// What one run's predictions give.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) ids: Vec<u64>,
    pub(crate) auroc: Resampled,
    /// Kept for a test without resampling.
    pub(crate) binary: Option<Binary>,
    pub(crate) curves: Curves,
    /// `None` where the scores are no probabilities of their labels.
    pub(crate) calibration: Option<Calibrated>,
}

/// A binary task.
#[derive(Debug)]
pub(crate) struct Binary {
    pub(crate) labels: Vec<u8>,
    pub(crate) scores: Vec<f32>,
    pub(crate) subjects: Vec<u64>,
}

/// Test calibration, before and after a temperature that the validation split chose.
#[derive(Debug)]
pub(crate) struct Calibrated {
    pub(crate) before: Calibration,
    /// Temperature and calibration with it; `None` without validation predictions.
    pub(crate) after: Option<(f64, Calibration)>,
}

/// All runs of one fidelity that have predictions.
#[derive(Debug, Default)]
pub(crate) struct Analysis {
    cells: BTreeMap<Key, Measured>,
    /// Folder and reason, in one line.
    pub(crate) problems: Vec<(String, String)>,
}

impl Analysis {
    /// Reads the predictions of every planned cell.
    pub(crate) fn new(store: &Store, plan: &Plan) -> Self {
        let mut found = Self::default();
        let runs: Vec<&Run> = planned(store, plan).collect();
        let path = |run: &Run| run.path.join(FILE);
        let mut patients = Vec::new();
        let mut first_key = None;
        for run in &runs {
            match Predictions::read_subjects(&path(run)) {
                Ok((key, subjects)) if *first_key.get_or_insert_with(|| key.clone()) == key => {
                    patients.extend(subjects)
                }
                // Patients of two keys would be taken for other people.
                Ok(_) => {
                    let why =
                        "its ids have another key than those of the first run; remove the folder and run it again";
                    found.problems.push((run.folder.clone(), why.into()));
                }
                Err(error) if path(run).exists() => found.problems.push((run.folder.clone(), one_line(&error))),
                Err(_) => found.problems.push((run.folder.clone(), format!("no {FILE}"))),
            }
        }
        let population = Population::new(patients);
        for run in &runs {
            if found.problems.iter().any(|(folder, _)| *folder == run.folder) {
                continue;
            }
            match measure(&run.path, &population, bands(&runs, run)) {
                Ok(measured) => {
                    found.cells.insert(run.key.clone(), measured);
                }
                Err(error) => found.problems.push((run.folder.clone(), error)),
            }
        }
        found
    }

    /// What the run of a key gives.
    pub(crate) fn get(&self, key: &Key) -> Option<&Measured> {
        self.cells.get(key)
    }
}

/// The percentile interval of a resampled number.
pub(crate) fn interval(resampled: &Resampled) -> Option<(f64, f64)> {
    resampled.estimate(&BOOTSTRAP).interval.map(|i| (i.lo, i.hi))
}

const FILE: &str = "predictions.safetensors";

/// Runs of downstream tasks that are done, newest of each cell.
fn planned<'a>(store: &'a Store, plan: &'a Plan) -> impl Iterator<Item = &'a Run> {
    let rows = plan.downstream_rows().into_iter();
    let cells = rows.flat_map(move |row| plan.tasks.iter().map(move |task| (row, task)));
    let keys = cells.flat_map(move |(row, task)| plan.seeds.iter().map(move |seed| plan.key(row, Some(task), *seed)));
    keys.filter_map(|key| store.find(&key)).filter(|run| run.state == State::Done)
}

/// Bands are drawn for the best run of a task and seed only.
fn bands(runs: &[&Run], run: &Run) -> Bootstrap {
    let score = |run: &Run| run.result.metrics.get("auroc").and_then(|m| m.value).unwrap_or(0.0);
    let rivals = runs.iter().filter(|other| (&other.key.task, other.key.seed) == (&run.key.task, run.key.seed));
    let best = rivals.max_by(|a, b| score(a).total_cmp(&score(b)));
    let is_best = best.is_some_and(|best| best.folder == run.folder);
    Bootstrap { resamples: if is_best { BANDS.resamples } else { 0 }, ..BANDS }
}

fn measure(folder: &Path, population: &Population, bands: Bootstrap) -> Result<Measured, String> {
    let test = Predictions::read(&folder.join(FILE)).map_err(|e| one_line(&e))?;
    let resampled = test.with_labels(|labels| -> clinpeft_metrics::Result<_> {
        let auroc = auroc_resampled(labels, &test.scores, &test.subjects, population, &BOOTSTRAP)?;
        Ok((auroc, curves(labels, &test.scores, &test.subjects, POINTS, &bands)?))
    });
    let (auroc, curves) = resampled.map_err(|e| one_line(&e))?;
    let calibration = calibrate(&test, &folder.join("validation.safetensors"));
    let binary = match &test.labels {
        Labels::Classes(classes) if test.columns == 1 => Some(Binary {
            labels: classes.iter().map(|c| u8::from(*c == 1)).collect(),
            scores: test.scores.clone(),
            subjects: test.subjects.clone(),
        }),
        _ => None,
    };
    Ok(Measured { ids: test.ids, auroc, binary, curves, calibration })
}

/// `None` for what cannot be calibrated: labels that were ranked by a softmax over all of them.
fn calibrate(test: &Predictions, validation: &Path) -> Option<Calibrated> {
    if test.decisions.is_some() {
        return None;
    }
    let before = test.with_labels(|labels| reliability(labels, &test.scores, BINS)).ok()?;
    let chosen = Predictions::read(validation).ok();
    let chosen = chosen.and_then(|v| v.with_labels(|labels| temperature(labels, &v.scores)).ok());
    let after = chosen.and_then(|t| {
        let warmer = test.with_labels(|labels| {
            let scores = at_temperature(labels, &test.scores, t)?;
            reliability(labels, &scores, BINS)
        });
        Some((t, warmer.ok()?))
    });
    Some(Calibrated { before, after })
}

/// The first line of an error without the path of the store.
fn one_line(error: &dyn std::fmt::Display) -> String {
    let text = crate::format::first_line(&error.to_string());
    match text.rsplit_once("`: ") {
        Some((_, what)) => format!("{FILE}: {what}"),
        None => text,
    }
}
