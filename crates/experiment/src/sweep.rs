//! Search over settings: trials that see the validation split only, and what is chosen from them.
//!
//! A trial is a downstream run without a test evaluation, under a seed of its own. Every row of a table gets the same number of
//! trials, and the settings with the highest validation AUROC, averaged over the search's tasks, become the row's [`RowChoice`].

use crate::data::dataset;
use crate::data::inputs_dir::Inputs;
use crate::error::{Error, Result};
use crate::events::{ProgressEvent, RunEnd};
use crate::launch::{Launcher, launch};
use crate::plan::filter::RowFilter;
use crate::plan::missing::check_inputs;
use crate::plan::planned::PlannedRun;
use crate::plan::{PlanContext, plan};
use crate::profiles::choices::{RowChoice, SweepResult, Trial};
use crate::profiles::search_space::Search;
use crate::profiles::{Adaptations, Matrix, Part, Profile};
use crate::spec::overrides::{Overrides, with};
use crate::spec::{Base, Kind, RunSpec};
use crate::store::Store;
use clinpeft_clinical::prepare::Fidelity;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

/// The choices in the order of the matrix, with those that rows take over.
fn with_taken_over(search: &Search, choices: Vec<RowChoice>) -> Result<Vec<RowChoice>> {
    let mut all = Vec::new();
    for row in Matrix::paper()?.row {
        let of = |name: &str| choices.iter().find(|c| c.table == row.table && c.name == name).cloned();
        all.extend(match search.takes_over(&row.name) {
            None => of(&row.name),
            Some(from) => {
                of(&from).map(|c| RowChoice { name: row.name.clone(), taken_from: Some(from), trial: vec![], ..c })
            }
        });
    }
    Ok(all)
}

/// One run of the search: a trial, or something that trials need.
struct Tried {
    run: PlannedRun,
    values: Option<Overrides>,
}

/// The tables whose trials run together: what is chosen for adaptations is used by the tasks' trials.
const STAGES: [&[u8]; 2] = [&[2], &[3, 4]];

/// All runs of a stage; those of a task's row and its points are as many as there are tasks.
fn trials(
    profile: &Profile,
    common: &PlanContext,
    only: &RowFilter,
    search: &Search,
    stage: &[u8],
) -> Result<Vec<Tried>> {
    let mut all = Vec::new();
    let mut budgets: BTreeMap<u8, (usize, String)> = BTreeMap::new();
    let every = Part { rules: common.fidelity, adaptations: Adaptations::All, bases: vec![], rows: vec![] };
    for run in plan(profile, &every, &Matrix::paper()?, common, only)? {
        let table = run.spec.table.unwrap_or(0);
        if !stage.contains(&table) {
            all.push(Tried { run, values: None });
            continue;
        }
        // A bag of words chooses its C itself.
        if search.takes_over(&run.spec.row).is_some() || matches!(run.spec.base, Base::BagOfWords(_)) {
            continue;
        }
        let points = search.points((table, &run.spec.row))?;
        let (budget, first) = budgets.entry(table).or_insert((points.len(), run.spec.row.clone()));
        if *budget != points.len() {
            return Err(Error::Options(format!(
                "row `{}` has {} trials, `{first}` has {budget}\nhint: the rows of a table get equal budgets",
                run.spec.row,
                points.len()
            )));
        }
        for values in points {
            let spec = RunSpec { kind: Kind::Trial, ..with(&run.spec, &values)? };
            let run = PlannedRun { name: spec.folder_name()?, spec, needs: run.needs.clone() };
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

/// Runs the trials that are not done, and chooses. What was chosen before for rows that are left out is kept.
pub fn search(
    store: &Store,
    (name, search): (&str, &Search),
    (inputs, only): (&Inputs, &RowFilter),
    launcher: &Launcher<'_>,
    on_event: &mut dyn FnMut(ProgressEvent<'_>),
) -> Result<SweepResult> {
    let mut profile = Profile { tasks: search.tasks.clone(), ..Profile::named(name)? };
    if profile.seeds.contains(&search.seed) {
        return Err(Error::Options(format!("seed {} is one of the reported seeds of `{name}`", search.seed)));
    }
    let wanted = |table: u8| only.tables.is_empty() || only.tables.contains(&table);
    profile.choices.rules = vec![Fidelity::Paper];
    check_inputs(&profile, inputs, &[])?;
    let _alone = clinpeft_files::lock(store.root())?;
    store.sweep();
    let shared = std::cell::RefCell::new(on_event);
    let progress = |event: ProgressEvent<'_>| (*shared.borrow_mut())(event);
    let ready = dataset::ready(store, &profile.data, Fidelity::Paper, inputs, &progress)?;
    let common = PlanContext::new(&ready, Fidelity::Paper, inputs, vec![search.seed]);
    let on_event = shared.into_inner();
    for stage in STAGES {
        let tables: Vec<u8> =
            stage.iter().copied().filter(|t| wanted(*t) && search.space.iter().any(|s| s.table == *t)).collect();
        let only = RowFilter { tables: tables.clone(), ..only.clone() };
        if tables.is_empty() {
            continue;
        }
        let tried = trials(&profile, &common, &only, search, &tables)?;
        run_all(store, &tried, launcher, on_event)?;
        for choice in choose(store, &tried)? {
            profile.choices.row.retain(|c| (c.table, &c.name) != (choice.table, &choice.name));
            profile.choices.row.push(choice);
        }
        profile.choices.row = with_taken_over(search, std::mem::take(&mut profile.choices.row))?;
    }
    Ok(profile.choices)
}

fn run_all(
    store: &Store,
    tried: &[Tried],
    launcher: &Launcher<'_>,
    on_event: &mut dyn FnMut(ProgressEvent<'_>),
) -> Result<()> {
    let runs: Vec<PlannedRun> = tried.iter().map(|t| t.run.clone()).collect();
    on_event(ProgressEvent::Plan(&runs));
    let ends = launch(store, &runs, launcher, on_event)?;
    if launcher.stop.load(Ordering::Relaxed) {
        return Err(Error::Stopped);
    }
    for run in &runs {
        if let Some(RunEnd::Failed(e)) = ends.get(&run.name) {
            return Err(Error::Options(format!("trial `{}` failed: {e}", run.name)));
        }
    }
    Ok(())
}

/// What a trial reports.
#[derive(Deserialize)]
struct Scored {
    validation_score: f64,
}

fn choose(store: &Store, tried: &[Tried]) -> Result<Vec<RowChoice>> {
    let mut choices: Vec<RowChoice> = Vec::new();
    for Tried { run, values } in tried {
        let (Some(values), Some(table)) = (values, run.spec.table) else { continue };
        let scored: Scored = clinpeft_files::read_json(&store.run(&run.name).file("result.json"))?;
        let same = |t: &RunSpec| t.row == run.spec.row && t.table == run.spec.table;
        let tasks = tried.iter().filter(|t| same(&t.run.spec) && t.values.as_ref() == Some(values)).count();
        let share = scored.validation_score / tasks as f64;
        let place = choices.iter().position(|c| c.table == table && c.name == run.spec.row).unwrap_or_else(|| {
            let name = run.spec.row.clone();
            choices.push(RowChoice {
                table,
                name,
                task: None,
                taken_from: None,
                values: Overrides::new(),
                trial: vec![],
            });
            choices.len() - 1
        });
        match choices[place].trial.iter_mut().find(|t| t.values == *values) {
            Some(trial) => trial.score += share,
            None => choices[place].trial.push(Trial { score: share, values: values.clone() }),
        }
    }
    for choice in &mut choices {
        let best = choice.trial.iter().max_by(|a, b| a.score.total_cmp(&b.score));
        choice.values = best.map(|t| t.values.clone()).unwrap_or_default();
    }
    Ok(choices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profiles::search_named;
    use crate::profiles::search_space::Strategy;
    use clinpeft_clinical::Task;

    fn common() -> PlanContext {
        PlanContext {
            data: "d".into(),
            data_hash: "h".into(),
            data_rules: BTreeMap::new(),
            fidelity: Fidelity::Paper,
            inputs: "inputs".into(),
            seeds: vec![1],
        }
    }

    fn tried(search: &Search, tables: &[u8]) -> Result<Vec<Tried>> {
        let only = RowFilter { words: vec!["mortality".into()], tables: tables.to_vec() };
        trials(&Profile::named("demo").unwrap(), &common(), &only, search, tables)
    }

    #[test]
    fn searches_built_in_cover_every_row_with_equal_budgets() {
        for name in ["smoke", "demo", "paper"] {
            let (search, profile) = (search_named(name).unwrap(), Profile::named(name).unwrap());
            for tables in STAGES {
                let only = RowFilter { words: vec!["mortality".into()], tables: tables.to_vec() };
                let all = trials(&profile, &common(), &only, &search, tables).unwrap();
                let tried: Vec<_> = all.iter().filter(|t| t.values.is_some()).collect();
                assert!(tried.iter().all(|t| t.run.spec.kind == Kind::Trial));
                for row in Matrix::paper().unwrap().row.iter().filter(|r| r.published && tables.contains(&r.table)) {
                    let own = tried.iter().any(|t| t.run.spec.row == row.name);
                    assert_ne!(own, search.takes_over(&row.name).is_some(), "{name}: {}", row.name);
                }
                // Bases and adaptations that trials need; nothing else.
                let needed = |t: &Tried| all.iter().any(|o| o.run.needs.contains(&t.run.name));
                assert!(all.iter().filter(|t| t.values.is_none()).all(needed));
            }
        }
    }

    #[test]
    fn rows_take_over_choices_of_the_same_table() {
        let search = search_named("demo").unwrap();
        let choice = |table, name: &str, rate: f64| RowChoice {
            table,
            name: name.into(),
            task: None,
            taken_from: None,
            values: Overrides::from([("training.learning_rate".to_string(), toml::Value::Float(rate))]),
            trial: vec![Trial { score: 0.5, values: Overrides::new() }],
        };
        let all = vec![choice(2, "LLaMA + LoRA", 0.2), choice(3, "LLaMA + LoRA", 0.3)];
        let all = with_taken_over(&search, all).unwrap();
        let pmc: Vec<_> = all.iter().filter(|c| c.name == "PMC-LLaMA + LoRA").collect();
        assert_eq!(pmc.iter().map(|c| c.table).collect::<Vec<_>>(), [2, 3]);
        for c in pmc {
            assert_eq!(c.values["training.learning_rate"].as_float(), Some(f64::from(c.table) / 10.0));
            assert!(c.trial.is_empty() && c.taken_from.as_deref() == Some("LLaMA + LoRA"));
        }
        assert_eq!(with_taken_over(&search, all.clone()).unwrap(), all, "once more changes nothing");
    }

    #[test]
    fn unequal_budgets_are_an_error() {
        let mut search = search_named("demo").unwrap();
        let bert = search.space.iter_mut().find(|s| s.table == 3).unwrap();
        bert.strategy = Strategy::Random(1);
        let Err(e) = tried(&search, &[3]) else { panic!("must fail") };
        assert!(e.to_string().contains("equal budgets"), "{e}");
    }

    #[test]
    fn random_points_are_points_of_the_grid_without_repetition() {
        let mut search = search_named("demo").unwrap();
        let grid = search.points((3, "LLaMA")).unwrap();
        search.space.iter_mut().for_each(|s| s.strategy = Strategy::Random(3));
        let drawn = search.points((3, "LLaMA")).unwrap();
        assert_eq!(drawn.len(), 3);
        assert!(drawn.iter().enumerate().all(|(i, p)| grid.contains(p) && !drawn[..i].contains(p)));
    }

    #[test]
    fn choice_changes_its_row_of_its_table_under_its_rules() {
        let all = tried(&search_named("demo").unwrap(), &[3]).unwrap();
        let spec = &all.iter().find(|t| t.run.spec.row == "LLaMA + LoRA" && t.values.is_some()).unwrap().run.spec;
        let values = Overrides::from([
            ("training.epochs".to_string(), toml::Value::Integer(77)),
            ("stack.downstream.adapter.r".to_string(), toml::Value::Integer(3)),
        ]);
        let choices = |rules: &[Fidelity], table, name: &str, task| {
            let (name, values) = (name.to_string(), values.clone());
            let row = vec![RowChoice { table, name, task, taken_from: None, values, trial: vec![] }];
            SweepResult { rules: rules.to_vec(), row }.apply(spec.clone()).unwrap()
        };
        for task in [None, Some(Task::Mortality)] {
            let changed = choices(&[Fidelity::Paper], 3, "LLaMA + LoRA", task);
            assert_eq!(changed.training.epochs, 77);
            assert!(changed.text().unwrap().contains("r = 3"));
        }
        assert_eq!(choices(&[Fidelity::Paper], 3, "LLaMA", None), *spec);
        assert_eq!(choices(&[Fidelity::Paper], 2, "LLaMA + LoRA", None), *spec);
        assert_eq!(choices(&[Fidelity::Paper], 3, "LLaMA + LoRA", Some(Task::Diagnoses)), *spec);
        assert_eq!(choices(&[Fidelity::Code], 3, "LLaMA + LoRA", None), *spec);
    }

    #[test]
    fn unknown_place_is_named() {
        let all = tried(&search_named("demo").unwrap(), &[3]).unwrap();
        let values = Overrides::from([("training.learning_rte".to_string(), toml::Value::Float(0.1))]);
        let e = with(&all.last().unwrap().run.spec, &values).unwrap_err().to_string();
        assert!(e.contains("training.learning_rte"), "{e}");
    }

    #[test]
    fn an_optional_setting_that_is_not_set_yet_can_be_set() {
        let all = tried(&search_named("demo").unwrap(), &[3]).unwrap();
        let values = Overrides::from([("training.clip".to_string(), toml::Value::Float(0.5))]);
        let changed = with(&all.last().unwrap().run.spec, &values).unwrap();
        assert!(changed.text().unwrap().contains("clip = 0.5"));
    }
}
