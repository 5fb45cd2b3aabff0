//! Every model family by the `model_type` of `config.json`.

use crate::error::{Error, Result};
use crate::models::bert::BertFamily;
use crate::models::family::ModelFamily;
use crate::models::llama::{LLAMA, MISTRAL, QWEN2};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::ops::Deref;
use std::path::Path;

/// The families. The first one is meant where a setting names none.
static FAMILIES: [&dyn ModelFamily; 4] = [&LLAMA, &MISTRAL, &QWEN2, &BertFamily];

/// A model family of the list, called as in `model_type` of `config.json`.
#[derive(Clone, Copy)]
pub struct Family(&'static dyn ModelFamily);

#[derive(Deserialize)]
struct ModelType {
    /// Empty where the file has none.
    #[serde(default)]
    model_type: String,
}

impl Family {
    /// Every family.
    pub fn all() -> impl Iterator<Item = Family> {
        FAMILIES.into_iter().map(Family)
    }

    /// The family of that name; the error is a hint.
    pub fn named(model_type: &str) -> Result<Family, String> {
        let found = Family::all().find(|family| family.model_type() == model_type);
        found.ok_or_else(|| {
            let names = FAMILIES.map(|family| format!("`{}`", family.model_type()));
            let [first @ .., last] = &names;
            format!("models of the types {} and {last} can be run", first.join(", "))
        })
    }

    /// The family of a Hugging Face folder.
    pub fn of(folder: &Path) -> Result<Family> {
        let path = folder.join("config.json");
        if !path.is_file() {
            let what = "not found\nhint: a model folder holds config.json, the weights and the tokenizer; give the one that contains \
                        config.json";
            return Err(Error::Config { path, what: what.into() });
        }
        let ModelType { model_type } = clinpeft_files::read_json(&path)?;
        Family::named(&model_type).map_err(|hint| {
            let what = format!("`model_type` is `{}`\nhint: {hint}", model_type.escape_debug());
            Error::Config { path, what }
        })
    }

    /// The family of a folder whose whole `config.json` is checked.
    pub(crate) fn checked(folder: &Path) -> Result<Family> {
        let family = Family::of(folder)?;
        family.check(folder)?;
        Ok(family)
    }
}

impl Deref for Family {
    type Target = dyn ModelFamily;

    fn deref(&self) -> &(dyn ModelFamily + 'static) {
        self.0
    }
}

impl Default for Family {
    fn default() -> Family {
        Family(FAMILIES[0])
    }
}

impl PartialEq for Family {
    fn eq(&self, other: &Family) -> bool {
        self.model_type() == other.model_type()
    }
}

impl Eq for Family {}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.model_type())
    }
}

impl Serialize for Family {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.model_type())
    }
}

impl<'de> Deserialize<'de> for Family {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Family, D::Error> {
        Family::named(&String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::family::TinySizes;
    use clinpeft_nn::Trainability;
    use clinpeft_rng::Seed;

    #[test]
    fn folder_of_another_type_is_an_error_with_a_hint() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        for family in Family::all() {
            let text = format!(r#"{{"model_type": "{}", "other": 1}}"#, family.model_type());
            std::fs::write(&path, text).unwrap();
            assert_eq!(Family::of(dir.path()).unwrap(), family);
        }
        for (text, named) in [(r#"{"model_type": "gpt2"}"#, "`gpt2`"), ("{}", "`model_type`")] {
            std::fs::write(&path, text).unwrap();
            let error = Family::of(dir.path()).unwrap_err();
            assert!(matches!(error, Error::Config { .. }));
            assert!(error.to_string().contains(named) && error.to_string().contains("\nhint: "), "{error}");
        }
    }

    #[test]
    fn absurd_sizes_are_refused_before_anything_is_allocated() {
        let sizes = TinySizes { vocabulary: 16, width: 8, layers: 1, heads: 2, positions: 16 };
        for family in Family::all() {
            let config = family.tiny(sizes);
            assert!(family.sizes(config.clone()).is_ok(), "{family:?}");
            for key in ["num_hidden_layers", "hidden_size", "vocab_size", "max_position_embeddings"] {
                let mut absurd = config.clone();
                absurd[key] = 1_000_000_000_000_000_u64.into();
                let said = family.sizes(absurd.clone()).unwrap_err();
                assert!(said.contains(key) && said.contains("\nhint: "), "{family:?} {key}: {said}");
                assert!(family.untrained(absurd, Seed(1), Trainability::Frozen).is_err(), "{family:?} {key}");
            }
        }
    }

    #[test]
    fn every_family_of_the_llama_crate_is_listed() {
        for model_type in clinpeft_llama::MODEL_TYPES {
            assert_eq!(Family::named(model_type).unwrap().model_type(), model_type);
        }
    }
}
