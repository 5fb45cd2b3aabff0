//! Table 5: the rows under both fidelities side by side, and what the second adapter adds under each.

use crate::compare::Cells;
use crate::document::{Cell, Document, Section};
use crate::format::{hundredfold, points};
use crate::published::Published;
use crate::series::{Series, metric};
use crate::store::Store;

const SECOND: &str = " + Downstream LLaMA-LoRA";

/// Adds both parts, if there are several plans: the rows that all of them have.
pub(crate) fn table5(document: &mut Document, store: &Store, all: &[Cells<'_>], published: &Published) {
    let Some(plan) = all.first().filter(|_| all.len() > 1).map(|cells| cells.plan) else { return };
    let names: Vec<&str> = all.iter().map(|cells| cells.plan.fidelity.as_str()).collect();
    let mut columns = plan.task_columns();
    columns.push("macro average".into());
    let tasks: Vec<Option<&str>> = plan.tasks.iter().map(|t| Some(t.as_str())).chain([None]).collect();

    let mut sides = Section {
        title: "Table 5. The same rows under both fidelities".into(),
        caption: format!(
            "AUROC x 100, {}. Paper: as the paper describes it, with a second adapter that takes part; code: as the published \
             code behaves, where it never does.{}",
            names.join(" | "),
            document.models
        ),
        columns: columns.clone(),
        ..Section::default()
    };
    let shared = |row: &str| all.iter().all(|cells| cells.plan.downstream_rows().contains(&row));
    for row in plan.downstream_rows().into_iter().filter(|row| shared(row)) {
        let cell = |task: &Option<&str>| side_by_side(store, all, row, *task);
        sides.rows.push((row.to_owned(), tasks.iter().map(cell).collect()));
    }
    document.sections.push(sides);

    let mut added = Section {
        title: "Table 5b. What the second adapter adds".into(),
        caption: "Difference in AUROC x 100 of the row with the downstream adapter and the same row without it [95% \
                  interval, the same patients in both rows: DeLong by patient where the task is binary, paired bootstrap \
                  elsewhere]. Where the second adapter does not take part, nothing is added but what another draw of the \
                  head adds. Not corrected for the number of comparisons."
            .into(),
        columns,
        ..Section::default()
    };
    for with in plan.table3.iter().filter(|row| row.ends_with(SECOND)) {
        let without = with.trim_end_matches(SECOND);
        if !shared(with) || !shared(without) {
            continue;
        }
        for cells in all {
            let one = |task: &Option<&str>| match cells.difference(with, without, *task) {
                Some((difference, _)) => {
                    let (lo, hi) = difference.interval();
                    let detail = format!("[{}, {}]", points(lo), points(hi));
                    Cell { detail, ..Cell::text(points(difference.value)) }
                }
                None => Cell { state: "missing", ..Cell::text("missing") },
            };
            added.rows.push((format!("{without}, {}", cells.plan.fidelity), tasks.iter().map(one).collect()));
        }
        let paper = published.scores("3", with).zip(published.scores("3", without));
        let one = |task: &Option<&str>| {
            let of = |scores: &crate::published::Scores| match task {
                Some(task) => scores.tasks.get(*task).copied(),
                None => (scores.tasks.len() == plan.tasks.len()).then_some(scores.macro_recomputed),
            };
            let both = paper.as_ref().and_then(|(with, without)| of(with).zip(of(without)));
            Cell::text(both.map_or_else(|| "–".into(), |(with, without)| points(with - without)))
        };
        added.rows.push((format!("{without}, printed"), tasks.iter().map(one).collect()));
    }
    document.sections.push(added);
}

/// The numbers of all fidelities in one cell.
fn side_by_side(store: &Store, all: &[Cells<'_>], row: &str, task: Option<&str>) -> Cell {
    let mut cell = Cell { state: "missing", ..Cell::default() };
    let mut numbers = Vec::new();
    for cells in all {
        let plan = cells.plan;
        let series = |task: &str| {
            let key = |seed| plan.key(row, Some(task), seed);
            Series::new(store, &plan.seeds, key, &metric("auroc"))
        };
        let found = match task {
            Some(task) => series(task),
            None => Series::mean_of_tasks(&plan.tasks.iter().map(|t| series(t)).collect::<Vec<_>>(), |_| None),
        };
        let shown = found.cell(hundredfold, None);
        cell.links.extend(shown.links.into_iter().map(|(_, folder)| (plan.fidelity.clone(), folder)));
        if found.mean().is_some() {
            cell.state = "done";
        }
        numbers.push(if found.mean().is_some() { shown.main } else { shown.state.to_owned() });
    }
    cell.main = numbers.join(" | ");
    cell
}
