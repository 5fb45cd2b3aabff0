//! The keys of `adapter_config.json` with the defaults of PEFT 0.21: a copy of what `LoraConfig()` and its like write.

use serde_json::{Map, Value};

/// By `peft_type`.
const TABLE: &str = include_str!("defaults.json");

/// The keys of a method by its `peft_type`.
pub(crate) fn default_keys(peft_type: &str) -> Map<String, Value> {
    let mut table: Map<String, Value> = serde_json::from_str(TABLE).expect("defaults.json is an object");
    match table.remove(peft_type) {
        Some(Value::Object(keys)) => keys,
        _ => Map::new(),
    }
}
