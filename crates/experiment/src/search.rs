//! Search over settings: trials that see the validation split only, and what is chosen from them.
//!
//! A trial is a downstream run without a test evaluation, under a seed of its own. Every row of a table gets the same number of
//! trials, and the settings with the highest validation AUROC, averaged over the search's tasks, become the row's [`Choice`].

use crate::launch::{Ended, Launcher, launch};
use crate::plan::{Common, Only, Planned, plan};
use crate::reproduce::Heard;
use crate::{Error, Kind, Matrix, Profile, Result, RunSpec, Store, cohort};
use clinpeft_clinical::Progress;
use clinpeft_clinical::Task;
use clinpeft_clinical::prepare::Fidelity;
use clinpeft_rng::{Seed, shuffle};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

/// Settings by their place in `run.toml`, for example `training.learning_rate` or `stack.downstream.adapter.r`.
pub type Values = BTreeMap<String, toml::Value>;

/// What is tried: `datasets/searches/NAME.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// Seed of the trials; none of the reported seeds.
    pub seed: u64,
    /// Tasks whose validation AUROC is averaged.
    pub tasks: Vec<Task>,
    /// What is tried for which rows.
    pub space: Vec<Space>,
}

/// The settings that some rows are tried with.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Space {
    /// Names of rows of the matrix.
    pub rows: Vec<String>,
    /// Which points of the grid.
    pub strategy: Strategy,
    /// All values of each setting.
    pub values: BTreeMap<String, Vec<toml::Value>>,
}

/// Which points of a grid are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// All.
    Grid,
    /// So many, drawn without repetition.
    Random(usize),
}

/// What was chosen: `datasets/searched/NAME.toml`, written by a search.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choices {
    /// By row.
    #[serde(default)]
    pub row: Vec<Choice>,
}

/// What was chosen for one row, and from what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// Name of the row.
    pub name: String,
    /// The settings.
    pub values: Values,
    /// Every trial.
    pub trial: Vec<Trial>,
}

/// One point of a grid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// Mean validation AUROC of the tasks.
    pub validation_auroc: f64,
    /// The settings.
    pub values: Values,
}

impl Choices {
    /// `spec` with what was chosen for its row.
    pub fn apply(&self, spec: RunSpec) -> Result<RunSpec> {
        match self.row.iter().find(|c| c.name == spec.row) {
            Some(choice) => with(&spec, &choice.values),
            None => Ok(spec),
        }
    }

    /// As the text of a file that says how it was made.
    pub fn text(&self, command: &str) -> Result<String> {
        let text = toml::to_string(self).map_err(|e| Error::Options(format!("choices cannot be written: {e}")))?;
        Ok(format!(
            "# Chosen on the validation splits; the test splits were not touched. Written by `{command}`.\n{text}"
        ))
    }
}

/// `spec` with other values at some places of its text.
fn with(spec: &RunSpec, values: &Values) -> Result<RunSpec> {
    let wrong = |e: &dyn std::fmt::Display| Error::Options(format!("row `{}`: {e}", spec.row));
    let mut text = toml::Value::try_from(spec).map_err(|e| wrong(&e))?;
    for (place, value) in values {
        let missing = || {
            wrong(&format!(
                "there is no setting `{place}` in its run\nhint: places are those of run.toml, adapters by name"
            ))
        };
        *place.split('.').try_fold(&mut text, step_into).ok_or_else(missing)? = value.clone();
    }
    text.try_into().map_err(|e| wrong(&e))
}

fn step_into<'a>(value: &'a mut toml::Value, part: &str) -> Option<&'a mut toml::Value> {
    match value {
        toml::Value::Table(table) => table.get_mut(part),
        toml::Value::Array(all) => all.iter_mut().find(|v| v.get("name").and_then(toml::Value::as_str) == Some(part)),
        _ => None,
    }
}

impl Search {
    /// The search of that name.
    pub fn named(name: &str) -> Result<Search> {
        crate::profile::search_named(name)
    }

    /// The points that a row is tried with.
    fn points(&self, row: &str) -> Result<Vec<Values>> {
        let spaces: Vec<&Space> = self.space.iter().filter(|s| s.rows.iter().any(|r| r == row)).collect();
        let [space] = spaces[..] else {
            let what = format!("row `{row}` stands in {} search spaces\nhint: it needs exactly one", spaces.len());
            return Err(Error::Options(what));
        };
        let mut points = vec![Values::new()];
        for (place, values) in &space.values {
            let extend = |p: &Values| {
                let one = |v: &toml::Value| {
                    let mut p = p.clone();
                    p.insert(place.clone(), v.clone());
                    p
                };
                values.iter().map(one).collect::<Vec<_>>()
            };
            points = points.iter().flat_map(extend).collect();
        }
        if let Strategy::Random(trials) = space.strategy {
            // The same draw for all rows of a space, so that they see the same points.
            shuffle(&mut points, &mut Seed(self.seed).stream("search"));
            points.truncate(trials);
        }
        Ok(points)
    }
}

/// One run of the search: a trial, or something that trials need.
struct Tried {
    run: Planned,
    values: Option<Values>,
}

/// All runs of a search; those of a row and its points are as many as there are tasks.
fn trials(profile: &Profile, matrix: &Matrix, common: &Common, only: &Only, search: &Search) -> Result<Vec<Tried>> {
    let mut all = Vec::new();
    let mut budgets: BTreeMap<u8, (usize, String)> = BTreeMap::new();
    for run in plan(profile, matrix, common, only)? {
        if run.spec.kind != Kind::Downstream {
            all.push(Tried { run, values: None });
            continue;
        }
        let points = search.points(&run.spec.row)?;
        let (budget, first) =
            budgets.entry(run.spec.table.unwrap_or(0)).or_insert((points.len(), run.spec.row.clone()));
        if *budget != points.len() {
            return Err(Error::Options(format!(
                "row `{}` has {} trials, `{first}` has {budget}\nhint: the rows of a table get equal budgets",
                run.spec.row,
                points.len()
            )));
        }
        for values in points {
            let spec = RunSpec { kind: Kind::Trial, ..with(&run.spec, &values)? };
            let run = Planned { name: spec.folder_name()?, spec, needs: run.needs.clone() };
            all.push(Tried { run, values: Some(values) });
        }
    }
    // From the last to the first, so that what a needed run needs is kept too.
    let mut needed: BTreeSet<String> = BTreeSet::new();
    let mut kept: Vec<Tried> = Vec::new();
    for tried in all.into_iter().rev() {
        if tried.values.is_some() || needed.contains(&tried.run.name) {
            needed.extend(tried.run.needs.iter().cloned());
            kept.push(tried);
        }
    }
    kept.reverse();
    Ok(kept)
}

/// Runs the trials that are not done, and chooses.
pub fn search(
    store: &Store,
    (name, search): (&str, &Search),
    only: &Only,
    launcher: &Launcher<'_>,
    hear: &mut dyn FnMut(Heard<'_>),
) -> Result<Choices> {
    let profile = Profile { choices: Choices::default(), tasks: search.tasks.clone(), ..Profile::named(name)? };
    if profile.seeds.contains(&search.seed) {
        return Err(Error::Options(format!("seed {} is one of the reported seeds of `{name}`", search.seed)));
    }
    let heard = std::cell::RefCell::new(hear);
    let progress = |p: Progress| (*heard.borrow_mut())(Heard::Cohort(p));
    let ready = cohort::ready(store, &profile, Fidelity::Paper, &progress)?;
    let common = ready.common(Fidelity::Paper, vec![search.seed]);
    let tried = trials(&profile, &Matrix::paper()?, &common, only, search)?;
    let runs: Vec<Planned> = tried.iter().map(|t| t.run.clone()).collect();
    let hear = heard.into_inner();
    hear(Heard::Plan(&runs));
    let ends = launch(store, &runs, launcher, &mut |news| hear(Heard::Run(news)))?;
    if launcher.stop.load(Ordering::Relaxed) {
        return Err(Error::Stopped);
    }
    for run in &runs {
        if let Some(Ended::Failed(e)) = ends.get(&run.name) {
            return Err(Error::Options(format!("trial `{}` failed: {e}", run.name)));
        }
    }
    choose(store, &tried)
}

/// What a trial reports.
#[derive(Deserialize)]
struct Scored {
    validation_score: f64,
}

fn choose(store: &Store, tried: &[Tried]) -> Result<Choices> {
    let mut choices = Choices::default();
    for Tried { run, values } in tried {
        let Some(values) = values else { continue };
        if choices.row.iter().all(|c| c.name != run.spec.row) {
            choices.row.push(Choice { name: run.spec.row.clone(), values: Values::new(), trial: vec![] });
        }
        let scored: Scored = clinpeft_files::read_json(&store.run(&run.name).file("result.json"))?;
        // The row was pushed above.
        let Some(choice) = choices.row.iter_mut().find(|c| c.name == run.spec.row) else { continue };
        let same = |t: &RunSpec| t.row == run.spec.row;
        let tasks = tried.iter().filter(|t| same(&t.run.spec) && t.values.as_ref() == Some(values)).count();
        let share = scored.validation_score / tasks as f64;
        match choice.trial.iter_mut().find(|t| t.values == *values) {
            Some(trial) => trial.validation_auroc += share,
            None => choice.trial.push(Trial { validation_auroc: share, values: values.clone() }),
        }
    }
    for choice in &mut choices.row {
        let best = choice.trial.iter().max_by(|a, b| a.validation_auroc.total_cmp(&b.validation_auroc));
        choice.values = best.map(|t| t.values.clone()).unwrap_or_default();
    }
    Ok(choices)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn common() -> Common {
        Common {
            data: "d".into(),
            data_hash: "h".into(),
            data_rules: BTreeMap::new(),
            fidelity: Fidelity::Paper,
            seeds: vec![1],
        }
    }

    fn tried(search: &Search) -> Result<Vec<Tried>> {
        let only = Only { words: vec!["mortality".into()], ..Only::default() };
        trials(&Profile::named("demo").unwrap(), &Matrix::paper().unwrap(), &common(), &only, search)
    }

    #[test]
    fn searches_built_in_cover_their_rows_with_equal_budgets() {
        for name in ["smoke", "demo"] {
            let all = tried(&Search::named(name).unwrap()).unwrap();
            assert!(all.iter().filter(|t| t.values.is_some()).all(|t| t.run.spec.kind == Kind::Trial));
            assert!(all.iter().any(|t| t.values.is_some()));
            let others: Vec<Kind> = all.iter().filter(|t| t.values.is_none()).map(|t| t.run.spec.kind).collect();
            assert_eq!(others, [Kind::Base, Kind::Adaptation], "what no trial needs is not run");
        }
    }

    #[test]
    fn unequal_budgets_are_an_error() {
        let mut search = Search::named("demo").unwrap();
        search.space[0].strategy = Strategy::Random(1);
        let Err(e) = tried(&search) else { panic!("must fail") };
        assert!(e.to_string().contains("equal budgets"), "{e}");
    }

    #[test]
    fn random_points_are_points_of_the_grid_without_repetition() {
        let mut search = Search::named("demo").unwrap();
        let grid = search.points("LLaMA").unwrap();
        search.space[0].strategy = Strategy::Random(3);
        let drawn = search.points("LLaMA").unwrap();
        assert_eq!(drawn.len(), 3);
        assert!(drawn.iter().enumerate().all(|(i, p)| grid.contains(p) && !drawn[..i].contains(p)));
    }

    #[test]
    fn choice_changes_its_row_and_no_other() {
        let all = tried(&Search::named("demo").unwrap()).unwrap();
        let spec = &all.iter().find(|t| t.run.spec.row == "LLaMA + LoRA" && t.values.is_some()).unwrap().run.spec;
        let values = Values::from([
            ("training.epochs".to_string(), toml::Value::Integer(77)),
            ("stack.downstream.adapter.r".to_string(), toml::Value::Integer(3)),
        ]);
        let choice = |name: &str| Choice { name: name.into(), values: values.clone(), trial: vec![] };
        let changed = Choices { row: vec![choice("LLaMA + LoRA")] }.apply(spec.clone()).unwrap();
        assert_eq!(changed.training.epochs, 77);
        assert!(changed.text().unwrap().contains("r = 3"));
        assert_eq!(Choices { row: vec![choice("LLaMA")] }.apply(spec.clone()).unwrap(), *spec);
    }

    #[test]
    fn unknown_place_is_named() {
        let all = tried(&Search::named("demo").unwrap()).unwrap();
        let values = Values::from([("training.learning_rte".to_string(), toml::Value::Float(0.1))]);
        let e = with(&all.last().unwrap().run.spec, &values).unwrap_err().to_string();
        assert!(e.contains("training.learning_rte"), "{e}");
    }
}
