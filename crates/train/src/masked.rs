//! Masked-token prediction (Devlin et al. 2019, section 3.1), for the BERT family.

use crate::data::length;
use crate::{MicroBatchLoss, Objective, Parts, PartsMut, Result};
use clinpeft_bert::{Bert, MaskedHead, MaskedTokens};
use clinpeft_nn::{AdapterHooks, Backbone, ForwardCtx, HiddenRows, Mode, RaggedBatch};
use clinpeft_peft::Stack;
use clinpeft_rng::{RngExt, Seed, Stream, shuffle};
use clinpeft_text::{Batch, Sequences};
use std::sync::Arc;

/// Share of the tokens that are to be predicted.
const SHARE: f64 = 0.15;

/// A BERT that learns to fill in what was masked.
pub struct MaskedModelling {
    /// The model.
    pub model: Bert,
    /// What predicts from its rows.
    pub head: MaskedHead,
    /// Its adapters.
    pub stack: Stack,
    /// What it reads.
    pub data: Sequences,
    /// How tokens are masked.
    pub masking: Masking,
}

/// How tokens are masked: of those to be predicted, 80 % become the mask token, 10 % a random one, 10 % stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masking {
    /// The mask token.
    pub mask: u32,
    /// Tokens that are never to be predicted.
    pub specials: Vec<u32>,
    /// Random tokens are below this.
    pub vocabulary: u32,
}

impl Masking {
    /// How many tokens of a sequence are to be predicted: 15 % of those that are no special ones, at least one.
    fn count(&self, ids: &[u32]) -> usize {
        let candidates = ids.iter().filter(|i| !self.specials.contains(i)).count();
        ((SHARE * candidates as f64).round() as usize).max(1).min(candidates)
    }

    /// Masks a sequence in place. Returns the places and what stood there.
    fn apply(&self, ids: &mut [u32], rng: &mut Stream) -> Vec<(usize, u32)> {
        let n = self.count(ids);
        let mut places: Vec<usize> = (0..ids.len()).filter(|i| !self.specials.contains(&ids[*i])).collect();
        shuffle(&mut places, rng);
        places.truncate(n);
        places.sort_unstable();
        let one = |i: usize| {
            let before = ids[i];
            ids[i] = match rng.random_range(0..10u32) {
                0..8 => self.mask,
                8 => rng.random_range(0..self.vocabulary),
                _ => before,
            };
            (i, before)
        };
        places.into_iter().map(one).collect()
    }
}

impl MaskedModelling {
    /// Some rows as a masked batch. The masks are a function of seed and row, so each step draws its own.
    fn masked(&self, rows: &[usize], seed: Seed) -> Result<(RaggedBatch, MaskedTokens)> {
        let mut batch = Batch::from_sequences(&self.data, rows)?;
        let mut masked = MaskedTokens { rows: Vec::new(), tokens: Vec::new() };
        for (row, w) in rows.iter().zip(batch.offsets.windows(2)) {
            let (first, end) = (w[0] as usize, w[1] as usize);
            let mut rng = seed.part("masking").stream(&row.to_string());
            for (place, token) in self.masking.apply(&mut batch.ids[first..end], &mut rng) {
                masked.rows.push((first + place) as u32);
                masked.tokens.push(token);
            }
        }
        Ok((RaggedBatch::new(batch.ids, batch.positions, batch.offsets)?, masked))
    }
}

impl Objective for MaskedModelling {
    fn denominator(&self, rows: &[usize]) -> f64 {
        let count = |r: &usize| self.data.get(*r).map_or(0, |ids| self.masking.count(ids));
        rows.iter().map(count).sum::<usize>() as f64
    }

    fn loss(&self, rows: &[usize], ctx: &ForwardCtx) -> Result<MicroBatchLoss> {
        let seed = match ctx.mode {
            Mode::Train(seed) => seed,
            Mode::Evaluate => Seed(0),
        };
        let (batch, masked) = self.masked(rows, seed)?;
        let hooks: Arc<dyn AdapterHooks> = Arc::new(self.stack.clone());
        let hidden = self.model.hidden(&batch, &hooks, ctx, HiddenRows::All)?;
        let (loss, _) = self.head.loss(&self.model, &hidden, &masked)?;
        Ok(MicroBatchLoss { loss, tokens: rows.iter().map(|r| length(&self.data, *r) as u64).sum() })
    }

    fn parts(&self) -> Parts<'_> {
        let base = self.model.parameters().into_iter().chain(self.head.parameters()).collect();
        Parts { base, stack: &self.stack, head: Vec::new() }
    }

    fn parts_mut(&mut self) -> PartsMut<'_> {
        let base = self.model.parameters_mut().into_iter().chain(self.head.parameters_mut()).collect();
        PartsMut { base, stack: &mut self.stack, head: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_hit_a_share_of_the_ordinary_tokens_and_spare_special_ones() {
        let masking = Masking { mask: 4, specials: vec![2, 3], vocabulary: 1000 };
        let plain: Vec<u32> = std::iter::once(2).chain(100..500).chain([3]).collect();
        let (mut masked, mut replaced, mut kept) = (0, 0, 0);
        for seed in 0..50 {
            let mut ids = plain.clone();
            let hit = masking.apply(&mut ids, &mut Seed(seed).stream("m"));
            assert_eq!((hit.len(), masking.count(&plain)), (60, 60));
            assert_eq!((ids[0], ids[401]), (2, 3));
            for (i, was) in hit {
                assert_eq!(was, plain[i]);
                match ids[i] {
                    4 => masked += 1,
                    same if same == was => kept += 1,
                    _ => replaced += 1,
                }
                ids[i] = was;
            }
            assert_eq!(ids, plain, "nothing else has changed");
        }
        // Of 3000: 2400, 300, 300, with standard deviations of 22 and 16.
        assert!((2290..2510).contains(&masked), "{masked}");
        assert!((220..380).contains(&replaced) && (220..380).contains(&kept), "{replaced} {kept}");
        assert_eq!(masking.count(&[2, 7, 3]), 1, "a short text has a target too");
        assert_eq!(masking.count(&[2, 3]), 0);
    }
}
