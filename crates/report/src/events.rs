//! What happened in training, from `events.jsonl`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

/// The events of a run that are shown.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Events {
    /// Optimizer step and loss.
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
