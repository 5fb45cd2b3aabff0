//! How to train.

use crate::{Error, OptimizerSettings, Rate, Result, Warmup};
use clinpeft_nn::Checkpointing;
use clinpeft_rng::Seed;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Which epoch's parameters are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Selection {
    /// The last one.
    LastEpoch,
    /// The one with the best validation score (the first of equal ones).
    BestValidation,
}

/// Where the summed loss of a step is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossReduction {
    /// Once, by what the whole step holds: accumulation equals one large batch.
    WholeStep,
    /// In each micro-batch by what that one holds, then by the number of micro-batches of a full step, which makes an
    /// incomplete last step smaller; as the published code.
    MicroBatch {
        /// Micro-batches of a full step.
        full: usize,
    },
}

/// How to train.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Highest learning rate.
    pub learning_rate: f64,
    /// How the rate moves.
    pub rate: Rate,
    /// Where a loss is divided.
    pub reduction: LossReduction,
    /// AdamW and clipping.
    pub optimizer: OptimizerSettings,
    /// Which epoch is kept.
    pub selection: Selection,
    /// Stop after so many epochs without a better score; at least 1.
    pub patience: Option<u64>,
    /// What is kept for the backward pass.
    pub memory: Checkpointing,
    /// Seed of the run; dropout draws from it.
    pub seed: Seed,
    /// Steps between two step events.
    pub log_every: u64,
    /// Time between two checkpoints.
    pub checkpoint_every: Duration,
}

impl Settings {
    /// Errors with the key of a setting that cannot be.
    pub fn check(&self) -> Result<()> {
        let o = &self.optimizer;
        let above = "a finite number above 0";
        let decay = "a number from 0 to below 1";
        let ratio = match self.rate {
            Rate::WarmupAndDecay(Warmup::Ratio(r)) => r,
            Rate::WarmupAndDecay(Warmup::Steps(_)) | Rate::Published => 0.0,
        };
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let rules = [
            ("learning_rate", self.learning_rate, positive(self.learning_rate), above),
            ("warmup_ratio", ratio, (0.0..=1.0).contains(&ratio), "a number from 0 to 1"),
            (
                "weight_decay",
                o.weight_decay,
                o.weight_decay.is_finite() && o.weight_decay >= 0.0,
                "finite, and 0 or above",
            ),
            ("clip", o.clip.unwrap_or(1.0), o.clip.is_none_or(positive), above),
            ("beta1", o.beta1, (0.0..1.0).contains(&o.beta1), decay),
            ("beta2", o.beta2, (0.0..1.0).contains(&o.beta2), decay),
            ("eps", o.eps, positive(o.eps), above),
        ];
        match rules.into_iter().find(|(_, _, holds, _)| !holds) {
            Some((key, value, _, expected)) => Err(Error::Setting { key, value: value.to_string(), expected }),
            None if self.patience == Some(0) => {
                Err(Error::Setting { key: "patience", value: "0".into(), expected: "at least 1" })
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            learning_rate: 0.02,
            rate: Rate::WarmupAndDecay(Warmup::Ratio(0.1)),
            reduction: LossReduction::WholeStep,
            optimizer: OptimizerSettings { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, clip: Some(1.0) },
            selection: Selection::LastEpoch,
            patience: Some(1),
            memory: Checkpointing::None,
            seed: Seed(1),
            log_every: 1,
            checkpoint_every: Duration::ZERO,
        }
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_key() {
        settings().check().unwrap();
        let refused = |key: &str, change: &dyn Fn(&mut Settings, f64), values: &[f64]| {
            for value in values {
                let mut s = settings();
                change(&mut s, *value);
                let said = s.check().unwrap_err().to_string();
                assert!(said.contains(&format!("`{key}` = {value}")) && said.contains("\nhint: "), "{said}");
            }
        };
        let none = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0];
        let at_most_zero = [&none[..], &[0.0]].concat();
        refused("learning_rate", &|s, x| s.learning_rate = x, &at_most_zero);
        refused("clip", &|s, x| s.optimizer.clip = Some(x), &at_most_zero);
        refused("eps", &|s, x| s.optimizer.eps = x, &at_most_zero);
        refused("weight_decay", &|s, x| s.optimizer.weight_decay = x, &none);
        refused("warmup_ratio", &|s, x| s.rate = Rate::WarmupAndDecay(Warmup::Ratio(x)), &[&none[..], &[1.1]].concat());
        refused("beta1", &|s, x| s.optimizer.beta1 = x, &[&none[..], &[1.0]].concat());
        refused("beta2", &|s, x| s.optimizer.beta2 = x, &[&none[..], &[1.0]].concat());
        refused("patience", &|s, x| s.patience = Some(x as u64), &[0.0]);
    }
}
