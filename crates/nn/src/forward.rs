//! The context of a forward pass.

use clinpeft_tensor::rng::{Key, Seed};

/// Training or evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Dropout is off.
    Evaluate,
    /// Dropout draws from the seed of this step.
    Train(Seed),
}

/// Activation checkpointing: what is saved for the backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Checkpointing {
    /// Every activation that the backward pass needs.
    #[default]
    None,
    /// The input of each block; the rest is recomputed.
    Full,
}

/// The context of one forward pass.
#[derive(Debug, Clone, Copy)]
pub struct ForwardCtx {
    /// Training or evaluation.
    pub mode: Mode,
    /// What is saved for the backward pass.
    pub checkpointing: Checkpointing,
}

impl ForwardCtx {
    /// A forward pass without dropout.
    pub fn evaluate() -> ForwardCtx {
        ForwardCtx { mode: Mode::Evaluate, checkpointing: Checkpointing::None }
    }

    /// A training forward pass whose dropout masks come from `seed`.
    pub fn train(seed: Seed, checkpointing: Checkpointing) -> ForwardCtx {
        ForwardCtx { mode: Mode::Train(seed), checkpointing }
    }

    /// The key of the dropout mask at the place called `name`, or `None` in evaluation.
    pub fn dropout_key(&self, name: &str) -> Option<Key> {
        match self.mode {
            Mode::Evaluate => None,
            Mode::Train(seed) => Some(seed.key(name)),
        }
    }
}
