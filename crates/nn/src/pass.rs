//! What one run through a model needs beside its inputs.

use clinpeft_tensor::rng::{Key, Seed};

/// Training or evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Dropout is off.
    Evaluate,
    /// Dropout draws from the seed of this step.
    Train(Seed),
}

/// What is kept for the backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Memory {
    /// Everything that is needed.
    #[default]
    Keep,
    /// The input of each block; the rest is computed again (gradient checkpointing).
    Recompute,
}

/// One run through a model.
#[derive(Debug, Clone, Copy)]
pub struct Pass {
    /// Training or evaluation.
    pub mode: Mode,
    /// What is kept.
    pub memory: Memory,
}

impl Pass {
    /// A run without dropout.
    pub fn evaluate() -> Pass {
        Pass { mode: Mode::Evaluate, memory: Memory::Keep }
    }

    /// A training run whose dropout masks come from `seed`.
    pub fn train(seed: Seed, memory: Memory) -> Pass {
        Pass { mode: Mode::Train(seed), memory }
    }

    /// The key of the dropout mask at the place called `name`, or `None` in evaluation.
    pub fn dropout_key(&self, name: &str) -> Option<Key> {
        match self.mode {
            Mode::Evaluate => None,
            Mode::Train(seed) => Some(seed.key(name)),
        }
    }
}
