//! Whether scores are probabilities: reliability curves and expected calibration error.

use crate::analysis::{BINS, Calibrated};
use crate::document::Cell;
use crate::format::heading;
use crate::svg::{Axis, Line, Plot, legend};
use crate::view::View;

impl View<'_, '_> {
    /// Adds the section.
    pub(crate) fn calibration(&mut self) {
        let mut section = self.section("Calibration");
        section.caption = format!(
            "Expected calibration error x 100 on the test split over {BINS} bins of equal width, first seed; then the \
             temperature that the validation split chose and the error with it. Binary: probability of the outcome; length \
             of stay: the class of greatest probability; label sets: every cell, so frequent labels weigh most. Scores that \
             are a softmax over labels are no probabilities of labels and have none. Fidelity: {}.",
            self.plan.fidelity
        );
        section.columns = self.plan.task_columns();
        let rows = self.strokes();
        let calibrated = |row: &str, task: &str| -> Option<&Calibrated> {
            self.cells.analysis.get(&self.key(row, Some(task), self.plan.first_seed()))?.calibration.as_ref()
        };
        for (_, row) in &rows {
            let cells = self.plan.tasks.iter().map(|task| calibrated(row, task).map_or_else(absent, cell)).collect();
            section.rows.push((row.clone(), cells));
        }
        for task in &self.plan.tasks {
            let line = |(style, row): &(usize, String)| {
                let found = calibrated(row, task)?;
                let points = found.before.bins.iter().map(|bin| (bin.mean_probability, bin.observed)).collect();
                Some(Line { name: row.clone(), style: *style, points, dots: true, ..Line::default() })
            };
            let lines: Vec<Line> = rows.iter().filter_map(line).collect();
            let plot = Plot {
                title: format!("{}: reliability", heading(task)),
                x: Axis::unit("predicted"),
                y: Axis::unit("observed"),
                guide: vec![(0.0, 0.0), (1.0, 1.0)],
                lines,
            };
            section.pictures.extend((!plot.lines.is_empty()).then(|| plot.render()));
        }
        if !section.pictures.is_empty() {
            section.pictures.push(legend(&rows));
        }
        self.document.sections.push(section);
    }
}

fn cell(found: &Calibrated) -> Cell {
    let percent = |error: f64| format!("{:.2}", 100.0 * error);
    let detail = match &found.after {
        Some((t, after)) => format!("→ {} at T = {t:.2}", percent(after.expected_error)),
        None => "(no validation predictions)".into(),
    };
    Cell { detail, ..Cell::text(percent(found.before.expected_error)) }
}

fn absent() -> Cell {
    Cell { state: "missing", ..Cell::text("–") }
}
