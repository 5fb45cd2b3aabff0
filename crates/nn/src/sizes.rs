//! What the sizes of a model may be. They stand in `config.json`, which anybody may have written, so they are checked before
//! anything is made of them.

use crate::{Error, Result};

/// Most entries of a vocabulary, and longest sequence.
pub const ENTRIES: usize = 1 << 24;
/// Greatest width of a hidden row, and of all heads of a layer.
pub const WIDTH: usize = 1 << 17;
/// Greatest width inside of a feed-forward part.
pub const INNER_WIDTH: usize = 1 << 20;
/// Most layers.
pub const LAYERS: usize = 4096;
/// Most heads, and greatest width of one.
pub const HEADS: usize = 1 << 16;

/// Errors with the key if `n` is zero or more than `most`.
pub fn need_size(key: &str, n: usize, most: usize) -> Result<()> {
    if (1..=most).contains(&n) {
        return Ok(());
    }
    Err(Error::Config(format!(
        "`{key}` is {n}\nhint: a number from 1 to {most}; config.json is damaged, or of no known model"
    )))
}

/// Errors with the key if `x` is no finite number above 0.
pub fn need_positive(key: &str, x: f64) -> Result<()> {
    if x.is_finite() && x > 0.0 {
        return Ok(());
    }
    Err(Error::Config(format!("`{key}` is {x}\nhint: a finite number above 0")))
}
