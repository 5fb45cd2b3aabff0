//! Where prompts, tokens and pad probes stand in the rows of a run.

use clinpeft_nn::RaggedBatch;
use clinpeft_tensor::ops::CuSeqlens;

/// Which rows stand where in a run.
pub(crate) struct Arrangement {
    /// Rows of `[prompt; tokens; pad_probes]` that make the input.
    pub(crate) tokens: Vec<u32>,
    /// Position of each input row.
    pub(crate) positions: Vec<u32>,
    /// Where sequences begin in the input, prompt included.
    pub(crate) offsets: Vec<u32>,
    /// One segment for each sequence, then one for each pad probe.
    pub(crate) cu_seqlens: CuSeqlens,
    /// Rows of `[prefix; keys]` that make the keys of the segments.
    pub(crate) keys: Vec<u32>,
}

impl Arrangement {
    pub(crate) fn new(batch: &RaggedBatch, prompt: usize, prefix: usize) -> Arrangement {
        let (n, p) = (prompt as u32, prefix as u32);
        let shifted = |(s, o): (usize, &u32)| o + s as u32 * n;
        let offsets: Vec<u32> = batch.offsets.iter().enumerate().map(shifted).collect();
        let mut cu_seqlens = CuSeqlens::same(&offsets);
        let (mut tokens, mut positions, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        cu_seqlens.keys.truncate(1);
        for (s, w) in batch.offsets.windows(2).enumerate() {
            tokens.extend((0..n).chain(w[0] + n..w[1] + n));
            positions.extend(p..p + n);
            positions.extend(batch.positions[w[0] as usize..w[1] as usize].iter().map(|i| i + n + p));
            keys.extend((0..p).chain(offsets[s] + p..offsets[s + 1] + p));
            cu_seqlens.keys.push(keys.len());
        }
        for (i, o) in batch.pad_probes.iter().enumerate() {
            let first = offsets[o.sequence as usize] + p;
            tokens.push(n + batch.tokens() as u32 + i as u32);
            positions.push(o.position + n + p);
            keys.extend((0..p).chain(first..first + n + o.sees));
            cu_seqlens.keys.push(keys.len());
            cu_seqlens.queries.push(positions.len());
        }
        Arrangement { tokens, positions, offsets, cu_seqlens, keys }
    }
}
