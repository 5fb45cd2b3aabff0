//! Sizes of a model, from its configuration alone.

use crate::error::{Error, Result};
use crate::models::family::Family;
use crate::profiles::{BaseStart, Profile, ProfileBase};
use crate::spec::NewBase;
use clinpeft_nn::TargetModule;
use clinpeft_peft::ModelShape;
use clinpeft_weights::Checkpoint;
use serde_json::Value;
use std::path::Path;

/// What memory and time depend on.
#[derive(Debug, Clone)]
pub struct Sizes {
    /// Its family.
    pub family: Family,
    /// What adapters see of it.
    pub shape: ModelShape,
    /// Weights.
    pub parameters: u64,
    /// Their bytes as they are stored.
    pub weight_bytes: u64,
    /// Width inside the feed-forward part.
    pub inner: usize,
    /// Entries of the vocabulary.
    pub vocabulary: usize,
}

impl Sizes {
    /// Of a model folder: its `config.json`, and the bytes of its weights.
    pub fn of_folder(folder: &Path) -> Result<Sizes> {
        let path = folder.join("config.json");
        let config: Value = clinpeft_files::read_json(&path)?;
        let mut sizes = Sizes::of_config(config).map_err(|what| Error::Config { path, what })?;
        let weights = Checkpoint::open(folder)?;
        sizes.weight_bytes = weights.tensors().values().map(|t| t.byte_length() as u64).sum();
        Ok(sizes)
    }

    /// Of the content of a `config.json`; `torch_dtype` says how the weights are stored.
    pub fn of_config(config: Value) -> Result<Sizes, String> {
        let family = serde_json::from_value(config["model_type"].clone()).map_err(|_| {
            "`model_type` is not known\nhint: models of the types `llama` and `bert` can be run".to_string()
        })?;
        let width = match config["torch_dtype"].as_str() {
            Some("float16" | "bfloat16") => 2,
            _ => 4,
        };
        match family {
            Family::Llama => {
                let c: clinpeft_llama::Config = serde_json::from_value(config).map_err(|e| e.to_string())?;
                c.check().map_err(|e| e.to_string())?;
                let heads = (c.num_attention_heads, c.kv_heads(), c.head_width());
                let shape = shape(c.hidden_size, c.num_hidden_layers, heads, c.target_modules());
                Ok(Sizes::new(family, shape, c.parameter_count(), width, (c.intermediate_size, c.vocab_size)))
            }
            Family::Bert => {
                let c: clinpeft_bert::Config = serde_json::from_value(config).map_err(|e| e.to_string())?;
                c.check().map_err(|e| e.to_string())?;
                let heads = (c.num_attention_heads, c.num_attention_heads, c.head_width());
                let shape = shape(c.hidden_size, c.num_hidden_layers, heads, c.target_modules());
                Ok(Sizes::new(family, shape, c.parameter_count(), width, (c.intermediate_size, c.vocab_size)))
            }
        }
    }

    /// Of a base of a profile: the folder if it is there, what the profile says if not.
    pub(crate) fn of_base(profile: &Profile, base: &ProfileBase, inputs: &Path) -> Result<Sizes> {
        let wrong = |what: String| Error::Options(format!("sizes of a base model: {what}"));
        match &base.start {
            BaseStart::Folder(f) if inputs.join(&f.folder).join("config.json").exists() => {
                Sizes::of_folder(&inputs.join(&f.folder))
            }
            BaseStart::Folder(f) => {
                let config = serde_json::to_value(&f.sizes).map_err(|e| wrong(e.to_string()))?;
                Sizes::of_config(config).map_err(wrong)
            }
            BaseStart::New(new) => Ok(Sizes::of_new(new)),
            BaseStart::Further(further) => Sizes::of_base(profile, profile.base(&further.run)?, inputs),
        }
    }

    fn of_new(new: &NewBase) -> Sizes {
        let (v, d, l, h, p) = (new.vocabulary, new.width, new.layers, new.heads, new.positions);
        let heads = (h, h, d / h.max(1));
        match new.model {
            Family::Llama => {
                let c = clinpeft_llama::Config::tiny(v, d, l, h, p);
                let shape = shape(d, l, heads, c.target_modules());
                Sizes::new(new.model, shape, c.parameter_count(), 4, (c.intermediate_size, v))
            }
            Family::Bert => {
                let c = clinpeft_bert::Config::tiny(v, d, l, h, p);
                let shape = shape(d, l, heads, c.target_modules());
                Sizes::new(new.model, shape, c.parameter_count(), 4, (c.intermediate_size, v))
            }
        }
    }

    fn new(
        family: Family,
        shape: ModelShape,
        parameters: usize,
        stored: u64,
        (inner, vocabulary): (usize, usize),
    ) -> Sizes {
        let parameters = parameters as u64;
        Sizes { family, shape, parameters, weight_bytes: parameters * stored, inner, vocabulary }
    }
}

fn shape(
    width: usize,
    layers: usize,
    (heads, kv_heads, head_width): (usize, usize, usize),
    sites: Vec<TargetModule>,
) -> ModelShape {
    ModelShape { width, layers, heads, kv_heads, head_width, sites }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_layer_counts_are_refused_before_anything_is_allocated() {
        for mut config in [
            serde_json::to_value(clinpeft_llama::Config::tiny(16, 8, 1, 2, 16)).unwrap(),
            serde_json::to_value(clinpeft_bert::Config::tiny(16, 8, 1, 2, 16)).unwrap(),
        ] {
            assert!(Sizes::of_config(config.clone()).is_ok());
            config["num_hidden_layers"] = 1_000_000_000_000_000_u64.into();
            assert!(Sizes::of_config(config).unwrap_err().contains("num_hidden_layers"));
        }
    }
}
