//! What happened in training, from `events.jsonl`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::store::State;
use crate::svg::{Axis, Line, Marks, Plot, legend, thin};
use crate::tables::{View, heading};

/// The events of a run that are shown.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Events {
    /// Optimiser step and loss.
    pub(crate) losses: Vec<(f64, f64)>,
    /// Epoch and validation score.
    pub(crate) scores: Vec<(f64, f64)>,
    /// The stack as it was printed.
    pub(crate) stack: String,
    /// Gradient norm by adapter at the last step.
    pub(crate) last_norms: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    Status {
        #[serde(default)]
        table: String,
    },
    Step {
        step: f64,
        loss: Option<f64>,
        #[serde(default)]
        gradient_norms: BTreeMap<String, f64>,
    },
    Epoch {
        epoch: f64,
        score: Option<f64>,
    },
    #[serde(other)]
    Other,
}

impl Events {
    /// Reads a run's events; lines that are no events (of a run that was killed) are left out.
    pub(crate) fn read(folder: &Path) -> Self {
        let text = std::fs::read_to_string(folder.join("events.jsonl")).unwrap_or_default();
        let mut found = Self::default();
        for event in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
            match event {
                // The last one is that after the first step, with gradient norms.
                Event::Status { table } => found.stack = table,
                Event::Step { step, loss, gradient_norms } => {
                    found.losses.extend(loss.map(|loss| (step, loss)));
                    found.last_norms = gradient_norms;
                }
                Event::Epoch { epoch, score } => found.scores.extend(score.map(|score| (epoch, score))),
                Event::Other => {}
            }
        }
        found
    }
}

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
        let seed = self.plan.seeds.first().copied().unwrap_or_default();
        let (mut losses, mut scores) = (Vec::new(), Vec::new());
        for (style, row) in rows.iter().enumerate() {
            let run = self.store.find(&self.key(row, task, seed)).filter(|run| run.state == State::Done);
            let Some(events) = run.map(|run| Events::read(&run.path)) else { continue };
            let line = |points, marks| Line { name: row.clone(), style, points, band: vec![], marks };
            if let Some((last, _)) = events.losses.last().filter(|last| last.0 > 0.0) {
                let shares: Vec<(f64, f64)> = events.losses.iter().map(|(step, loss)| (step / last, *loss)).collect();
                losses.push(line(thin(&shares, POINTS), Marks::None));
            }
            if !events.scores.is_empty() {
                scores.push(line(thin(&events.scores, POINTS), Marks::Dots));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_and_broken_lines_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let lines = r#"{"event": "status", "step": 0, "table": "clinical", "gradient_norms": {}}
{"event": "step", "step": 1, "loss": 0.7, "learning_rate": 0.1, "tokens": 5, "gradient_norms": {"clinical": 0.5}}
{"event": "step", "step": 2, "loss": 0.6, "gradient_norms": {"clinical": 0.25}}
{"event": "epoch", "epoch": 1, "step": 2, "loss": 0.65, "score": 0.8, "metrics": {}}
{"event": "new"}
{"event": "st"#;
        std::fs::write(dir.path().join("events.jsonl"), lines).unwrap();
        let found = Events::read(dir.path());
        assert_eq!(found.losses, [(1.0, 0.7), (2.0, 0.6)]);
        assert_eq!(found.scores, [(1.0, 0.8)]);
        assert_eq!((found.stack.as_str(), found.last_norms["clinical"]), ("clinical", 0.25));
        assert_eq!(Events::read(Path::new("/nowhere")), Events::default());
    }
}
