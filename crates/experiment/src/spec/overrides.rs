//! Settings of a run that are overridden by their keys in `run.toml`.

use crate::error::{Error, Result};
use crate::spec::RunSpec;
use std::collections::BTreeMap;

/// Settings by their place in `run.toml`, for example `training.learning_rate` or `stack.downstream.adapter.r`.
pub type Overrides = BTreeMap<String, toml::Value>;

/// `spec` with other values at some places of its text. An error names the place that is wrong by itself, if there is one.
pub(crate) fn with(spec: &RunSpec, values: &Overrides) -> Result<RunSpec> {
    changed(spec, values.iter()).map_err(|together| {
        let alone = |(place, value): (&String, &toml::Value)| {
            changed(spec, [(place, value)].into_iter()).err().map(|what| format!("`{place}`: {what}"))
        };
        let what = values.iter().find_map(alone).unwrap_or(together);
        Error::Options(format!("row `{}`: {what}\nhint: places are those of run.toml, adapters by name", spec.row))
    })
}

fn changed<'a>(
    spec: &RunSpec,
    values: impl Iterator<Item = (&'a String, &'a toml::Value)>,
) -> std::result::Result<RunSpec, String> {
    let mut text = toml::Value::try_from(spec).map_err(|e| e.to_string())?;
    for (place, value) in values {
        set(&mut text, place, value.clone()).ok_or_else(|| format!("there is no setting `{place}` in its run"))?;
    }
    text.try_into().map_err(|e: toml::de::Error| e.to_string().trim_end().to_string())
}

/// Sets the value at a place. A key of a table may be new, because unset optional settings are not written; parsing refuses
/// unknown ones.
fn set(text: &mut toml::Value, place: &str, value: toml::Value) -> Option<()> {
    let (table, key) = place.rsplit_once('.').unwrap_or(("", place));
    let table = table.split('.').filter(|part| !part.is_empty()).try_fold(text, step_into)?;
    match step_into(table, key) {
        Some(old) => *old = value,
        None => drop(table.as_table_mut()?.insert(key.into(), value)),
    }
    Some(())
}

fn step_into<'a>(value: &'a mut toml::Value, part: &str) -> Option<&'a mut toml::Value> {
    match value {
        toml::Value::Table(table) => table.get_mut(part),
        toml::Value::Array(all) => all.iter_mut().find(|v| v.get("name").and_then(toml::Value::as_str) == Some(part)),
        _ => None,
    }
}
