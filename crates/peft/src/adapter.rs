//! What every adapter method provides.

use crate::Result;
use clinpeft_nn::{Parameter, Sites};
use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use std::path::Path;

/// What the model is used for; PEFT files state it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskType {
    /// Next-token prediction.
    #[serde(rename = "CAUSAL_LM")]
    CausalLm,
    /// One label, or several, for a sequence.
    #[serde(rename = "SEQ_CLS")]
    SequenceClassification,
}

/// A method of parameter-efficient fine-tuning: what it does at the four sites, its parameters and its files.
pub trait Adapter: Sites + Debug {
    /// Name of the method, for example `lora`.
    fn method(&self) -> &'static str;
    /// Its parameters, each with a name that is unique within the adapter.
    fn parameters(&self) -> Vec<&Parameter>;
    /// Its parameters for writing, in the same order.
    fn parameters_mut(&mut self) -> Vec<&mut Parameter>;
    /// Writes `adapter_config.json` and `adapter_model.safetensors` into `dir`, as PEFT does.
    fn save(&self, dir: &Path, task: TaskType) -> Result<()>;
    /// A copy; values are shared until one of them is written to.
    fn boxed(&self) -> Box<dyn Adapter>;
}
