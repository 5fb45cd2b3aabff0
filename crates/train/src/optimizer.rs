//! AdamW over named parameters.

use crate::{Error, Result};
use clinpeft_autodiff::{Gradients, Norm};
use clinpeft_nn::Parameter;
use clinpeft_tensor::{Tensor, ops};
use clinpeft_weights::TensorMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Constants of AdamW and of clipping.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerSettings {
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
pub struct Optimizer {
    settings: OptimizerSettings,
    moments: BTreeMap<String, [Tensor; 2]>,
    steps: u64,
}

impl Optimizer {
    /// Zero moments.
    pub fn new(settings: OptimizerSettings) -> Optimizer {
        Optimizer { settings, moments: BTreeMap::new(), steps: 0 }
    }

    /// One step. Parameters without a gradient stay as they are.
    pub fn step(&mut self, parameters: Vec<(String, &mut Parameter)>, gradients: &Gradients, rate: f64) -> Result<()> {
        let mut norms = Vec::new();
        if self.settings.clip.is_some() {
            for (_, p) in &parameters {
                norms.extend(gradients.norm(p.var())?);
            }
        }
        self.step_measured(parameters, gradients, &norms, rate)
    }

    /// The same where the norms of all gradients are known; they count only where the settings clip. Nothing is read from
    /// a device.
    pub(crate) fn step_measured<'a>(
        &mut self,
        parameters: Vec<(String, &mut Parameter)>,
        gradients: &Gradients,
        norms: impl IntoIterator<Item = &'a Norm>,
        rate: f64,
    ) -> Result<()> {
        self.steps += 1;
        let mut learning = Vec::new();
        for (name, p) in parameters {
            let Some(g) = gradients.of(p.var()).cloned() else { continue };
            let value = p.take_value();
            let zeros = || Tensor::zeros(value.dims(), value.dtype()).to_device(&value.device());
            let [m, v] = match self.moments.remove(&name) {
                // Those of a checkpoint come from the CPU.
                Some([m, v]) => [m.to_device(&value.device())?, v.to_device(&value.device())?],
                None => [zeros()?, zeros()?],
            };
            learning.push((name, p, g, [value, m, v]));
        }
        let s = &self.settings;
        let step = ops::AdamW {
            learning_rate: rate,
            beta1: s.beta1,
            beta2: s.beta2,
            eps: s.eps,
            weight_decay: s.weight_decay,
            step: self.steps,
        };
        let norm = s.clip.and(Norm::of_all(norms.into_iter())?);
        let clip = s.clip.zip(norm.as_ref()).map(|(limit, norm)| ops::Clip { norm, limit });
        let mut all: Vec<ops::AdamWParam<'_>> = learning
            .iter_mut()
            .map(|(_, _, gradient, [parameter, first, second])| ops::AdamWParam { parameter, first, second, gradient })
            .collect();
        ops::adamw(&mut all, clip, &step)?;
        for (name, p, _, [value, m, v]) in learning {
            p.set_value(value);
            self.moments.insert(name, [m, v]);
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

    /// Restores what [`Optimizer::export`] wrote.
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
