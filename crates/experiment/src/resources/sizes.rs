//! Sizes of a model, from its configuration alone.

use crate::error::{Error, Result};
use crate::models::family::ConfigSizes;
use crate::models::registry::Family;
use crate::profiles::{BaseStart, Profile, ProfileBase};
use crate::spec::NewBase;
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

    /// Of the content of a `config.json`; `dtype` (in older files `torch_dtype`) says how the weights are stored.
    pub fn of_config(config: Value) -> Result<Sizes, String> {
        let named = config["model_type"].as_str().unwrap_or_default();
        let family = Family::named(named).map_err(|hint| format!("`model_type` is not known\nhint: {hint}"))?;
        let width = match config["torch_dtype"].as_str().or(config["dtype"].as_str()) {
            Some("float16" | "bfloat16") => 2,
            _ => 4,
        };
        Sizes::of_family(family, config, width)
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
            BaseStart::New(new) => Sizes::of_new(new).map_err(wrong),
            BaseStart::BagOfWords(_) => Err(wrong("a bag of words has none".into())),
            BaseStart::Further(further) => Sizes::of_base(profile, profile.base(&further.run)?, inputs),
        }
    }

    fn of_new(new: &NewBase) -> Result<Sizes, String> {
        Sizes::of_family(new.model, new.model.tiny(new.sizes(new.vocabulary)), 4)
    }

    /// Of a configuration whose weights are stored in `width` bytes each.
    fn of_family(family: Family, config: Value, width: u64) -> Result<Sizes, String> {
        let ConfigSizes { shape, parameters, inner, vocabulary } = family.sizes(config)?;
        let parameters = parameters as u64;
        Ok(Sizes { family, shape, parameters, weight_bytes: parameters * width, inner, vocabulary })
    }
}
