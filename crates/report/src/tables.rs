//! The tables as data: what every output renders.

use std::collections::BTreeSet;

use crate::cohort::{Cohort, CohortCounts, TaskCounts};
use crate::format::{duration, hundredfold, mebibytes, percent, perplexity, thousands};
use crate::plan::Plan;
use crate::published::{Published, Scores};
use crate::records::Record;
use crate::series::{Cell, Number, Outcome, Series, metric};
use crate::store::{Key, Run, State, Store};

/// Everything that is shown.
#[derive(Debug, Default)]
pub(crate) struct Document {
    pub(crate) banner: &'static str,
    pub(crate) sections: Vec<Section>,
    pub(crate) records: Vec<Record>,
    pub(crate) counts: Counts,
}

/// How many planned runs are in which state.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) done: usize,
    pub(crate) failed: usize,
    pub(crate) unfinished: usize,
    pub(crate) missing: usize,
}

/// One table.
#[derive(Debug, Default)]
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) caption: String,
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<(String, Vec<Cell>)>,
    pub(crate) notes: Vec<String>,
}

/// All tables in the paper's order, once per fidelity that the store holds.
pub(crate) fn document(
    store: &Store,
    plan: &Plan,
    cohort: Cohort,
    counts: &CohortCounts,
    published: &Published,
) -> Document {
    let mut document = Document {
        banner: cohort.banner(),
        ..Document::default()
    };
    table1(&mut document, counts, published);
    for fidelity in store.fidelities() {
        let mut view = View {
            store,
            plan,
            published,
            fidelity,
            document: &mut document,
        };
        view.count();
        view.table2();
        view.downstream("3", "Downstream tasks", &plan.table3);
        if !plan.table4.is_empty() {
            view.downstream("4", "LoRA on the BERT models", &plan.table4);
        }
        view.cost();
    }
    document.sections.extend(others(store, plan));
    document
}

/// Name of a task in a heading.
fn heading(task: &str) -> String {
    task.replace('_', " ")
}

fn table1(document: &mut Document, counts: &CohortCounts, published: &Published) {
    let columns = ["classes", "kind", "train", "validation", "test"];
    let mut section = Section {
        title: "Table 1. Task sizes".into(),
        caption: "Ours / paper.".into(),
        columns: std::iter::once("task")
            .chain(columns)
            .map(String::from)
            .collect(),
        ..Section::default()
    };
    let paper = |task: &str| published.table1.iter().find(|(name, _)| name == task);
    let names = published.table1.iter().map(|(name, _)| name);
    let extra = counts.tasks.keys().filter(|task| paper(task).is_none());
    for task in names.chain(extra) {
        let ours = counts.tasks.get(task).map(sizes);
        let theirs = paper(task).map(|(_, counts)| sizes(counts));
        let cells = columns.iter().enumerate().map(|(i, column)| {
            let find = |found: &Option<[Size; 5]>| found.as_ref().map(|f| f[i].clone());
            let (ours, theirs) = (find(&ours), find(&theirs));
            let number = |size: &Option<Size>| size.as_ref().and_then(|s| s.number);
            let state = if ours.is_some() { "done" } else { "missing" };
            // Only numbers have a record.
            let records = &mut document.records;
            let numbers = number(&ours).or(number(&theirs)).is_some();
            records.extend(numbers.then(|| Record {
                table: "1".into(),
                row: task.clone(),
                column: (*column).into(),
                value: number(&ours),
                published: number(&theirs),
                state,
                ..Record::default()
            }));
            let cell = Cell {
                state,
                ..Cell::text(ours.map_or_else(|| "missing".into(), |s| s.text))
            };
            cell.published(theirs.map(|s| s.text))
        });
        let cells = cells.collect();
        section.rows.push((heading(task), cells));
    }
    document.sections.push(section);
}

#[derive(Clone)]
struct Size {
    text: String,
    number: Option<f64>,
}

fn sizes(counts: &TaskCounts) -> [Size; 5] {
    let number = |n: u64| Size {
        text: thousands(n as f64),
        number: Some(n as f64),
    };
    let kind = Size {
        text: counts.kind.clone(),
        number: None,
    };
    let splits = counts.splits;
    [
        number(counts.classes),
        kind,
        number(splits.train),
        number(splits.validation),
        number(splits.test),
    ]
}

/// The runs of one fidelity, and where their tables go.
struct View<'a, 'd> {
    store: &'a Store,
    plan: &'a Plan,
    published: &'a Published,
    fidelity: String,
    document: &'d mut Document,
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
    fn key(&self, row: &str, task: Option<&str>, seed: u64) -> Key {
        Key {
            fidelity: self.fidelity.clone(),
            row: row.into(),
            task: task.map(String::from),
            seed,
        }
    }

    fn series(
        &self,
        row: &str,
        task: Option<&str>,
        pick: impl Fn(&Run) -> Option<Number>,
    ) -> Series<'a> {
        let key = |seed| self.key(row, task, seed);
        Series::new(self.store, &self.plan.seeds, key, &pick)
    }

    /// Rows of Tables 3 and 4, each once.
    fn downstream_rows(&self) -> Vec<&'a str> {
        let mut seen = BTreeSet::new();
        let all = self.plan.table3.iter().chain(&self.plan.table4);
        all.map(String::as_str)
            .filter(|row| seen.insert(*row))
            .collect()
    }

    /// Every planned run: row and task (`None`: adaptation).
    fn planned(&self) -> Vec<(&'a str, Option<&'a str>)> {
        let adaptation = self.plan.table2.iter().map(|row| (row.as_str(), None));
        let downstream = self.downstream_rows().into_iter().flat_map(|row| {
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
                fidelity: self.fidelity.clone(),
            });
        }
    }

    fn table2(&mut self) {
        let mut section = Section {
            title: "Table 2. Domain adaptation".into(),
            caption: format!(
                "Ours [95% interval by patient] / paper. Fidelity: {}. The paper's train perplexity is that of one logged \
                 micro-batch; it gives none before adaptation.",
                self.fidelity
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
            ..Section::default()
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
            let place = Place {
                table: "2",
                row,
                column: name,
                published,
                ceilings: None,
            };
            self.record(place, &series);
            cells.push(series.cell(perplexity).published(published.map(perplexity)));
        }
        let time = self.series(row, None, |run| Some((run.result.seconds?, None)));
        cells.push(
            time.cell(duration)
                .published(paper.map(|p| duration(p.seconds))),
        );
        cells
    }

    /// Trainable parameters with their share.
    fn parameters(&self, row: &str, task: Option<&str>) -> Cell {
        let series = self.series(row, task, |run| {
            Some((run.result.trainable_parameters?, None))
        });
        let mut cell = series.cell(thousands);
        let total = self.series(row, task, |run| Some((run.result.total_parameters?, None)));
        if let (Some(count), Some(total), "") = (series.mean(), total.mean(), cell.detail.as_str())
        {
            cell.detail = format!("({})", percent(count / total));
        }
        cell
    }

    fn downstream(&mut self, table: &str, title: &str, rows: &[String]) {
        let mut columns = vec!["model".to_owned()];
        columns.extend(self.plan.tasks.iter().map(|task| heading(task)));
        columns.push("macro average".into());
        let mut section = Section {
            title: format!("Table {table}. {title}"),
            caption: format!(
                "AUROC x 100: ours [95% interval by patient] / paper / ceiling (the best that any model can reach on this \
                 cohort, where known). Several seeds: mean (lowest–highest). Macro average: plain mean; its interval takes \
                 the tasks as independent and reads the standard errors off the widths of their intervals. Fidelity: {}.",
                self.fidelity
            ),
            columns,
            ..Section::default()
        };
        for row in rows {
            let cells = self.downstream_row(table, row);
            section.rows.push((row.clone(), cells));
            let paper = self.published.scores(table, row);
            section
                .notes
                .extend(paper.iter().flat_map(|p| notes(row, p)));
        }
        self.document.sections.push(section);
    }

    fn downstream_row(&mut self, table: &str, row: &str) -> Vec<Cell> {
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
            cells.push(self.auroc(place, &series));
            self.other_metrics(place, task);
            all.push(series);
            ceilings.push(ceiling);
        }
        let ceiling = Series::mean_of_tasks(&ceilings);
        let place = Place {
            table,
            row,
            column: "macro_average",
            published: paper.and_then(|p| self.published_macro(p)),
            ceilings: Some(&ceiling),
        };
        let mut cell = self.auroc(place, &Series::mean_of_tasks(&all));
        if cell.state == "missing" {
            let found = all.iter().filter(|s| s.mean().is_some()).count();
            cell.detail = format!("({found} of {} tasks)", all.len());
        }
        cells.push(cell);
        cells
    }

    /// Records a series of AUROCs and shows it.
    fn auroc(&mut self, place: Place<'_>, series: &Series<'_>) -> Cell {
        self.record(place, series);
        let ceiling = place.ceilings.and_then(Series::mean);
        series
            .cell(hundredfold)
            .published(place.published.map(hundredfold))
            .ceiling(ceiling.map(hundredfold))
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
            let place = Place {
                column: &column,
                published: None,
                ceilings: None,
                ..place
            };
            self.record(place, &series);
        }
    }

    fn cost(&mut self) {
        let mut section = Section {
            title: "Cost".into(),
            caption: format!(
                "Sums over the tasks and seeds that are done; memory is the greatest. Fidelity: {}.",
                self.fidelity
            ),
            columns: [
                "model",
                "runs",
                "trainable parameters",
                "time",
                "peak memory",
                "tokens",
            ]
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
        let failed = found
            .iter()
            .filter(|run| matches!(run.state, State::Failed(_)))
            .count();
        let runs: Vec<&Run> = found
            .into_iter()
            .filter(|run| run.state == State::Done)
            .collect();
        let state = match (runs.len(), failed) {
            (0, 0) => "missing",
            (0, _) => "failed",
            _ => "done",
        };
        let cost = |pick: fn(&Run) -> Option<f64>, show: &dyn Fn(&[f64]) -> String| {
            let values: Vec<f64> = runs.iter().filter_map(|run| pick(run)).collect();
            match values.as_slice() {
                [] if state == "done" => Cell::text("missing"),
                [] => Cell {
                    state,
                    ..Cell::text(state)
                },
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
    let (from, to) = (
        values.iter().copied().fold(f64::INFINITY, f64::min),
        most(values),
    );
    if from < to {
        return format!("{}–{}", thousands(from), thousands(to));
    }
    thousands(to)
}

/// What the paper printed otherwise.
fn notes(row: &str, paper: &Scores) -> Vec<String> {
    let mut notes = Vec::new();
    if paper.macro_printed != paper.macro_recomputed {
        let (printed, mean) = (
            hundredfold(paper.macro_printed),
            hundredfold(paper.macro_recomputed),
        );
        notes.push(format!(
            "{row}: the paper prints the macro average {printed}; the mean of its row is {mean}, shown here."
        ));
    }
    if !paper.first_edition.is_empty() {
        let cells = paper.first_edition.iter();
        let cells: Vec<String> = cells
            .map(|(column, text)| format!("{} {text}", heading(column)))
            .collect();
        notes.push(format!(
            "{row}: versions 1 and 2 of the paper have {}.",
            cells.join(", ")
        ));
    }
    notes
}

/// Folders that no table shows: not planned, older than another of the same cell, or without a name.
fn others(store: &Store, plan: &Plan) -> Option<Section> {
    let mut section = Section {
        title: "Other run folders".into(),
        caption: "Folders that no table above shows.".into(),
        columns: [
            "folder",
            "row",
            "task",
            "seed",
            "fidelity",
            "state",
            "why it is here",
        ]
        .map(String::from)
        .to_vec(),
        ..Section::default()
    };
    for run in &store.runs {
        let why = match (is_planned(plan, &run.key), store.find(&run.key)) {
            (false, _) => "not planned".to_owned(),
            (true, Some(newest)) if newest.folder != run.folder => {
                format!("older than {}", newest.folder)
            }
            (true, _) => continue,
        };
        let task = run.key.task.as_deref().unwrap_or("adaptation");
        let cells = [
            &run.key.row,
            &heading(task),
            &run.key.seed.to_string(),
            &run.key.fidelity,
            run.state.name(),
            &why,
        ];
        section
            .rows
            .push((run.folder.clone(), cells.map(Cell::text).to_vec()));
    }
    for (folder, why) in &store.unplaced {
        let cells = ["–", "–", "–", "–", "unreadable", why];
        section
            .rows
            .push((folder.clone(), cells.map(Cell::text).to_vec()));
    }
    (!section.rows.is_empty()).then_some(section)
}

fn is_planned(plan: &Plan, key: &Key) -> bool {
    let row = match &key.task {
        None => plan.table2.contains(&key.row),
        Some(task) => {
            let mut rows = plan.table3.iter().chain(&plan.table4);
            plan.tasks.contains(task) && rows.any(|row| *row == key.row)
        }
    };
    row && plan.seeds.contains(&key.seed)
}
