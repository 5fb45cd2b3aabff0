//! ROC and precision-recall curves of every row, one pair of pictures for each task.

use crate::format::heading;
use crate::svg::{Axis, Line, Plot, legend};
use crate::view::View;

impl View<'_, '_> {
    /// Adds the section.
    pub(crate) fn curves(&mut self) {
        let mut section = self.section("ROC and precision-recall curves");
        section.caption = format!(
            "First seed; the band of the best row of each task is the pointwise 95% interval by patient. Tasks with \
             several outcomes: mean of the curves of each outcome against the rest. Fidelity: {}.",
            self.plan.fidelity
        );
        let rows = self.strokes();
        for task in &self.plan.tasks {
            let (mut roc, mut recall) = (Vec::new(), Vec::new());
            for (style, row) in &rows {
                let Some(measured) = self.cells.analysis.get(&self.key(row, Some(task), self.plan.first_seed())) else {
                    continue;
                };
                for (curve, lines) in
                    [(&measured.curves.roc, &mut roc), (&measured.curves.precision_recall, &mut recall)]
                {
                    let x = |i: usize| i as f64 / (curve.value.len() - 1) as f64;
                    let points = curve.value.iter().enumerate().map(|(i, y)| (x(i), *y)).collect();
                    let ends = curve.lo.iter().zip(&curve.hi).enumerate();
                    let band = ends.map(|(i, (lo, hi))| (x(i), *lo, *hi)).collect();
                    lines.push(Line { name: row.clone(), style: *style, points, band, ..Line::default() });
                }
            }
            if roc.is_empty() {
                continue;
            }
            let plot = |title: &str, x: &str, y: &str, guide: Vec<(f64, f64)>, lines| Plot {
                title: format!("{}: {title}", heading(task)),
                x: Axis::unit(x),
                y: Axis::unit(y),
                guide,
                lines,
            };
            let diagonal = vec![(0.0, 0.0), (1.0, 1.0)];
            section.pictures.push(plot("ROC", "1 − specificity", "sensitivity", diagonal, roc).render());
            section.pictures.push(plot("precision-recall", "recall", "precision", vec![], recall).render());
        }
        if section.pictures.is_empty() {
            section.notes.push("No run has predictions.".into());
        } else {
            section.pictures.push(legend(&rows));
        }
        self.document.sections.push(section);
    }
}
