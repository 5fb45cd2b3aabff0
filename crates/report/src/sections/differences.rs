//! Every comparison of Tables 3 and 4, with its test.

use crate::document::{Audience, Cell};
use crate::format::{heading, points};
use crate::view::View;

impl View<'_, '_> {
    /// Adds the section.
    pub(crate) fn differences(&mut self) {
        let mut section = self.section("Comparisons");
        section.caption = format!(
            "Differences in AUROC x 100 [95% interval], p-value, and p-value after Holm's correction over all comparisons of \
             the table. Binary tasks: DeLong's test by patient (Obuchowski); others and the macro average: paired bootstrap \
             by patient with {} resamples, normal approximation. Training seeds count as fixed. The best baseline is chosen \
             by its own test scores. Fidelity: {}.",
            crate::analysis::BOOTSTRAP.resamples,
            self.plan.fidelity
        );
        section.audience = Audience::Curious;
        section.columns = ["row", "against", "task", "difference", "p", "adjusted p", "test"].map(String::from).into();
        for (table, _, c) in self.document.comparisons.iter().filter(|(_, fidelity, _)| *fidelity == self.plan.fidelity)
        {
            let (lo, hi) = c.difference.interval();
            let difference =
                Cell { detail: format!("[{}, {}]", points(lo), points(hi)), ..Cell::text(points(c.difference.value)) };
            let task = c.task.as_deref().map_or_else(|| "macro average".into(), heading);
            let cells = vec![
                Cell::text(format!("{} ({})", c.against, c.role.name())),
                Cell::text(task),
                difference,
                Cell::text(p_value(c.p_value)),
                Cell::text(format!("{} {}", p_value(c.adjusted), c.mark()).trim_end()),
                Cell::text(c.test),
            ];
            section.rows.push((format!("Table {table}: {}", c.row), cells));
        }
        let problems = self.cells.analysis.problems.iter();
        section.notes.extend(problems.map(|(folder, why)| format!("{folder} takes no part: {why}.")));
        self.document.sections.push(section);
    }
}

fn p_value(p: f64) -> String {
    if p < 0.0001 { "< 0.0001".into() } else { format!("{p:.4}") }
}
