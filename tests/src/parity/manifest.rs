//! `manifest.json` of a folder of cases.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The whole file; keys that are not named here say where it comes from.
#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    pub format: u64,
    pub optimizer: Optimizer,
    pub models: BTreeMap<String, Model>,
    pub batch_sets: BTreeMap<String, BatchSet>,
    pub cases: BTreeMap<String, Case>,
}

/// Constants of AdamW.
#[derive(Debug, Deserialize)]
pub(super) struct Optimizer {
    pub name: String,
    pub lr: f64,
    pub betas: [f64; 2],
    pub eps: f64,
    pub weight_decay: f64,
    pub grad_clip: Option<f64>,
}

/// A base model.
#[derive(Debug, Deserialize)]
pub(super) struct Model {
    pub kind: String,
    pub path: String,
    pub parameters: Option<usize>,
}

/// Batches of one file.
#[derive(Debug, Deserialize)]
pub(super) struct BatchSet {
    pub path: String,
    pub batches: Vec<String>,
    pub task: String,
}

/// One case and what the reference measured.
#[derive(Debug, Deserialize)]
pub(super) struct Case {
    pub model: String,
    pub batch_set: String,
    pub adapter: Option<String>,
    #[serde(default)]
    pub stack: Vec<String>,
    pub trainable: Vec<String>,
    pub trainable_count: usize,
    #[serde(default)]
    pub grad_batches: Vec<String>,
    #[serde(default)]
    pub step_batches: Vec<String>,
    pub batches: BTreeMap<String, Batch>,
    #[serde(default)]
    pub zero_gradient_tensors: Vec<String>,
    #[serde(default)]
    pub step_losses_f64: Vec<f64>,
    pub loss_after_f64: Option<f64>,
    #[serde(default)]
    pub params_after_f32_vs_f64: BTreeMap<String, Noise>,
}

/// What the reference says of one batch.
#[derive(Debug, Deserialize)]
pub(super) struct Batch {
    pub loss_f64: f64,
    /// Positions as the rotary embedding sees them: one row for all sequences, or one for each.
    #[serde(default)]
    pub rotary_positions: Value,
}

/// How far the reference is from itself in other arithmetic.
#[derive(Debug, Deserialize)]
pub(super) struct Noise {
    pub max: f64,
}

impl Batch {
    /// Positions of sequence `row`, virtual tokens included, or `None` if they count from zero.
    pub(super) fn positions(&self, row: usize) -> Option<Vec<u32>> {
        let list = self.rotary_positions.as_array()?;
        let list = match list.first()? {
            Value::Array(_) => list.get(row).or(list.first())?.as_array()?,
            _ => list,
        };
        list.iter().map(|v| v.as_u64().and_then(|x| u32::try_from(x).ok())).collect()
    }
}
