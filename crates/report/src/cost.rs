//! What each row cost.

use crate::format::{duration, mebibytes, thousands};
use crate::series::Cell;
use crate::store::{Run, State};
use crate::tables::{Section, View};

impl View<'_, '_> {
    /// Adds the cost table.
    pub(crate) fn cost(&mut self) {
        let mut section = Section {
            title: "Cost".into(),
            caption: format!(
                "Sums over the tasks and seeds that are done; memory is the greatest. Fidelity: {}.",
                self.fidelity
            ),
            columns: ["model", "runs", "trainable parameters", "time", "peak memory", "tokens"]
                .map(String::from)
                .to_vec(),
            ..Section::default()
        };
        for row in &self.plan.table2 {
            let cells = self.cost_row(row, &[None]);
            section.rows.push((format!("Table 2: {row}"), cells));
        }
        let tasks: Vec<Option<&str>> = self.plan.tasks.iter().map(|t| Some(t.as_str())).collect();
        for row in self.downstream_rows() {
            let cells = self.cost_row(row, &tasks);
            section.rows.push((row.to_owned(), cells));
        }
        self.document.sections.push(section);
    }

    fn cost_row(&self, row: &str, tasks: &[Option<&str>]) -> Vec<Cell> {
        let planned = tasks.len() * self.plan.seeds.len();
        let found: Vec<&Run> = tasks
            .iter()
            .flat_map(|task| self.plan.seeds.iter().map(move |seed| (*task, *seed)))
            .filter_map(|(task, seed)| self.store.find(&self.key(row, task, seed)))
            .collect();
        let failed = found.iter().filter(|run| matches!(run.state, State::Failed(_))).count();
        let runs: Vec<&Run> = found.into_iter().filter(|run| run.state == State::Done).collect();
        let state = match (runs.len(), failed) {
            (0, 0) => "missing",
            (0, _) => "failed",
            _ => "done",
        };
        let cost = |pick: fn(&Run) -> Option<f64>, show: &dyn Fn(&[f64]) -> String| {
            let values: Vec<f64> = runs.iter().filter_map(|run| pick(run)).collect();
            match values.as_slice() {
                [] if state == "done" => Cell::text("missing"),
                [] => Cell { state, ..Cell::text(state) },
                values => Cell::text(show(values)),
            }
        };
        let count = match failed {
            0 => format!("{} of {planned}", runs.len()),
            _ => format!("{} of {planned}, {failed} failed", runs.len()),
        };
        vec![
            Cell::text(count),
            cost(|run| run.result.trainable_parameters, &range),
            cost(|run| run.result.seconds, &|v| duration(v.iter().sum())),
            cost(|run| run.result.peak_memory_mib, &|v| mebibytes(most(v))),
            cost(|run| run.result.tokens, &|v| thousands(v.iter().sum())),
        ]
    }
}

fn most(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

/// Heads differ in size from task to task.
fn range(values: &[f64]) -> String {
    let (from, to) = (values.iter().copied().fold(f64::INFINITY, f64::min), most(values));
    if from < to {
        return format!("{}–{}", thousands(from), thousands(to));
    }
    thousands(to)
}
