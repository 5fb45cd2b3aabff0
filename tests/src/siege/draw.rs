//! Seeded choices.

use clinpeft_rng::{Rng, RngExt, Seed, Stream};
use std::time::Duration;

/// Choices of one trial: the same for the same seed, attack and number.
#[derive(Debug, Clone)]
pub struct Draw(Stream);

impl Draw {
    /// The choices of trial `number` of an attack.
    pub fn of(seed: u64, attack: &str, number: u64) -> Draw {
        Draw(Seed(seed).stream(&format!("{attack}#{number}")))
    }

    /// A number below `limit`, which is at least 1.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0.random_range(0..limit.max(1))
    }

    /// One of several; there must be one.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// One of several words.
    pub fn word(&mut self, of: &[&'static str]) -> &'static str {
        self.pick::<&str>(of)
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// Any 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A time of up to `seconds`.
    pub fn moment(&mut self, seconds: f64) -> Duration {
        Duration::from_secs_f64(self.0.random::<f64>() * seconds.max(0.0))
    }
}
