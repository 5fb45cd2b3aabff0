//! What a run writes of itself: `result.json` and `manifest.json`.

use crate::models::loading::Used;
use crate::spec::{Kind, RunSpec};
use clinpeft_metrics::Estimate;
use clinpeft_train::TrainReport;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// What a run has to say, as `result.json`.
#[derive(Debug, Serialize)]
pub(crate) struct RunResult {
    pub kind: Kind,
    pub table: Option<u8>,
    pub row: String,
    pub task: Option<String>,
    pub seed: u64,
    pub fidelity: String,
    pub split: &'static str,
    pub n: usize,
    pub metrics: BTreeMap<String, Number>,
    /// Why a metric is missing.
    pub undefined: BTreeMap<String, String>,
    pub ceiling: Option<f64>,
    pub trainable_parameters: usize,
    pub total_parameters: usize,
    /// Seconds of training, over all starts.
    pub seconds: f64,
    /// Tokens run in training.
    pub tokens: u64,
    pub steps: u64,
    /// Epoch whose parameters were kept.
    pub epoch: u64,
    pub validation_score: Option<f64>,
    pub peak_memory_mib: Option<f64>,
}

/// A figure with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Number {
    /// The figure.
    pub value: f64,
    /// Where the interval begins, if there is one.
    pub lo: Option<f64>,
    /// Where it ends.
    pub hi: Option<f64>,
}

impl Number {
    /// A figure without an interval.
    pub(crate) fn exact(value: f64) -> Number {
        Number { value, lo: None, hi: None }
    }
}

impl From<&Estimate> for Number {
    fn from(e: &Estimate) -> Number {
        Number { value: e.value, lo: e.interval.map(|i| i.lo), hi: e.interval.map(|i| i.hi) }
    }
}

impl RunResult {
    pub fn new(spec: &RunSpec, outcome: &TrainReport) -> RunResult {
        RunResult {
            kind: spec.kind,
            table: spec.table,
            row: spec.row.clone(),
            task: spec.task.map(|t| t.to_string()),
            seed: spec.seed,
            fidelity: spec.fidelity.name().into(),
            split: "test",
            n: 0,
            metrics: BTreeMap::new(),
            undefined: BTreeMap::new(),
            ceiling: None,
            trainable_parameters: 0,
            total_parameters: 0,
            seconds: outcome.seconds,
            tokens: outcome.tokens,
            steps: outcome.steps,
            epoch: outcome.epoch,
            validation_score: outcome.score,
            peak_memory_mib: None,
        }
    }
}

/// What a run was made with, as `manifest.json`.
#[derive(Debug, Serialize)]
pub(crate) struct RunManifest {
    pub program: &'static str,
    pub git: &'static str,
    pub target: &'static str,
    pub device: String,
    pub threads: usize,
    /// Instruction set of the GEMM kernel for frozen weights.
    #[serde(rename = "products")]
    pub gemm: &'static str,
    /// Orders of frozen weights that are kept for it, their bytes, and what the trial of them gained.
    pub packs: Option<Value>,
    pub seed: u64,
    pub data_hash: Option<String>,
    pub base_hash: Option<String>,
    /// Predictions can be joined by id where this is equal.
    pub id_key: Option<String>,
    pub peak_memory_mib: Option<f64>,
    pub device_memory_mib: Option<f64>,
    pub wall_seconds: f64,
    /// Seconds of processor time, over all threads.
    pub cpu_seconds: f64,
    pub tokens_kept: u64,
    pub tokens_dropped: u64,
}

/// What the kinds of runs report beside their result.
pub(crate) struct Report {
    pub result: RunResult,
    /// The base model that it began with.
    pub base: Option<Used>,
    /// Fingerprint of the key of the ids in its predictions.
    pub id_key: Option<String>,
    pub kept: u64,
    pub dropped: u64,
}
