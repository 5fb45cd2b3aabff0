//! Writing an adapter in the form of PEFT.

use crate::files::{BOOKKEEPING, CONFIG, ENCODER, WEIGHTS};
use crate::{Adapter, Result, TaskType};
use clinpeft_tensor::{DType, Tensor};
use clinpeft_weights::{TensorMap, save};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Writes the files of an adapter into `dir`. `head` are tensors of the head under their names in the model, for example
/// `score.weight`; `task` is what the file says it is for, or, if `None`, what it said when it was read.
pub fn save_adapter(dir: &Path, adapter: &dyn Adapter, task: Option<TaskType>, head: &TensorMap) -> Result<()> {
    let saved = adapter.saved()?;
    let kept = adapter.file_keys();
    let mut keys = saved.keys;
    for (key, value) in &kept.keys {
        if BOOKKEEPING.contains(&key.as_str()) || !keys.contains_key(key) {
            keys.insert(key.clone(), value.clone());
        }
    }
    keys.insert("peft_type".into(), saved.peft_type.into());
    keys.insert("inference_mode".into(), true.into());
    if let Some(task) = task {
        let task = serde_json::to_value(task).unwrap_or(Value::Null);
        keys.insert("task_type".into(), task);
    }
    if !head.is_empty() && keys.get("modules_to_save").is_none_or(Value::is_null) {
        keys.insert("modules_to_save".into(), serde_json::json!(["classifier", "score"]));
    }
    let mut tensors = saved.tensors;
    tensors.extend(head.iter().map(|(n, t)| (format!("{}{n}", saved.head_prefix), t.clone())));
    for (name, dtype) in &kept.dtypes {
        if let Some(t) = tensors.get_mut(name) {
            *t = narrowed(t, *dtype)?;
        }
    }
    clinpeft_files::write_json(&dir.join(CONFIG), &keys)?;
    let format = BTreeMap::from([("format".to_string(), "pt".to_string())]);
    save(&dir.join(WEIGHTS), &tensors, &format)?;
    if !saved.encoder.is_empty() {
        save(&dir.join(ENCODER), &saved.encoder, &format)?;
    }
    Ok(())
}

/// The tensor in `dtype` if that loses nothing, otherwise as it is.
fn narrowed(t: &Tensor, dtype: DType) -> Result<Tensor> {
    let t = t.to_cpu()?;
    let narrow = t.cast(dtype)?;
    let same = narrow.to_f64_vec()? == t.to_f64_vec()?;
    Ok(if same { narrow } else { t })
}
