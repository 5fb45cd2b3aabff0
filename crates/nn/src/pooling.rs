//! Which row of a sequence a classifier reads.

use crate::{PadProbe, Result};
use clinpeft_tensor::Tensor;

/// Which row stands for a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The last token, found by length.
    LastToken,
    /// The last row of a padded batch, be it a pad token: the last pad probe behind the tokens, or the last token. So the
    /// published code, wherever pad ids disagree.
    LastPosition,
    /// The first token.
    FirstToken,
    /// The first row of a padded batch, be it a pad token: the first pad probe that sees all tokens, or the first token.
    /// For models whose tokens see all others, so that it does not matter where a pad probe stands.
    FirstPosition,
}

impl Pooling {
    /// The row of each sequence, where sequences begin at `offsets` with `virtual_rows` rows and `pad_probes` stand after
    /// all of them.
    pub fn rows(self, offsets: &[u32], virtual_rows: usize, pad_probes: &[PadProbe]) -> Result<Tensor> {
        let end = offsets.last().copied().unwrap_or(0);
        let last = |s: usize, w: &[u32]| {
            let tokens = w[1] - w[0] - virtual_rows as u32;
            let behind = |o: &PadProbe| o.sequence as usize == s && o.sees == tokens;
            let found = pad_probes.iter().rposition(behind);
            found.map_or(w[1] - 1, |i| end + i as u32)
        };
        let first = |s: usize, w: &[u32]| {
            let tokens = w[1] - w[0] - virtual_rows as u32;
            let sees_all = |o: &PadProbe| o.sequence as usize == s && o.sees == tokens;
            let found = pad_probes.iter().position(sees_all);
            found.map_or(w[0] + virtual_rows as u32, |i| end + i as u32)
        };
        let windows = offsets.windows(2).enumerate();
        let rows: Vec<u32> = windows
            .map(|(s, w)| match self {
                Pooling::LastToken => w[1] - 1,
                Pooling::LastPosition => last(s, w),
                Pooling::FirstToken => w[0] + virtual_rows as u32,
                Pooling::FirstPosition => first(s, w),
            })
            .collect();
        let n = rows.len();
        Ok(Tensor::from_vec(rows, &[n])?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(sequence: u32, sees: u32) -> PadProbe {
        PadProbe { sequence, sees, id: 0, position: 9 }
    }

    #[test]
    fn last_token_is_found_by_length_and_last_position_by_pad_probe() {
        let pooled = |p: Pooling, n| {
            let rows = p.rows(&[0, 2, 5], n, &[behind(0, 0), behind(0, 2 - n as u32)]).unwrap();
            rows.as_slice::<u32>().unwrap().to_vec()
        };
        assert_eq!(pooled(Pooling::LastToken, 0), [1, 4]);
        assert_eq!(pooled(Pooling::LastPosition, 0), [6, 4]);
        assert_eq!(pooled(Pooling::LastPosition, 1), [6, 4]);
        assert_eq!(pooled(Pooling::FirstToken, 1), [1, 3]);
        assert_eq!(pooled(Pooling::FirstPosition, 1), [6, 3]);
    }
}
