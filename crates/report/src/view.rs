//! The runs of one fidelity, as the sections see them.

use crate::compare::Cells;
use crate::document::{Document, Record, Section};
use crate::plan::Plan;
use crate::published::Published;
use crate::series::{Measurement, Number, Series};
use crate::store::{Key, Run, Store};

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
pub(crate) struct RecordKey<'s> {
    pub(crate) table: &'s str,
    pub(crate) row: &'s str,
    pub(crate) column: &'s str,
    pub(crate) published: Option<f64>,
    /// The best possible values, where known.
    pub(crate) ceilings: Option<&'s Series<'s>>,
}

impl<'a> View<'a, '_> {
    pub(crate) fn key(&self, row: &str, task: Option<&str>, seed: u64) -> Key {
        self.plan.key(row, task, seed)
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
    pub(crate) fn planned(&self) -> Vec<(&'a str, Option<&'a str>)> {
        let adaptation = self.plan.table2.iter().map(|row| (row.as_str(), None));
        let downstream = self.plan.downstream_rows().into_iter().flat_map(|row| {
            let tasks = self.plan.tasks.iter();
            tasks.map(move |task| (row, Some(task.as_str())))
        });
        adaptation.chain(downstream).collect()
    }

    /// Number and name of each downstream row, for the strokes of all plots.
    pub(crate) fn strokes(&self) -> Vec<(usize, String)> {
        self.plan.downstream_rows().into_iter().map(String::from).enumerate().collect()
    }

    /// Records every seed of a series.
    pub(crate) fn record(&mut self, place: RecordKey<'_>, series: &Series<'_>) {
        let value = |outcome: &Measurement| match *outcome {
            Measurement::Value { value, interval } => (Some(value), interval),
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
}

/// Which seeds a table holds, and what several mean.
pub(crate) fn seeds(plan: &Plan) -> String {
    match plan.seeds.as_slice() {
        [] => String::new(),
        [seed] => format!("Seed {seed}."),
        seeds => {
            let list: Vec<String> = seeds.iter().map(u64::to_string).collect();
            format!("Seeds {}: mean [its interval for these seeds] (lowest–highest).", list.join(", "))
        }
    }
}
