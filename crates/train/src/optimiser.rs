//! AdamW over named parameters.

use crate::{Error, Result};
use clinpeft_autodiff::Gradients;
use clinpeft_nn::Parameter;
use clinpeft_tensor::{Tensor, ops};
use clinpeft_weights::TensorMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Constants of AdamW and of clipping.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimiserSettings {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the denominator.
    pub eps: f64,
    /// Decoupled weight decay, on everything that learns.
    pub weight_decay: f64,
    /// Largest Euclidean norm of the whole gradient; larger ones are scaled down.
    pub clip: Option<f64>,
}

/// Moments of every parameter that learns.
#[derive(Debug)]
pub struct Optimiser {
    settings: OptimiserSettings,
    moments: BTreeMap<String, [Tensor; 2]>,
    steps: u64,
}

impl Optimiser {
    /// Zero moments.
    pub fn new(settings: OptimiserSettings) -> Optimiser {
        Optimiser { settings, moments: BTreeMap::new(), steps: 0 }
    }

    /// One step. Parameters without a gradient stay as they are.
    pub fn step(&mut self, parameters: Vec<(String, &mut Parameter)>, gradients: &Gradients, rate: f64) -> Result<()> {
        let squares = match self.settings.clip {
            Some(_) => gradients.squares(parameters.iter().map(|(_, p)| p.var()))?.unwrap_or(0.0),
            None => 0.0,
        };
        self.step_measured(parameters, gradients, squares, rate)
    }

    /// The same where the sum of the squares of the whole gradient is known; it counts only where the settings clip.
    pub(crate) fn step_measured(
        &mut self,
        parameters: Vec<(String, &mut Parameter)>,
        gradients: &Gradients,
        squares: f64,
        rate: f64,
    ) -> Result<()> {
        self.steps += 1;
        let factor = self.settings.clip.map_or(1.0, |limit| (limit / squares.sqrt().max(f64::MIN_POSITIVE)).min(1.0));
        for (name, p) in parameters {
            let Some(g) = gradients.of(p.var()) else { continue };
            let g = if factor < 1.0 { ops::scale(g, factor)? } else { g.clone() };
            let mut value = p.take_value();
            let zeros = || Tensor::zeros(value.dims(), value.dtype()).to_device(&value.device());
            let [m, v] = match self.moments.entry(name) {
                std::collections::btree_map::Entry::Occupied(o) => o.into_mut(),
                std::collections::btree_map::Entry::Vacant(e) => e.insert([zeros()?, zeros()?]),
            };
            // Those of a checkpoint come from the CPU.
            (*m, *v) = (m.to_device(&value.device())?, v.to_device(&value.device())?);
            let s = &self.settings;
            let step = ops::AdamW {
                learning_rate: rate,
                beta1: s.beta1,
                beta2: s.beta2,
                eps: s.eps,
                weight_decay: s.weight_decay,
                step: self.steps,
            };
            ops::adamw([&mut value, m, v], &g, &step)?;
            p.set_value(value);
        }
        Ok(())
    }

    /// Number of steps done.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The moments by name, for a checkpoint.
    pub(crate) fn export(&self, into: &mut TensorMap) {
        for (name, [m, v]) in &self.moments {
            into.insert(format!("m/{name}"), m.clone());
            into.insert(format!("v/{name}"), v.clone());
        }
    }

    /// Restores what [`Optimiser::export`] wrote.
    pub(crate) fn import(&mut self, from: &TensorMap, steps: u64) -> Result<()> {
        self.steps = steps;
        for (key, m) in from.iter().filter_map(|(k, t)| Some((k.strip_prefix("m/")?, t))) {
            let v = from.get(&format!("v/{key}"));
            let v = v.ok_or_else(|| Error::Checkpoint(format!("has no second moment of `{key}`")))?;
            self.moments.insert(key.into(), [m.clone(), v.clone()]);
        }
        Ok(())
    }
}
