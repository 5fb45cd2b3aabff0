//! What happened in training, from `events.jsonl`.

use crate::events::Events;
use crate::format::heading;
use crate::store::State;
use crate::svg::{Axis, Line, Plot, legend, thin};
use crate::view::View;

/// Most points of a line.
const POINTS: usize = 60;

impl View<'_, '_> {
    /// Adds loss and validation score of every row: a pair of pictures for each task, one for the adaptation.
    pub(crate) fn learning(&mut self) {
        let mut section = self.section("Learning curves");
        section.caption = format!(
            "First seed. Training loss, neighbouring steps averaged to at most {POINTS} points, against the share of the \
             training, since rows differ in their number of steps; validation score by epoch, larger is better. \
             Fidelity: {}.",
            self.plan.fidelity
        );
        let rows: Vec<String> = self.plan.downstream_rows().into_iter().map(String::from).collect();
        let tasks = self.plan.tasks.iter().map(|task| (Some(task.as_str()), rows.as_slice()));
        for (task, rows) in tasks.chain([(None, self.plan.table2.as_slice())]) {
            let plots = self.learning_of(task, rows);
            if !plots.is_empty() {
                section.pictures.extend(plots.iter().map(Plot::render));
                if task.is_none() {
                    let names: Vec<(usize, String)> = rows.iter().cloned().enumerate().collect();
                    section.pictures.push(legend(&names));
                }
            }
            if task.is_some() && task == self.plan.tasks.last().map(String::as_str) {
                section.pictures.push(legend(&self.strokes()));
            }
        }
        self.document.sections.push(section);
    }

    fn learning_of(&self, task: Option<&str>, rows: &[String]) -> Vec<Plot> {
        let (mut losses, mut scores) = (Vec::new(), Vec::new());
        for (style, row) in rows.iter().enumerate() {
            let run =
                self.store.find(&self.key(row, task, self.plan.first_seed())).filter(|run| run.state == State::Done);
            let Some(events) = run.map(|run| Events::read(&run.path)) else { continue };
            let line = |points, dots| Line { name: row.clone(), style, points, dots, ..Line::default() };
            if let Some((last, _)) = events.losses.last().filter(|last| last.0 > 0.0) {
                let shares: Vec<(f64, f64)> = events.losses.iter().map(|(step, loss)| (step / last, *loss)).collect();
                losses.push(line(thin(&shares, POINTS), false));
            }
            if !events.scores.is_empty() {
                scores.push(line(thin(&events.scores, POINTS), true));
            }
        }
        let name = task.map_or_else(|| "adaptation".into(), heading);
        let plot = |title: &str, x: Axis, y: &str, lines: Vec<Line>| {
            let heights = lines.iter().flat_map(|l| l.points.iter().map(|p| p.1));
            let y = Axis::around(y, heights);
            (!lines.is_empty()).then(|| Plot { title: format!("{name}: {title}"), x, y, guide: vec![], lines })
        };
        let epochs = Axis::around("epoch", scores.iter().flat_map(|l: &Line| l.points.iter().map(|p| p.0)));
        let loss = plot("training loss", Axis::unit("share of the training"), "loss", losses);
        loss.into_iter().chain(plot("validation score", epochs, "score", scores)).collect()
    }
}
