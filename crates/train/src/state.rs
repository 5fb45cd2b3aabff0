//! The checkpoint: one file with everything that a run needs to continue.

use crate::{Error, Objective, Optimiser, Result};
use clinpeft_weights::{Checkpoint, Keep, TensorMap, save};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// What is known between two steps, beside the tensors.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    /// Optimiser steps done.
    pub step: u64,
    /// Epochs whose validation is done.
    pub validated: u64,
    /// Best epoch so far and its score.
    pub best: Option<(u64, f64)>,
    /// Sum of the step losses of the running epoch, and their number.
    pub epoch_loss: (f64, u64),
    /// Tokens run.
    pub tokens: u64,
    /// Lines of the event log.
    pub lines: u64,
    /// Seconds of training, over all starts.
    pub seconds: f64,
    /// Loss of the last step.
    pub last_loss: f64,
}

/// Writes state, parameters, moments and the best parameters.
pub(crate) fn write(
    path: &Path,
    state: &State,
    objective: &dyn Objective,
    optimiser: &Optimiser,
    best: &TensorMap,
) -> Result<()> {
    let mut all = TensorMap::new();
    for (name, p) in objective.parameters() {
        all.insert(format!("p/{name}"), p.value().clone());
    }
    optimiser.export(&mut all);
    let adapters = objective.stack().state()?;
    all.extend(adapters.into_iter().map(|(name, t)| (format!("a/{name}"), t)));
    all.extend(best.iter().map(|(name, t)| (format!("best/{name}"), t.clone())));
    let text = serde_json::to_string(state).map_err(|e| Error::Checkpoint(e.to_string()))?;
    Ok(save(path, &all, &BTreeMap::from([("state".to_string(), text)]))?)
}

/// Restores what [`write`] wrote. Returns the state and the best parameters.
pub(crate) fn read(
    path: &Path,
    objective: &mut dyn Objective,
    optimiser: &mut Optimiser,
) -> Result<(State, TensorMap)> {
    let file = Checkpoint::open_file(path)?;
    let text = file.metadata().get("state").ok_or_else(|| Error::Checkpoint("has no state".into()))?;
    let state: State = serde_json::from_str(text).map_err(|e| Error::Checkpoint(e.to_string()))?;
    let mut all = TensorMap::new();
    for name in file.tensors().keys() {
        all.insert(name.clone(), file.any(name, Keep::Stored)?);
    }
    for (name, p) in objective.parameters_mut() {
        let value = all.remove(&format!("p/{name}"));
        let value = value.ok_or_else(|| Error::Checkpoint(format!("has no parameter `{name}`")))?;
        if value.dims() != p.value().dims() {
            return Err(Error::Checkpoint(format!("parameter `{name}` has another shape")));
        }
        p.set_value(value.to_device(&p.value().device())?);
    }
    optimiser.import(&all, state.step)?;
    let adapters = all.iter().filter_map(|(k, t)| Some((k.strip_prefix("a/")?.to_string(), t.clone())));
    objective.stack_mut().set_state(&adapters.collect())?;
    let best = all.into_iter().filter_map(|(k, t)| Some((k.strip_prefix("best/")?.to_string(), t))).collect();
    Ok((state, best))
}
