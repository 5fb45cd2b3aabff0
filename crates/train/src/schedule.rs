//! Learning rate by optimiser step.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Number of an optimiser step, from 0. Micro-batches are not steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OptimiserStep(pub u64);

/// How long the rate rises.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Warmup {
    /// A number of optimiser steps.
    Steps(u64),
    /// A share of all optimiser steps.
    Ratio(f64),
}

/// Linear rise, then linear fall to zero after the last step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    peak: f64,
    warmup: u64,
    total: u64,
}

impl Schedule {
    /// A schedule over `total` optimiser steps. Errors if a rate or ratio cannot be.
    pub fn new(peak: f64, warmup: Warmup, total: u64) -> Result<Schedule> {
        let warmup = match warmup {
            Warmup::Steps(n) => n,
            Warmup::Ratio(r) if (0.0..=1.0).contains(&r) => (r * total as f64).ceil() as u64,
            Warmup::Ratio(r) => return Err(Error::Settings(format!("a warm-up ratio lies in [0, 1], not {r}"))),
        };
        if !peak.is_finite() || peak < 0.0 {
            return Err(Error::Settings(format!("learning rate {peak} cannot be")));
        }
        Ok(Schedule { peak, warmup, total })
    }

    /// The rate of a step. No step of a run has rate zero.
    pub fn rate(&self, step: OptimiserStep) -> f64 {
        let t = step.0;
        if t < self.warmup {
            return self.peak * (t + 1) as f64 / self.warmup as f64;
        }
        let falling = (self.total.saturating_sub(self.warmup)).max(1);
        self.peak * self.total.saturating_sub(t) as f64 / falling as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_over_the_warm_up_and_falls_to_the_last_step() {
        let s = Schedule::new(1.0, Warmup::Ratio(0.1), 100).unwrap();
        assert_eq!(s.rate(OptimiserStep(0)), 0.1);
        assert_eq!(s.rate(OptimiserStep(9)), 1.0);
        assert_eq!(s.rate(OptimiserStep(10)), 1.0);
        assert!((s.rate(OptimiserStep(99)) - 1.0 / 90.0).abs() < 1e-12);
        assert!(Schedule::new(1.0, Warmup::Ratio(6.0), 100).is_err());
    }

    #[test]
    fn without_warm_up_the_first_step_has_the_full_rate() {
        let s = Schedule::new(0.5, Warmup::Steps(0), 4).unwrap();
        assert_eq!([0, 1, 2, 3].map(|t| s.rate(OptimiserStep(t))), [0.5, 0.375, 0.25, 0.125]);
    }
}
