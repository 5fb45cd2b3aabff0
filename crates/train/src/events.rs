//! `events.jsonl`: one JSON object for each thing that happened.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Something that happened in training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Who takes part and who learns, before the first step, or with gradient norms after it.
    Status {
        /// Optimizer steps done.
        step: u64,
        /// The table.
        table: String,
        /// Gradient norm by adapter, once there is one.
        gradient_norms: BTreeMap<String, f64>,
    },
    /// An optimizer step.
    Step {
        /// Optimizer steps done.
        step: u64,
        /// Mean loss of the step.
        loss: f64,
        /// Trainability rate of the step.
        learning_rate: f64,
        /// Tokens since the start.
        tokens: u64,
        /// Gradient norm by adapter.
        gradient_norms: BTreeMap<String, f64>,
    },
    /// The end of an epoch, with what the validation said.
    Epoch {
        /// Epochs done.
        epoch: u64,
        /// Optimizer steps done.
        step: u64,
        /// Mean loss of its steps.
        loss: f64,
        /// What the best epoch is chosen by; larger is better.
        score: Option<f64>,
        /// Other figures.
        metrics: BTreeMap<String, f64>,
    },
}

/// The file, which a resumed run continues as if it had never stopped.
#[derive(Debug)]
pub struct EventLog {
    path: PathBuf,
    file: File,
    lines: u64,
}

impl EventLog {
    /// Opens the file and keeps its first `lines` lines; what a killed run wrote after its checkpoint is dropped.
    pub fn open(path: &Path, lines: u64) -> Result<EventLog> {
        let old = if path.exists() && lines > 0 {
            std::fs::read(path).map_err(clinpeft_files::at("read", path))?
        } else {
            Vec::new()
        };
        // A line that was cut by a kill has no end.
        let whole = old.split_inclusive(|b| *b == b'\n').filter(|line| line.ends_with(b"\n"));
        let kept: Vec<&[u8]> = whole.take(usize::try_from(lines).unwrap_or(usize::MAX)).collect();
        if (kept.len() as u64) < lines {
            return Err(Error::Damaged { path: path.into(), what: "it is shorter than the checkpoint says".into() });
        }
        clinpeft_files::write_atomic(path, kept.concat())?;
        let file = OpenOptions::new().append(true).open(path).map_err(clinpeft_files::at("append to", path))?;
        Ok(EventLog { path: path.into(), file, lines })
    }

    /// Appends one event.
    pub fn write(&mut self, event: &Event) -> Result<()> {
        let mut line = serde_json::to_string(event).map_err(|e| Error::Evaluation(e.to_string()))?;
        line.push('\n');
        self.file.write_all(line.as_bytes()).map_err(clinpeft_files::at("append to", &self.path))?;
        self.lines += 1;
        Ok(())
    }

    /// Waits until everything is on disk, so that a checkpoint never knows of lines that are not.
    pub(crate) fn flush(&self) -> Result<()> {
        Ok(self.file.sync_data().map_err(clinpeft_files::at("flush", &self.path))?)
    }

    /// Lines written so far.
    pub fn lines(&self) -> u64 {
        self.lines
    }
}
