//! Every comparison of Tables 3 and 4, with its test.

use crate::format::points;
use crate::series::Cell;
use crate::tables::{Audience, Document, View, heading};

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

/// `comparisons.csv`: one line per comparison, AUROC in 0..=1.
pub(crate) fn csv(document: &Document) -> String {
    let header = "table,fidelity,row,against,role,task,difference,lo,hi,standard_error,p_value,adjusted_p_value,test";
    let mut text = format!("# {}\n{header}\n", document.banner);
    for (table, fidelity, c) in &document.comparisons {
        let (lo, hi) = c.difference.interval();
        let numbers = [c.difference.value, lo, hi, c.difference.standard_error, c.p_value, c.adjusted];
        let task = c.task.as_deref().unwrap_or("macro_average");
        let mut cells = [table, fidelity, &c.row, &c.against, c.role.name(), task].map(String::from).to_vec();
        cells.extend(numbers.map(crate::records::shortest));
        cells.push(c.test.into());
        text.push_str(&cells.into_iter().map(crate::records::quoted).collect::<Vec<_>>().join(","));
        text.push('\n');
    }
    text
}

fn p_value(p: f64) -> String {
    if p < 0.0001 { "< 0.0001".into() } else { format!("{p:.4}") }
}
