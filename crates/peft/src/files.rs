//! `adapter_config.json` and `adapter_model.safetensors`, as PEFT 0.21 writes and reads them.
//!
//! A key of the configuration is *read* (it is a setting of the method), *kept* (bookkeeping, or a value that switches
//! nothing on) or *refused by name*, because it may change what the adapter computes.

use crate::update::need_finite;
use crate::{Error, Result};
use clinpeft_tensor::{DType, Tensor};
use clinpeft_weights::{Checkpoint, Keep, TensorMap, nearest, nearest_within};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub(crate) const CONFIG: &str = "adapter_config.json";
pub(crate) const WEIGHTS: &str = "adapter_model.safetensors";
/// Weights behind a reparameterised prompt; PEFT does not save them and does not read this file.
pub(crate) const ENCODER: &str = "prompt_encoder.safetensors";

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

/// What an adapter puts into its files.
#[derive(Debug, Clone)]
pub struct Saved {
    /// `peft_type`.
    pub peft_type: &'static str,
    /// All keys of the method with PEFT's defaults, overwritten by the settings.
    pub keys: Map<String, Value>,
    /// Tensors under the names of the file.
    pub tensors: TensorMap,
    /// What made the tensors, if they can be made again; in a file of its own.
    pub encoder: TensorMap,
    /// What stands before the name of a head in the file.
    pub head_prefix: &'static str,
}

/// What is kept of a file that was read, so that writing it again loses nothing.
#[derive(Debug, Clone, Default)]
pub struct FileKeys {
    pub(crate) keys: Map<String, Value>,
    pub(crate) dtypes: BTreeMap<String, DType>,
}

impl FileKeys {
    /// The value of a key in the file that was read.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.keys.get(key)
    }

    /// Takes back, into `keys`, settings of the file that the method ignores.
    pub(crate) fn restore(&self, ignored: &[&str], keys: &mut Map<String, Value>) {
        for key in ignored {
            if let Some(value) = self.get(key) {
                keys.insert((*key).into(), value.clone());
            }
        }
    }
}

/// Keys that are bookkeeping, or matter only when an adapter is made.
pub(crate) const BOOKKEEPING: &[&str] = &[
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "eva_config",
    "inference_mode",
    "init_lora_weights",
    "init_weights",
    "layers_pattern",
    "loftq_config",
    "lora_ga_config",
    "megatron_core",
    "modules_to_save",
    "peft_type",
    "peft_version",
    "prompt_tuning_init",
    "prompt_tuning_init_text",
    "qalora_group_size",
    "revision",
    "task_type",
    "tokenizer_kwargs",
    "tokenizer_name_or_path",
];

/// So many changed characters still make a key a misspelt one.
const TYPING_ERRORS: usize = 3;

/// `adapter_config.json` while it is read.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    path: PathBuf,
    keys: Map<String, Value>,
    read: BTreeSet<String>,
}

impl ConfigFile {
    /// Opens the file of a folder.
    pub(crate) fn open(dir: &Path) -> Result<ConfigFile> {
        let path = dir.join(CONFIG);
        let keys = clinpeft_files::read_json(&path)?;
        Ok(ConfigFile { path, keys, read: BTreeSet::new() })
    }

    /// An error about this file.
    pub(crate) fn wrong(&self, what: impl Into<String>) -> Error {
        Error::Format { path: self.path.clone(), what: what.into() }
    }

    /// A key that must be there.
    pub(crate) fn need<T: DeserializeOwned>(&mut self, key: &str) -> Result<T> {
        if let Some(value) = self.get(key)? {
            return Ok(value);
        }
        let what = if self.keys.contains_key(key) { "is null" } else { "is missing" };
        let strange = self.keys.keys().filter(|k| !self.read.contains(*k) && !BOOKKEEPING.contains(&k.as_str()));
        let near = nearest_within(key, strange.map(String::as_str), TYPING_ERRORS.min(key.len() / 2));
        let hint = match near {
            Some(near) => format!("the nearest key in the file is `{}`", near.escape_debug()),
            None => "take the file as the method wrote it; this method cannot do without the key".into(),
        };
        Err(self.wrong(format!("`{key}` {what}\nhint: {hint}")))
    }

    /// A key that may be missing or null.
    pub(crate) fn get<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>> {
        self.read.insert(key.into());
        match self.keys.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                serde_json::from_value(value.clone()).map(Some).map_err(|e| self.wrong(format!("`{key}`: {e}")))
            }
        }
    }

    /// Layers to change: a list, or `all-linear`.
    pub(crate) fn targets(&mut self) -> Result<Vec<String>> {
        match self.need::<Value>("target_modules")? {
            Value::String(all) if all == "all-linear" => Ok(vec![all]),
            Value::Array(names) => {
                let text = |v: Value| v.as_str().map(String::from);
                let names: Option<Vec<String>> = names.into_iter().map(text).collect();
                names.ok_or_else(|| self.wrong("`target_modules` holds something that is not a name"))
            }
            _ => Err(self.wrong(
                "`target_modules` is a pattern\nhint: name the layers in a list, for example [\"q_proj\", \"v_proj\"]",
            )),
        }
    }

    /// Refuses what was not read and may matter; keeps the rest. `known` are the keys of the method with their defaults.
    pub(crate) fn finish(self, known: &Map<String, Value>, tensors: &TensorFile) -> Result<FileKeys> {
        for (key, value) in &self.keys {
            let harmless = BOOKKEEPING.contains(&key.as_str()) || is_empty(value) || known.get(key) == Some(value);
            if self.read.contains(key) || harmless {
                continue;
            }
            if known.contains_key(key) {
                return Err(self.wrong(format!(
                    "`{key}` is {value}, which is not known here\nhint: only its default, {}, is",
                    known[key]
                )));
            }
            let near = nearest(key, known.keys().map(String::as_str)).unwrap_or_default();
            let key = key.escape_debug();
            return Err(self.wrong(format!(
                "unknown key `{key}` with the value {value}\nhint: the nearest known key is `{near}`"
            )));
        }
        Ok(FileKeys { keys: self.keys, dtypes: tensors.dtypes() })
    }

    /// What the adapter was trained for, where the house knows it.
    pub(crate) fn task(&self) -> Option<TaskType> {
        let value = self.keys.get("task_type")?.clone();
        serde_json::from_value(value).ok()
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
        _ => false,
    }
}

/// The tensors of an adapter while they are read.
#[derive(Debug)]
pub(crate) struct TensorFile {
    file: Checkpoint,
    encoder: Option<Checkpoint>,
    used: RefCell<BTreeSet<String>>,
}

impl TensorFile {
    /// Opens the file of a folder.
    pub(crate) fn open(dir: &Path) -> Result<TensorFile> {
        let encoder = dir.join(ENCODER);
        let encoder = if encoder.is_file() { Some(Checkpoint::open_file(&encoder)?) } else { None };
        Ok(TensorFile { file: Checkpoint::open_file(&dir.join(WEIGHTS))?, encoder, used: RefCell::default() })
    }

    /// A tensor of the expected shape, in f32. Errors if it is not finite.
    pub(crate) fn tensor(&self, name: &str, dims: &[usize]) -> Result<Tensor> {
        self.used.borrow_mut().insert(name.into());
        finite(&self.file, name, dims)
    }

    /// A tensor of the file that holds the encoder; `None` if there is no such file.
    pub(crate) fn encoder(&self, name: &str, dims: &[usize]) -> Result<Option<Tensor>> {
        self.encoder.as_ref().map(|f| finite(f, name, dims)).transpose()
    }

    /// Takes the head out (`score.*`, `classifier.*`). Errors if anything else was not read.
    pub(crate) fn finish(&self, head_prefix: &str) -> Result<TensorMap> {
        let mut head = TensorMap::new();
        for (name, stored) in self.file.tensors() {
            if self.used.borrow().contains(name) {
                continue;
            }
            let plain = name.strip_prefix(head_prefix);
            if let Some(plain) = plain.filter(|n| n.starts_with("score.") || n.starts_with("classifier.")) {
                head.insert(plain.into(), finite(&self.file, name, &stored.dims)?);
                continue;
            }
            let near = nearest(name, self.used.borrow().iter().map(String::as_str)).unwrap_or_default();
            return Err(Error::Format {
                path: self.file.path().into(),
                what: format!(
                    "tensor `{name}` belongs to nothing that the configuration names\nhint: the nearest name is `{near}`"
                ),
            });
        }
        Ok(head)
    }

    fn dtypes(&self) -> BTreeMap<String, DType> {
        let names = self.file.tensors().keys();
        let dtype = |n: &String| Some((n.clone(), self.file.any(n, Keep::Stored).ok()?.dtype()));
        names.filter_map(dtype).filter(|(_, d)| *d != DType::F32).collect()
    }
}

/// A tensor of the expected shape, in f32. Errors if it is not finite.
pub(crate) fn finite(file: &Checkpoint, name: &str, dims: &[usize]) -> Result<Tensor> {
    let t = file.tensor(name, dims, Keep::As(DType::F32))?;
    need_finite(name, &t, "in its file")?;
    Ok(t)
}
