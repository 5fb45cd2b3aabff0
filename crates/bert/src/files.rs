//! Names of weights in folders of several model classes.

use crate::Config;
use clinpeft_nn::{Classifier, Error, Parameter, Result, Trainability};
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

/// The classifier of a `BertForSequenceClassification` folder (`classifier.weight`, `classifier.bias`); `None` if the
/// folder holds a model without one.
pub fn classifier(dir: &Path, learning: Trainability, device: &Device) -> Result<Option<Classifier>> {
    let (config, file) = (Config::load(dir)?, Checkpoint::open(dir)?);
    let (weight, bias) = ("classifier.weight", "classifier.bias");
    let Some(stored) = file.tensors().get(weight) else {
        return Ok(None);
    };
    let &[classes, width] = &stored.dims[..] else {
        return Err(Error::Config(format!(
            "`{}`: `{weight}` is no matrix\nhint: it is [classes, width]",
            dir.display()
        )));
    };
    if width != config.hidden_size {
        return Err(Error::Config(format!(
            "`{}`: `{weight}` is for rows of {width}, but the model's are {}\nhint: config.json and weights must come \
             from one model",
            dir.display(),
            config.hidden_size
        )));
    }
    let keep = Keep::As(DType::F32);
    let value = file.tensor(weight, &[classes, width], keep)?.to_device(device)?;
    let head = Classifier::from_weight(value, learning);
    let bias = file.tensor(bias, &[classes], keep)?.to_device(device)?;
    head.with_bias(bias).map(Some)
}
