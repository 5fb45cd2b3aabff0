//! What operations take beside tensors and numbers.

use clinpeft_rng::Key;

/// Which operand is stored transposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `a [m, k]`, `b [k, n]`.
    Normal,
    /// `a [m, k]`, `b [n, k]`: a linear layer with its weight stored `[out, in]`.
    RightTransposed,
    /// `a [k, m]`, `b [k, n]`: the gradient of a weight.
    LeftTransposed,
}

/// Which way rotary embeddings rotate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The forward pass.
    Forward,
    /// The backward pass: the inverse rotation.
    Inverse,
}

/// Which keys a query may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    /// Keys up to the query's own place.
    Causal,
    /// The last so many keys up to the query's own place, itself included (Beltagy et al. 2020); at least one.
    SlidingWindow(usize),
    /// Every key of its sequence.
    Full,
}

/// Dropout of attention weights. The mask of query row i, head and key j is a function of (key, i, head, j) alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionDropout {
    /// Share of weights that become zero, in `[0, 1)`.
    pub rate: f64,
    /// Where the mask comes from.
    pub key: Key,
}

/// Heads, mask and dropout.
#[derive(Debug, Clone, Copy)]
pub struct AttentionShape {
    /// Query heads.
    pub heads: usize,
    /// Key-value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_width: usize,
    /// Factor of the products, usually `1 / sqrt(head_width)`.
    pub scale: f64,
    /// Which keys a query may see.
    pub mask: Mask,
    /// Dropout of the weights, in training.
    pub dropout: Option<AttentionDropout>,
}

/// Where each sequence begins: `b + 1` growing offsets into the rows of the queries and of the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CuSeqlens {
    /// Offsets of the queries.
    pub queries: Vec<usize>,
    /// Offsets of the keys.
    pub keys: Vec<usize>,
}

impl CuSeqlens {
    /// Queries and keys of the same sequences.
    pub fn same(offsets: &[u32]) -> CuSeqlens {
        let o: Vec<usize> = offsets.iter().map(|x| *x as usize).collect();
        CuSeqlens { queries: o.clone(), keys: o }
    }
}

/// What one AdamW step needs beside the tensors.
#[derive(Debug, Clone, Copy)]
pub struct AdamW {
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the denominator.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Number of this step, from 1.
    pub step: u64,
}
