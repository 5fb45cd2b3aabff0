//! What training needs of a model family.

use crate::{AdapterHooks, Error, ForwardCtx, PadProbe, Parameter, Pooling, RaggedBatch, Result, TargetModule};
use clinpeft_autodiff::Var;
use clinpeft_tensor::ops::AttentionShape;
use clinpeft_tensor::{Device, Tensor};
use clinpeft_weights::{TensorMap, save};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What the layers make of a batch.
#[derive(Debug, Clone)]
pub struct Hidden {
    /// `[rows, d]`, after the last normalisation. Rows of tokens, and before each sequence the virtual rows; after all
    /// sequences the pad probes. Or `[b, d]` where pooled rows were wanted.
    pub rows: Var,
    /// Where each sequence begins, virtual rows included.
    pub offsets: Vec<u32>,
    /// Rows in front of each sequence that are not tokens.
    pub virtual_rows: usize,
    /// The pad probes, in the order of their rows.
    pub pad_probes: Vec<PadProbe>,
}

impl Hidden {
    /// Row of pad probe number `i`.
    pub fn pad_probe_row(&self, i: usize) -> u32 {
        self.offsets.last().copied().unwrap_or(0) + i as u32
    }
}

/// Which rows of the result are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HiddenRows {
    /// All of them.
    All,
    /// One for each sequence; a model may leave out work that only the others need.
    Pooled(Pooling),
}

/// What a model folder holds beside the model itself.
#[derive(Debug, Clone, Default)]
pub struct ExtraTensors {
    /// Heads, under the names of their model class.
    pub tensors: TensorMap,
    /// Keys of `config.json` beside the model's own.
    pub config: BTreeMap<String, Value>,
}

/// A model family: layers between token ids and hidden rows.
pub trait Backbone: Send + Sync {
    /// Runs the layers. Errors if a token or position is outside of the model's range.
    fn hidden(
        &self,
        batch: &RaggedBatch,
        hooks: &Arc<dyn AdapterHooks>,
        ctx: &ForwardCtx,
        want: HiddenRows,
    ) -> Result<Hidden>;
    /// Sum of the language-model losses of a batch, and the number of predictions.
    fn language_loss(&self, hidden: &Hidden, batch: &RaggedBatch) -> Result<(Var, usize)>;
    /// Loss and number of predictions of each sequence, without gradients.
    fn sequence_losses(&self, batch: &RaggedBatch, hooks: &Arc<dyn AdapterHooks>) -> Result<Vec<(f64, usize)>>;
    /// Width of a hidden row.
    fn width(&self) -> usize;
    /// Number of layers.
    fn layers(&self) -> usize;
    /// Heads of a layer.
    fn attention_shape(&self) -> AttentionShape;
    /// The rows of the embedding table at `ids`, `[n, d]` in f32.
    fn embed(&self, ids: &[u32]) -> Result<Tensor>;
    /// Entries of the vocabulary.
    fn vocabulary(&self) -> usize;
    /// Longest sequence, virtual rows included.
    fn max_length(&self) -> usize;
    /// Every linear layer that an adapter may target.
    fn target_modules(&self) -> Vec<TargetModule>;
    /// Name of the parameter that scores the vocabulary, where the model has one.
    fn head_name(&self) -> Option<&str> {
        None
    }
    /// All parameters, in the order of the network.
    fn parameters(&self) -> Vec<&Parameter>;
    /// All parameters for writing, in the same order.
    fn parameters_mut(&mut self) -> Vec<&mut Parameter>;
    /// Moves the model, with what belongs to it beside its parameters, to a device.
    fn to_device(&mut self, device: &Device) -> Result<()> {
        Ok(self.parameters_mut().into_iter().try_for_each(|p| p.to_device(device))?)
    }
    /// Number of weights.
    fn parameter_count(&self) -> usize {
        self.parameters().iter().map(|p| p.value().count()).sum()
    }
    /// The model's own part of `config.json`, an object.
    fn config_json(&self) -> Value;
    /// Writes `config.json` and `model.safetensors`, as Hugging Face has them, into `dir`.
    fn save(&self, dir: &Path) -> Result<()> {
        self.save_with(dir, ExtraTensors::default())
    }
    /// The same with heads.
    fn save_with(&self, dir: &Path, beside: ExtraTensors) -> Result<()> {
        let named = |p: &Parameter| (p.name().to_string(), p.value().clone());
        let mut tensors = beside.tensors;
        tensors.extend(self.parameters().into_iter().map(named));
        let meta = BTreeMap::from([("format".to_string(), "pt".to_string())]);
        save(&dir.join("model.safetensors"), &tensors, &meta)?;
        let mut config = self.config_json();
        for (key, value) in beside.config {
            config[key] = value;
        }
        clinpeft_files::write_json(&dir.join("config.json"), &config).map_err(|e| Error::Weights(e.into()))
    }
}
