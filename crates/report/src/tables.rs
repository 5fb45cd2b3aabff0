//! The tables as data: what every output renders.

use std::collections::BTreeSet;

use clinpeft_metrics::Resampled;
use maud::Markup;

use crate::analysis::{Analysis, BOOTSTRAP};
use crate::cohort::{Cohort, CohortCounts};
use crate::compare::{Cells, Comparison};
use crate::format::{duration, hundredfold, percent, perplexity, thousands};
use crate::plan::Plan;
use crate::published::{Published, Scores};
use crate::records::Record;
use crate::series::{Cell, Number, Outcome, Series, metric};
use crate::store::{Key, Run, State, Store};
use crate::{environment, others, second_adapter, sizes, tripod};

/// Everything that is shown.
#[derive(Debug, Default)]
pub(crate) struct Document {
    pub(crate) banner: &'static str,
    /// Said under every table of models.
    pub(crate) models: &'static str,
    pub(crate) sections: Vec<Section>,
    pub(crate) records: Vec<Record>,
    /// Table, fidelity, comparison.
    pub(crate) comparisons: Vec<(String, String, Comparison)>,
    pub(crate) counts: Counts,
    /// Folders whose predictions could not be used, and why.
    pub(crate) problems: Vec<(String, String)>,
}

/// How many planned runs are in which state.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) done: usize,
    pub(crate) failed: usize,
    pub(crate) unfinished: usize,
    pub(crate) missing: usize,
}

/// A table, or pictures, or both.
#[derive(Debug, Default)]
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) caption: String,
    /// Empty if there is no table.
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<(String, Vec<Cell>)>,
    pub(crate) notes: Vec<String>,
    /// In HTML only.
    pub(crate) pictures: Vec<Markup>,
    pub(crate) audience: Audience,
}

/// Who reads a table.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Everyone: every output has it.
    #[default]
    All,
    /// Who asks for details: in HTML only, folded.
    Curious,
}

/// All tables in the paper's order, once per plan; what is not a table is folded for all plans but the first.
pub(crate) fn document(
    store: &Store,
    plans: &[Plan],
    cohort: Cohort,
    counts: &CohortCounts,
    published: &Published,
) -> Document {
    let mut document = Document { banner: cohort.banner(), models: cohort.models(), ..Document::default() };
    sizes::table1(&mut document, counts, published);
    let analyses: Vec<Analysis> = plans.iter().map(|plan| Analysis::new(store, plan)).collect();
    let all: Vec<Cells<'_>> = plans.iter().zip(&analyses).map(|(plan, analysis)| Cells { analysis, plan }).collect();
    for cells in &all {
        let mut view = View { store, plan: cells.plan, published, cells, document: &mut document };
        view.count();
        view.table2();
        view.downstream("3", "Downstream tasks", &cells.plan.table3);
        view.downstream("4", "LoRA on the BERT models", &cells.plan.table4);
    }
    second_adapter::table5(&mut document, store, &all, published);
    for (i, cells) in all.iter().enumerate() {
        let first = document.sections.len();
        let mut view = View { store, plan: cells.plan, published, cells, document: &mut document };
        view.forests();
        view.curves();
        view.learning();
        view.calibration();
        view.stacks();
        view.differences();
        view.attrition();
        view.cost();
        if i > 0 {
            document.sections[first..].iter_mut().for_each(|s| s.audience = Audience::Curious);
        }
    }
    document.problems = analyses.iter().flat_map(|analysis| analysis.problems.clone()).collect();
    document.sections.push(environment::environment(store));
    document.sections.extend(others::others(store, plans));
    document.sections.push(tripod::tripod());
    document
}

/// Name of a task in a heading.
pub(crate) fn heading(task: &str) -> String {
    task.replace('_', " ")
}

/// The runs of one fidelity, and where their tables go.
pub(crate) struct View<'a, 'd> {
    pub(crate) store: &'a Store,
    pub(crate) plan: &'a Plan,
    pub(crate) published: &'a Published,
    pub(crate) cells: &'a Cells<'a>,
    pub(crate) document: &'d mut Document,
}

/// What every record of a series shares.
#[derive(Clone, Copy)]
struct Place<'s> {
    table: &'s str,
    row: &'s str,
    column: &'s str,
    published: Option<f64>,
    /// The best possible values, where known.
    ceilings: Option<&'s Series<'s>>,
}

impl<'a> View<'a, '_> {
    pub(crate) fn key(&self, row: &str, task: Option<&str>, seed: u64) -> Key {
        Key { fidelity: self.plan.fidelity.clone(), row: row.into(), task: task.map(String::from), seed }
    }

    /// An empty section of this fidelity.
    pub(crate) fn section(&self, title: &str) -> Section {
        let title = match self.plan.fidelity.as_str() {
            "paper" => title.to_owned(),
            other => format!("{title} (fidelity: {other})"),
        };
        Section { title, ..Section::default() }
    }

    pub(crate) fn series(&self, row: &str, task: Option<&str>, pick: impl Fn(&Run) -> Option<Number>) -> Series<'a> {
        let key = |seed| self.key(row, task, seed);
        Series::new(self.store, &self.plan.seeds, key, &pick)
    }

    /// Every planned run: row and task (`None`: adaptation).
    fn planned(&self) -> Vec<(&'a str, Option<&'a str>)> {
        let adaptation = self.plan.table2.iter().map(|row| (row.as_str(), None));
        let downstream = self.plan.downstream_rows().into_iter().flat_map(|row| {
            let tasks = self.plan.tasks.iter();
            tasks.map(move |task| (row, Some(task.as_str())))
        });
        adaptation.chain(downstream).collect()
    }

    fn count(&mut self) {
        for (row, task) in self.planned() {
            for seed in &self.plan.seeds {
                let run = self.store.find(&self.key(row, task, *seed));
                let counts = &mut self.document.counts;
                match run.map(|run| &run.state) {
                    None => counts.missing += 1,
                    Some(State::Done) => counts.done += 1,
                    Some(State::Failed(_)) => counts.failed += 1,
                    Some(State::Unfinished) => counts.unfinished += 1,
                }
            }
        }
    }

    fn record(&mut self, place: Place<'_>, series: &Series<'_>) {
        let value = |outcome: &Outcome| match *outcome {
            Outcome::Value { value, interval } => (Some(value), interval),
            _ => (None, None),
        };
        for (i, entry) in series.0.iter().enumerate() {
            let (number, interval) = value(&entry.outcome);
            let result = entry.run.map(|run| &run.result);
            self.document.records.push(Record {
                table: place.table.into(),
                row: place.row.into(),
                column: place.column.into(),
                seed: Some(entry.seed),
                value: number,
                lo: interval.map(|i| i.0),
                hi: interval.map(|i| i.1),
                published: place.published,
                ceiling: place.ceilings.and_then(|c| value(&c.0[i].outcome).0),
                trainable_parameters: result.and_then(|r| r.trainable_parameters),
                seconds: result.and_then(|r| r.seconds),
                peak_memory_mib: result.and_then(|r| r.peak_memory_mib),
                run_folder: entry.run.map(|run| run.folder.clone()),
                state: entry.outcome.name(),
                fidelity: self.plan.fidelity.clone(),
            });
        }
    }

    fn table2(&mut self) {
        if self.plan.table2.is_empty() {
            return;
        }
        let mut section = Section {
            caption: format!(
                "Ours [95% interval by note] / paper, inside or outside of our interval. {} Fidelity: {}. The paper's train \
                 perplexity is that of one logged micro-batch; it gives none before adaptation.{}",
                seeds(self.plan),
                self.plan.fidelity,
                self.document.models
            ),
            columns: [
                "model",
                "trainable parameters",
                "train perplexity",
                "test perplexity",
                "before adaptation",
                "time",
            ]
            .map(String::from)
            .to_vec(),
            ..self.section("Table 2. Domain adaptation")
        };
        for row in &self.plan.table2 {
            let cells = self.adaptation_row(row);
            section.rows.push((row.clone(), cells));
        }
        self.document.sections.push(section);
    }

    fn adaptation_row(&mut self, row: &str) -> Vec<Cell> {
        let paper = self.published.table2.get(row);
        let parameters = paper.map(|p| {
            let count = thousands(p.trainable_parameters);
            format!("{count} ({}%)", p.trainable_percent)
        });
        let mut cells = vec![self.parameters(row, None).published(parameters)];
        let perplexities = [
            ("train_perplexity", paper.map(|p| p.train_perplexity)),
            ("perplexity", paper.map(|p| p.test_perplexity)),
            ("perplexity_before", None),
        ];
        for (name, published) in perplexities {
            let series = self.series(row, None, metric(name));
            let place = Place { table: "2", row, column: name, published, ceilings: None };
            self.record(place, &series);
            cells.push(series.cell(perplexity, None).against(published, series.interval(), perplexity));
        }
        let time = self.series(row, None, |run| Some((run.result.seconds?, None)));
        cells.push(time.cell(duration, None).published(paper.map(|p| duration(p.seconds))));
        cells
    }

    /// Trainable parameters with their share.
    fn parameters(&self, row: &str, task: Option<&str>) -> Cell {
        let series = self.series(row, task, |run| Some((run.result.trainable_parameters?, None)));
        let mut cell = series.cell(thousands, None);
        let total = self.series(row, task, |run| Some((run.result.total_parameters?, None)));
        if let (Some(count), Some(total), "") = (series.mean(), total.mean(), cell.detail.as_str()) {
            cell.detail = format!("({})", percent(count / total));
        }
        cell
    }

    fn downstream(&mut self, table: &str, title: &str, rows: &[String]) {
        if rows.is_empty() {
            return;
        }
        let mut columns = vec!["model".to_owned()];
        columns.extend(self.plan.tasks.iter().map(|task| heading(task)));
        columns.push("macro average".into());
        let mut section = Section {
            caption: format!(
                "AUROC x 100: ours [95% interval by patient] / paper, inside or outside of our interval / ceiling (the best \
                 that any model can reach on this cohort, where known). {} Label sets: mean over labels, below it the mean \
                 that counts a label as often as it occurs. Macro average: plain mean of the row; patients are drawn for \
                 all tasks together. ↑ ↓: better or worse than the row above, ⇑ ⇓: than the best baseline{} (Holm-adjusted \
                 p < 0.05 over this table). Fidelity: {}.{}",
                seeds(self.plan),
                self.cells.best_baseline().map(|b| format!(", {b}")).unwrap_or_default(),
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
            let place = Place {
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
        let place = Place {
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
    fn auroc(&mut self, place: Place<'_>, series: &Series<'_>, of_mean: Option<(f64, f64)>) -> Cell {
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
    fn other_metrics(&mut self, place: Place<'_>, task: &str) {
        let mut names = BTreeSet::new();
        for seed in &self.plan.seeds {
            if let Some(run) = self.store.find(&self.key(place.row, Some(task), *seed)) {
                names.extend(run.result.metrics.keys().filter(|name| *name != "auroc"));
            }
        }
        for name in names {
            let series = self.series(place.row, Some(task), metric(name));
            let column = format!("{task}.{name}");
            let place = Place { column: &column, published: None, ceilings: None, ..place };
            self.record(place, &series);
        }
    }
}

/// The percentile interval of a resampled number.
pub(crate) fn interval(resampled: &Resampled) -> Option<(f64, f64)> {
    resampled.estimate(&BOOTSTRAP).interval.map(|i| (i.lo, i.hi))
}

/// Which seeds a table holds, and what several mean.
fn seeds(plan: &Plan) -> String {
    match plan.seeds.as_slice() {
        [] => String::new(),
        [seed] => format!("Seed {seed}."),
        seeds => {
            let list: Vec<String> = seeds.iter().map(u64::to_string).collect();
            format!("Seeds {}: mean [its interval for these seeds] (lowest–highest).", list.join(", "))
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
