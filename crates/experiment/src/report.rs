//! The report, from run folders alone.

use crate::data::dataset;
use crate::error::{Error, Result};
use crate::profiles::{Matrix, Row};
use crate::spec::{Kind, RunSpec};
use crate::store::Store;
use clinpeft_clinical::Task;
use clinpeft_clinical::prepare::Fidelity;
use clinpeft_report::{Cohort, Plan, Summary};
use std::collections::BTreeSet;

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

/// Columns of the tables in the paper's order. Other tasks follow. A table shows those that have runs.
const PUBLISHED_COLUMNS: [Task; 5] =
    [Task::Ventilation, Task::Mortality, Task::LengthOfStay, Task::Diagnoses, Task::Procedures];

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
    let counts = dataset::found(&folder, data).map(|found| found.counts).unwrap_or_default();
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
    let others: Vec<Task> = Task::ALL.into_iter().filter(|t| !PUBLISHED_COLUMNS.contains(t)).collect();
    let has = |task: &Task| runs.iter().any(|r| r.task == Some(*task));
    Ok(Plan {
        fidelity: rules.name().into(),
        table2: rows(2),
        table3: rows(3),
        table4: rows(4),
        tasks: PUBLISHED_COLUMNS.iter().chain(&others).filter(|t| has(t)).map(ToString::to_string).collect(),
        seeds: seeds.into_iter().collect(),
        folders: Some(folders?),
    })
}
