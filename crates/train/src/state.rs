//! The checkpoint: one file with everything that a run needs to continue.

use crate::{Error, Objective, Optimizer, Result};
use clinpeft_weights::{Checkpoint, Checksum, Keep, TensorMap, save_with_checksum};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::path::Path;

/// A number that comes back to the bit: it is written as the integer of its bits. Older files have it as a decimal.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Exact(pub f64);

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        to.serialize_u64(self.0.to_bits())
    }
}

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Exact, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Bits(u64),
            Decimal(f64),
        }
        Ok(Exact(match Form::deserialize(from)? {
            Form::Bits(bits) => f64::from_bits(bits),
            Form::Decimal(number) => number,
        }))
    }
}

/// What is known between two steps, beside the tensors.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    /// Optimizer steps done.
    pub step: u64,
    /// Epochs whose validation is done.
    pub validated: u64,
    /// Best epoch so far and its score.
    pub best: Option<(u64, Exact)>,
    /// Sum of the step losses of the running epoch, and their number.
    pub epoch_loss: (Exact, u64),
    /// Tokens run.
    pub tokens: u64,
    /// Lines of the event log.
    pub lines: u64,
    /// Seconds of training, over all starts.
    pub seconds: Exact,
    /// Loss of the last step.
    pub last_loss: Exact,
}

/// Writes state, parameters, moments and the best parameters.
pub(crate) fn write(
    path: &Path,
    state: &State,
    objective: &dyn Objective,
    optimizer: &Optimizer,
    best: &TensorMap,
) -> Result<()> {
    let mut all = TensorMap::new();
    for (name, p) in objective.parameters() {
        all.insert(format!("p/{name}"), p.value().clone());
    }
    optimizer.export(&mut all);
    let adapters = objective.parts().stack.state()?;
    all.extend(adapters.into_iter().map(|(name, t)| (format!("a/{name}"), t)));
    all.extend(best.iter().map(|(name, t)| (format!("best/{name}"), t.clone())));
    let text = serde_json::to_string(state).map_err(|e| Error::Checkpoint(e.to_string()))?;
    Ok(save_with_checksum(path, &all, &BTreeMap::from([("state".to_string(), text)]))?)
}

/// The state of a checkpoint, once its checksum is proved.
fn state_of(path: &Path, file: &Checkpoint) -> Result<State> {
    let checksum = file.verify().map_err(|e| damaged(path, e))?;
    let text = file.metadata().get("state");
    // Older checkpoints have no checksum, and nothing beside the state.
    let Some(text) = text.filter(|_| checksum == Checksum::Valid || file.metadata().len() == 1) else {
        return Err(Error::Damaged { path: path.into(), what: "it has no checksum, or no state".into() });
    };
    serde_json::from_str(text).map_err(|e| Error::Damaged { path: path.into(), what: format!("its state: {e}") })
}

/// A file that is not what was written, told from one that cannot be read at all.
fn damaged(path: &Path, error: clinpeft_weights::Error) -> Error {
    use clinpeft_files::Error as File;
    let what = match error {
        clinpeft_weights::Error::File(File::Io { .. }) => return error.into(),
        clinpeft_weights::Error::Format { what, .. }
        | clinpeft_weights::Error::File(File::Damaged { what, .. } | File::Content { what, .. }) => what,
        other => other.to_string(),
    };
    Error::Damaged { path: path.into(), what: what.lines().next().unwrap_or_default().into() }
}

/// Restores what [`write`] wrote. Returns the state and the best parameters.
///
/// Errors with [`Error::Damaged`] if the file is not as it was written.
pub(crate) fn read(
    path: &Path,
    objective: &mut dyn Objective,
    optimizer: &mut Optimizer,
) -> Result<(State, TensorMap)> {
    let file = Checkpoint::open_file(path).map_err(|e| damaged(path, e))?;
    let state = state_of(path, &file)?;
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
    for (name, p) in objective.parameters() {
        let kept = ["m", "v", "best"].map(|part| all.get(&format!("{part}/{name}")));
        if kept.into_iter().flatten().any(|t| t.dims() != p.value().dims()) {
            return Err(Error::Checkpoint(format!("what is kept of parameter `{name}` has another shape")));
        }
    }
    optimizer.import(&all, state.step)?;
    let adapters = all.iter().filter_map(|(k, t)| Some((k.strip_prefix("a/")?.to_string(), t.clone())));
    objective.parts_mut().stack.set_state(&adapters.collect())?;
    let best = all.into_iter().filter_map(|(k, t)| Some((k.strip_prefix("best/")?.to_string(), t))).collect();
    Ok((state, best))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A parser that does not round exactly reads this decimal one unit in the last place less.
    const SCORE: f64 = 14.0 / 15.0;

    #[test]
    fn numbers_of_the_state_are_written_as_their_bits() {
        let numbers = [SCORE, 0.0, -0.0, 5e-324, f64::MAX, f64::INFINITY, f64::NAN];
        for x in numbers {
            let state = State { best: Some((3, Exact(x))), epoch_loss: (Exact(x), 1), ..State::default() };
            let text = serde_json::to_string(&state).unwrap();
            assert!(text.contains(&format!("\"best\":[3,{}]", x.to_bits())), "{text}");
            let again: State = serde_json::from_str(&text).unwrap();
            assert_eq!(again.best.unwrap().1.0.to_bits(), x.to_bits());
            assert_eq!(again.epoch_loss.0.0.to_bits(), x.to_bits());
        }
    }

    #[test]
    fn decimals_of_older_states_are_read_to_the_bit() {
        let text = r#"{"step":2,"validated":1,"best":[1,0.9333333333333333],"epoch_loss":[0.0,0],"tokens":7,"lines":3,
            "seconds":1.5,"last_loss":2.0}"#;
        let state: State = serde_json::from_str(text).unwrap();
        assert_eq!((state.best, state.last_loss), (Some((1, Exact(SCORE))), Exact(2.0)));
    }
}
