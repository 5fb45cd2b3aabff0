//! Trainability rate by optimizer step.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Number of an optimizer step, from 0. Micro-batches are not steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OptimizerStep(pub u64);

/// How long the rate rises.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Warmup {
    /// A number of optimizer steps.
    Steps(u64),
    /// A share of all optimizer steps.
    Ratio(f64),
}

/// How the rate moves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// Linear rise, then linear fall to zero after the last optimizer step.
    WarmupAndDecay(Warmup),
    /// As the published code: the warm-up ratio is taken for a number of steps and the total is counted in micro-batches, so
    /// the first step has rate zero and the others fall by a small part of their range.
    Published,
}

/// The rate of every step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    peak: f64,
    warmup: f64,
    total: u64,
    rule: Rate,
}

impl Schedule {
    /// A schedule over `steps` optimizer steps of `micro_batches` micro-batches in all. Errors if a rate or ratio cannot be.
    pub fn new(peak: f64, rule: Rate, steps: u64, micro_batches: u64) -> Result<Schedule> {
        if !peak.is_finite() || peak < 0.0 {
            return Err(Error::Settings(format!("learning rate {peak} cannot be")));
        }
        let (warmup, total) = match rule {
            Rate::WarmupAndDecay(Warmup::Steps(n)) => (n as f64, steps),
            Rate::WarmupAndDecay(Warmup::Ratio(r)) if (0.0..=1.0).contains(&r) => ((r * steps as f64).ceil(), steps),
            Rate::WarmupAndDecay(Warmup::Ratio(r)) => {
                return Err(Error::Settings(format!("a warm-up ratio lies in [0, 1], not {r}")));
            }
            Rate::Published => (0.06, micro_batches),
        };
        Ok(Schedule { peak, warmup, total, rule })
    }

    /// The rate of a step. Only the published rule has a step of rate zero, the first.
    pub fn rate(&self, step: OptimizerStep) -> f64 {
        let (t, total) = (step.0 as f64, self.total as f64);
        let done = match self.rule {
            Rate::WarmupAndDecay(_) => t + 1.0,
            Rate::Published => t,
        };
        if t < self.warmup {
            return self.peak * done / self.warmup.max(1.0);
        }
        let falling = (total - self.warmup).max(f64::MIN_POSITIVE);
        self.peak * ((total - t).max(0.0) / falling).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_over_the_warm_up_and_falls_to_the_last_step() {
        let s = Schedule::new(1.0, Rate::WarmupAndDecay(Warmup::Ratio(0.1)), 100, 400).unwrap();
        assert_eq!(s.rate(OptimizerStep(0)), 0.1);
        assert_eq!(s.rate(OptimizerStep(9)), 1.0);
        assert_eq!(s.rate(OptimizerStep(10)), 1.0);
        assert!((s.rate(OptimizerStep(99)) - 1.0 / 90.0).abs() < 1e-12);
        assert!(Schedule::new(1.0, Rate::WarmupAndDecay(Warmup::Ratio(6.0)), 100, 100).is_err());
    }

    #[test]
    fn without_warm_up_the_first_step_has_the_full_rate() {
        let s = Schedule::new(0.5, Rate::WarmupAndDecay(Warmup::Steps(0)), 4, 4).unwrap();
        assert_eq!([0, 1, 2, 3].map(|t| s.rate(OptimizerStep(t))), [0.5, 0.375, 0.25, 0.125]);
    }

    #[test]
    fn published_rule_wastes_the_first_step_and_hardly_falls() {
        // Ten micro-batches a step: the published factor after the last step is 0.9.
        let s = Schedule::new(1.0, Rate::Published, 100, 1000).unwrap();
        assert_eq!(s.rate(OptimizerStep(0)), 0.0);
        assert!((s.rate(OptimizerStep(1)) - 999.0 / 999.94).abs() < 1e-12);
        assert!((s.rate(OptimizerStep(100)) - 0.9).abs() < 1e-3);
    }
}
