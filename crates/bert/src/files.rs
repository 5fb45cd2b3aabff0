//! Names of weights in folders of several model classes.

use clinpeft_nn::{Parameter, Result, Trainability};
use clinpeft_tensor::{DType, Device};
use clinpeft_weights::{Checkpoint, Keep};
use std::path::Path;

/// What `BertForSequenceClassification` puts before the names of the encoder, and `BertModel` does not.
const PREFIX: &str = "bert.";

/// The weights of a folder under the names of the classifier model.
pub(crate) struct Source {
    file: Checkpoint,
    keep: Keep,
    device: Device,
}

impl Source {
    pub(crate) fn open(dir: &Path, keep: Keep, device: &Device) -> Result<Source> {
        Ok(Source { file: Checkpoint::open(dir)?, keep, device: device.clone() })
    }

    /// The name that the file has for `name`: with or without the prefix, or as the first releases wrote it, where weight
    /// and bias of a normalisation are `gamma` and `beta`.
    fn stored(&self, name: &str) -> Option<String> {
        let plain = name.strip_prefix(PREFIX).unwrap_or(name);
        let old =
            |n: &str| n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta");
        [name.to_string(), plain.to_string(), old(name), old(plain)].into_iter().find(|n| self.file.has(n))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.stored(name).is_some()
    }

    /// A frozen parameter; matrices stay in the wanted dtype, the rest is f32 (f64 if that is wanted). Errors if it is
    /// missing or has another shape.
    pub(crate) fn parameter(&self, name: &str, dims: &[usize]) -> Result<Parameter> {
        let keep = if dims.len() == 1 && self.keep != Keep::As(DType::F64) { Keep::As(DType::F32) } else { self.keep };
        let stored = self.stored(name).unwrap_or_else(|| name.to_string());
        let value = self.file.tensor(&stored, dims, keep)?.to_device(&self.device)?;
        Ok(Parameter::new(name, value, Trainability::Frozen))
    }
}
