//! What settings may be, whether they come from `run.toml` or from a file of PEFT.

use crate::{Error, Result};

/// Highest rank, of one layer.
pub(crate) const RANK: usize = 65_536;
/// Most virtual tokens, or rows of a prompt.
pub(crate) const ROWS: usize = 65_536;
/// Greatest width inside of a prompt's network.
pub(crate) const INNER: usize = 65_536;
/// Most layers of an LSTM.
pub(crate) const LSTM_LAYERS: usize = 64;
/// Most optimizer steps.
pub(crate) const STEPS: u64 = 1_000_000_000_000;
/// Greatest numerator of a scale.
pub(crate) const ALPHA: f64 = 1e6;

/// Errors with the key if `n` is not from 1 to `most`.
pub(crate) fn need_count(key: &str, n: usize, most: usize) -> Result<()> {
    if (1..=most).contains(&n) {
        return Ok(());
    }
    Err(Error::Config(format!("`{key}` is {n}\nhint: a number from 1 to {most}")))
}

/// Errors with the key if `n` is more than [`STEPS`].
pub(crate) fn need_steps(key: &str, n: u64) -> Result<()> {
    if n <= STEPS {
        return Ok(());
    }
    Err(Error::Config(format!("`{key}` is {n}\nhint: a number of steps up to {STEPS}")))
}

/// Errors if alpha is no number above 0, up to [`ALPHA`].
pub(crate) fn need_alpha(alpha: f64) -> Result<()> {
    if alpha > 0.0 && alpha <= ALPHA {
        return Ok(());
    }
    Err(Error::Config(format!("`alpha` is {alpha}\nhint: a number above 0, up to {ALPHA}; 32 is usual")))
}

/// Errors if a share that is dropped is not in [0, 1).
pub(crate) fn need_share(share: f64) -> Result<()> {
    if (0.0..1.0).contains(&share) {
        return Ok(());
    }
    Err(Error::Config(format!("`dropout` is {share}\nhint: a share from 0 to below 1")))
}
