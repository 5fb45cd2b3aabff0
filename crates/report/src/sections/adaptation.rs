//! Table 2: domain adaptation.

use crate::document::{Cell, Section};
use crate::format::{duration, percent, perplexity, thousands};
use crate::series::metric;
use crate::view::{RecordKey, View, seeds};

impl View<'_, '_> {
    /// Adds Table 2.
    pub(crate) fn table2(&mut self) {
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
            let place = RecordKey { table: "2", row, column: name, published, ceilings: None };
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
}
