//! Weights of sixteen outputs at once, as a vector of `argmin`.
//!
//! Products with a sparse matrix wait for memory, so a value that is read once serves sixteen outputs.

use argmin_math::{
    ArgminAdd, ArgminDot, ArgminL1Norm, ArgminL2Norm, ArgminMinMax, ArgminMul, ArgminSignum, ArgminSub, ArgminZeroLike,
};
use rayon::prelude::*;

/// Outputs of one problem.
pub(crate) const LANES: usize = 16;

/// One value for each output: a cache line.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
pub(crate) struct Lane(pub(crate) [f32; LANES]);

impl Lane {
    pub(crate) const ZERO: Lane = Lane([0.0; LANES]);
}

/// Lanes of one task of an operation; sums do not depend on the number of threads.
const TASK: usize = 4096;

/// Weights: a lane for each feature, then the intercepts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Weights(Vec<Lane>);

impl From<Vec<Lane>> for Weights {
    fn from(lanes: Vec<Lane>) -> Weights {
        Weights(lanes)
    }
}

impl Weights {
    /// Zeros for `features` features.
    pub(crate) fn zeros(features: usize) -> Weights {
        Weights(vec![Lane::ZERO; features + 1])
    }

    pub(crate) fn lanes(&self) -> &[Lane] {
        &self.0
    }

    pub(crate) fn lanes_mut(&mut self) -> &mut [Lane] {
        &mut self.0
    }

    fn map(&self, f: impl Fn(f32) -> f32 + Sync) -> Weights {
        let lanes = self.0.par_iter().with_min_len(TASK);
        Weights(lanes.map(|lane| Lane(lane.0.map(&f))).collect())
    }

    fn with(&self, other: &Weights, f: impl Fn(f32, f32) -> f32 + Sync) -> Weights {
        let lanes = self.0.par_iter().with_min_len(TASK).zip(&other.0);
        Weights(lanes.map(|(a, b)| Lane(std::array::from_fn(|i| f(a.0[i], b.0[i])))).collect())
    }

    /// The weighted sum of the features' lanes; `means` has a weight for each.
    pub(crate) fn at(&self, means: &[f32]) -> [f64; LANES] {
        let tasks = self.0.par_chunks(TASK).zip(means.par_chunks(TASK));
        let sums: Vec<[f64; LANES]> = tasks
            .map(|(lanes, means)| {
                let mut sums = [0.0; LANES];
                for (lane, mean) in lanes.iter().zip(means) {
                    let mean = f64::from(*mean);
                    sums.iter_mut().zip(lane.0).for_each(|(sum, value)| *sum += f64::from(value) * mean);
                }
                sums
            })
            .collect();
        std::array::from_fn(|i| sums.iter().map(|sum| sum[i]).sum())
    }

    /// Sum of `f` over pairs of values, each task in f64.
    pub(crate) fn sum(&self, other: &Weights, f: impl Fn(f64, f64) -> f64 + Sync) -> f64 {
        let tasks = self.0.par_chunks(TASK).zip(other.0.par_chunks(TASK));
        let sums: Vec<f64> = tasks
            .map(|(a, b)| {
                let mut sums = [0.0; LANES];
                for (a, b) in a.iter().zip(b) {
                    let pairs = a.0.iter().zip(b.0);
                    sums.iter_mut().zip(pairs).for_each(|(sum, (a, b))| *sum += f(f64::from(*a), f64::from(b)));
                }
                sums.iter().sum()
            })
            .collect();
        sums.iter().sum()
    }
}

impl ArgminAdd<Weights, Weights> for Weights {
    fn add(&self, other: &Weights) -> Weights {
        self.with(other, |a, b| a + b)
    }
}

impl ArgminSub<Weights, Weights> for Weights {
    fn sub(&self, other: &Weights) -> Weights {
        self.with(other, |a, b| a - b)
    }
}

impl ArgminMul<Weights, Weights> for Weights {
    fn mul(&self, other: &Weights) -> Weights {
        self.with(other, |a, b| a * b)
    }
}

impl ArgminAdd<f64, Weights> for Weights {
    fn add(&self, other: &f64) -> Weights {
        self.map(|a| a + *other as f32)
    }
}

impl ArgminSub<f64, Weights> for Weights {
    fn sub(&self, other: &f64) -> Weights {
        self.map(|a| a - *other as f32)
    }
}

impl ArgminMul<f64, Weights> for Weights {
    fn mul(&self, other: &f64) -> Weights {
        self.map(|a| (f64::from(a) * other) as f32)
    }
}

impl ArgminDot<Weights, f64> for Weights {
    fn dot(&self, other: &Weights) -> f64 {
        self.sum(other, |a, b| a * b)
    }
}

impl ArgminL2Norm<f64> for Weights {
    fn l2_norm(&self) -> f64 {
        self.dot(self).sqrt()
    }
}

impl ArgminL1Norm<f64> for Weights {
    fn l1_norm(&self) -> f64 {
        self.sum(self, |a, _| a.abs())
    }
}

impl ArgminSignum for Weights {
    fn signum(self) -> Weights {
        self.map(f32::signum)
    }
}

impl ArgminZeroLike for Weights {
    fn zero_like(&self) -> Weights {
        Weights::zeros(self.0.len() - 1)
    }
}

impl ArgminMinMax for Weights {
    fn min(x: &Weights, y: &Weights) -> Weights {
        x.with(y, f32::min)
    }

    fn max(x: &Weights, y: &Weights) -> Weights {
        x.with(y, f32::max)
    }
}

impl ArgminMul<Weights, Weights> for f64 {
    fn mul(&self, other: &Weights) -> Weights {
        ArgminMul::mul(other, self)
    }
}
