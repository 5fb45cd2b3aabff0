//! Forest plots: every row's AUROC with its interval beside the published number, one picture for each task.

use maud::{Markup, html};

use crate::analysis::interval;
use crate::format::{heading, hundredfold};
use crate::series::{Series, metric};
use crate::view::View;

/// One row of a forest plot.
#[derive(Debug, Clone)]
pub(crate) struct Strip {
    pub(crate) name: String,
    /// The number, or why there is none.
    pub(crate) value: Result<f64, String>,
    pub(crate) interval: Option<(f64, f64)>,
    pub(crate) published: Option<f64>,
    pub(crate) ceiling: Option<f64>,
}

impl View<'_, '_> {
    /// Adds a plot for each task.
    pub(crate) fn forests(&mut self) {
        let mut section = self.section("Forest plots");
        section.caption = format!(
            "AUROC x 100 with 95% interval by patient (thick), the published number (dashed), the ceiling where known (thin), \
             and 50, a coin's (dotted). Several seeds: their mean. Fidelity: {}.",
            self.plan.fidelity
        );
        for task in &self.plan.tasks {
            let strips: Vec<Strip> = self.plan.downstream_rows().iter().map(|row| self.strip(row, task)).collect();
            section.pictures.push(forest(&heading(task), &strips));
        }
        self.document.sections.push(section);
    }

    fn strip(&self, row: &str, task: &str) -> Strip {
        let series = self.series(row, Some(task), metric("auroc"));
        let ceiling = self.series(row, Some(task), |run| Some((run.result.ceiling?, None)));
        let tables = ["3", "4"];
        let published = tables.iter().find_map(|table| self.published.scores(table, row)?.tasks.get(task).copied());
        let of_mean = || self.cells.mean(row, task).and_then(|m| interval(&m));
        let state = series.cell(hundredfold, None).state;
        Strip {
            name: row.into(),
            value: series.mean().ok_or_else(|| state.to_owned()),
            interval: series.interval().or_else(of_mean),
            published,
            ceiling: Series::mean(&ceiling),
        }
    }
}

/// The plot of a task. Strips are as wide as the page, names stand above them: nothing shrinks on a phone.
pub(crate) fn forest(title: &str, strips: &[Strip]) -> Markup {
    let numbers = strips.iter().flat_map(|s| {
        let ends = s.interval.map(|(lo, hi)| [lo, hi]).into_iter().flatten();
        [s.value.as_ref().ok().copied(), s.published, s.ceiling, Some(0.5)].into_iter().flatten().chain(ends)
    });
    let (lo, hi) = numbers.fold((1.0f64, 0.0f64), |(lo, hi), v| (lo.min(v), hi.max(v)));
    let (lo, hi) = ((lo - 0.01).max(0.0), (hi + 0.01).min(1.0));
    let place = |v: f64| format!("{:.2}", 100.0 * (v - lo) / (hi - lo));
    let tick = |v: f64, class: &str, from: &str, to: &str| {
        html! { line class=(class) x1=(place(v)) x2=(place(v)) y1=(from) y2=(to) {} }
    };
    html! {
        figure.forest {
            figcaption { (title) }
            @for strip in strips {
                div.strip {
                    span { (strip.name) }
                    span.number {
                        @match &strip.value { Ok(value) => (hundredfold(*value)), Err(what) => (what) }
                    }
                    svg viewBox="0 0 100 16" preserveAspectRatio="none" aria-hidden="true" {
                        line.grid x1="0" x2="100" y1="8" y2="8" {}
                        (tick(0.5, "guide", "0", "16"))
                        @if let Some(ceiling) = strip.ceiling { (tick(ceiling, "ceiling", "1", "15")) }
                        @if let Some((a, b)) = strip.interval {
                            line.interval x1=(place(a)) x2=(place(b)) y1="8" y2="8" {}
                        }
                        @if let Some(published) = strip.published { (tick(published, "published", "2", "14")) }
                        @if let Ok(value) = strip.value { (tick(value, "estimate", "3", "13")) }
                    }
                }
            }
            p.scale { span { (hundredfold(lo)) } span { (hundredfold(hi)) } }
        }
    }
}
