//! Tables 3 and 4: downstream tasks.

use std::collections::BTreeSet;

use crate::analysis::interval;
use crate::compare::{BAG_OF_WORDS, Comparison};
use crate::document::{Cell, Section};
use crate::format::{heading, hundredfold};
use crate::published::Scores;
use crate::series::{Series, metric};
use crate::view::{RecordKey, View, seeds};

impl View<'_, '_> {
    /// Adds a table of tasks.
    pub(crate) fn downstream(&mut self, table: &str, title: &str, rows: &[String]) {
        if rows.is_empty() {
            return;
        }
        let mut columns = self.plan.task_columns();
        columns.push("macro average".into());
        let mut section = Section {
            caption: format!(
                "AUROC x 100: ours [95% interval by patient] / paper, inside or outside of our interval / ceiling (the best \
                 that any model can reach on this cohort, where known). {} Label sets: mean over labels, below it the mean \
                 that counts a label as often as it occurs. Macro average: plain mean of the row; patients are drawn for \
                 all tasks together. ↑ ↓: better or worse than the row above, ⇑ ⇓: than the best baseline{}{} (Holm-adjusted \
                 p < 0.05 over this table). Fidelity: {}.{}",
                seeds(self.plan),
                self.cells.best_baseline().map(|b| format!(", {b}")).unwrap_or_default(),
                if self.plan.table3.iter().any(|row| row == BAG_OF_WORDS) {
                    ", ▲ ▼: than the bag of words"
                } else {
                    ""
                },
                self.plan.fidelity,
                self.document.models
            ),
            columns,
            ..self.section(&format!("Table {table}. {title}"))
        };
        let comparisons = self.cells.compare(rows);
        for row in rows {
            let cells = self.downstream_row(table, row, &comparisons);
            section.rows.push((row.clone(), cells));
            let paper = self.published.scores(table, row);
            section.notes.extend(paper.iter().flat_map(|p| notes(row, p)));
            if row == BAG_OF_WORDS {
                section.notes.push(format!(
                    "{row}: ours, not in the paper. TF-IDF of words and pairs of words of the whole note; C chosen on the \
                     validation split."
                ));
            }
        }
        self.document.sections.push(section);
        let comparisons = comparisons.into_iter().map(|c| (table.to_owned(), self.plan.fidelity.clone(), c));
        self.document.comparisons.extend(comparisons);
    }

    fn downstream_row(&mut self, table: &str, row: &str, comparisons: &[Comparison]) -> Vec<Cell> {
        let marks = |task: Option<&str>| -> String {
            let of = comparisons.iter().filter(|c| c.row == row && c.task.as_deref() == task);
            of.map(Comparison::mark).collect()
        };
        let paper = self.published.scores(table, row);
        let (mut cells, mut all, mut ceilings) = (Vec::new(), Vec::new(), Vec::new());
        for task in &self.plan.tasks {
            let series = self.series(row, Some(task), metric("auroc"));
            let ceiling = self.series(row, Some(task), |run| Some((run.result.ceiling?, None)));
            let place = RecordKey {
                table,
                row,
                column: task,
                published: paper.and_then(|p| p.tasks.get(task).copied()),
                ceilings: Some(&ceiling),
            };
            let of_mean = self.cells.mean(row, task).and_then(|m| interval(&m));
            let by_frequency = self.series(row, Some(task), metric("auroc_weighted")).mean().map(hundredfold);
            cells.push(Cell { marks: marks(Some(task)), by_frequency, ..self.auroc(place, &series, of_mean) });
            self.other_metrics(place, task);
            all.push(series);
            ceilings.push(ceiling);
        }
        let ceiling = Series::mean_of_tasks(&ceilings, |_| None);
        let place = RecordKey {
            table,
            row,
            column: "macro_average",
            published: paper.and_then(|p| self.published_macro(p)),
            ceilings: Some(&ceiling),
        };
        let of_seed = |seed| self.cells.macro_of_seed(row, seed).and_then(|m| interval(&m));
        let series = Series::mean_of_tasks(&all, of_seed);
        let of_mean = self.cells.macro_mean(row).and_then(|m| interval(&m));
        let mut cell = Cell { marks: marks(None), ..self.auroc(place, &series, of_mean) };
        if cell.state == "missing" {
            let found = all.iter().filter(|s| s.mean().is_some()).count();
            cell.detail = format!("({found} of {} tasks)", all.len());
        }
        cells.push(cell);
        cells
    }

    /// Records a series of AUROCs and shows it.
    fn auroc(&mut self, place: RecordKey<'_>, series: &Series<'_>, of_mean: Option<(f64, f64)>) -> Cell {
        self.record(place, series);
        let ceiling = place.ceilings.and_then(Series::mean);
        let ours = series.interval().or(series.mean().and(of_mean));
        let cell = series.cell(hundredfold, of_mean).against(place.published, ours, hundredfold);
        cell.ceiling(ceiling.map(hundredfold))
    }

    /// The published average, if it is over the tasks of this plan.
    fn published_macro(&self, paper: &Scores) -> Option<f64> {
        let ours: BTreeSet<&String> = self.plan.tasks.iter().collect();
        (ours == paper.tasks.keys().collect()).then_some(paper.macro_recomputed)
    }

    /// Records what else the runs of a cell measured; only AUROC was published.
    fn other_metrics(&mut self, place: RecordKey<'_>, task: &str) {
        let mut names = BTreeSet::new();
        for seed in &self.plan.seeds {
            if let Some(run) = self.store.find(&self.key(place.row, Some(task), *seed)) {
                names.extend(run.result.metrics.keys().filter(|name| *name != "auroc"));
            }
        }
        for name in names {
            let series = self.series(place.row, Some(task), metric(name));
            let column = format!("{task}.{name}");
            let place = RecordKey { column: &column, published: None, ceilings: None, ..place };
            self.record(place, &series);
        }
    }
}

/// What the paper printed otherwise.
fn notes(row: &str, paper: &Scores) -> Vec<String> {
    let mut notes = Vec::new();
    if paper.macro_printed != paper.macro_recomputed {
        let (printed, mean) = (hundredfold(paper.macro_printed), hundredfold(paper.macro_recomputed));
        notes.push(format!(
            "{row}: the paper prints the macro average {printed}; the mean of its row is {mean}, shown here."
        ));
    }
    if !paper.first_edition.is_empty() {
        let cells = paper.first_edition.iter();
        let cells: Vec<String> = cells.map(|(column, text)| format!("{} {text}", heading(column))).collect();
        notes.push(format!("{row}: versions 1 and 2 of the paper have {}.", cells.join(", ")));
    }
    notes
}
