//! Whether the adaptation corpus holds the text of a sample that a model is tested on.
//!
//! The two MIMIC releases cover partly the same stays under different numbers and with different masks, so only text can
//! tell. Words are lowered, masks and marks are removed, and every window of [`WINDOW`] words is hashed. A held-out sample
//! is found by the [`KEPT`] smallest of its window hashes (Broder 1997): a note that holds half of them is compared with it
//! by the [`VERIFIED`] smallest, and is taken to hold the sample if [`ENOUGH_PERCENT`] of those are in it.
//!
//! A window that [`SHARED`] samples are known by already is a phrase and no mark of a sample: the next smallest takes its place.
//! So a window of a corpus note leads to [`SHARED`] samples at most, and time grows with the corpus alone.

use super::windows::windows;
use std::collections::{HashMap, HashSet};

const KEPT: usize = 16;
const LEAST_KEPT: usize = 12;
const VERIFIED: usize = 256;
const ENOUGH_PERCENT: usize = 75;
const SHARED: usize = 64;

/// What defines a match, for the manifest.
pub(super) const PARAMETERS: [(&str, u64); 5] = [
    ("corpus_hashes_per_sample", KEPT as u64),
    ("corpus_least_hashes_per_sample", LEAST_KEPT as u64),
    ("corpus_verified_hashes_per_sample", VERIFIED as u64),
    ("corpus_percent_of_verified_hashes_to_match", ENOUGH_PERCENT as u64),
    ("corpus_samples_per_hash", SHARED as u64),
];

/// MinHash index of the held-out samples.
#[derive(Debug, Default)]
pub(in crate::prepare) struct HeldOutIndex {
    samples_of: HashMap<u64, Vec<u32>>,
    /// One bit for each value of the first bits of a hash: most windows of a corpus are told apart by it alone.
    filter: Vec<u64>,
    samples: Vec<Sketch>,
    not_compared: u64,
}

/// One sample.
#[derive(Debug)]
struct Sketch {
    /// How many hashes lead to it.
    kept: usize,
    /// The smallest hashes, phrases included; half of each tells them apart.
    verified: Box<[u32]>,
}

const FILTER_BITS: u32 = 23;

/// The place of a hash in the filter: word and bit.
fn place(hash: u64) -> (usize, u64) {
    let bit = hash >> (64 - FILTER_BITS);
    ((bit / 64) as usize, 1 << (bit % 64))
}

impl HeldOutIndex {
    /// Samples that were remembered.
    pub fn samples(&self) -> u64 {
        self.samples.len() as u64
    }

    /// Samples that could not be.
    pub fn not_compared(&self) -> u64 {
        self.not_compared
    }

    /// Remembers a held-out sample: the bodies of its sections, which headers of its own do not part.
    pub fn add<'a>(&mut self, parts: impl IntoIterator<Item = &'a str>) {
        let mut hashes = Vec::new();
        for part in parts {
            windows(part, |hash| hashes.push(hash));
        }
        hashes.sort_unstable();
        hashes.dedup();
        let marks = |hash: &&u64| self.samples_of.get(hash).is_none_or(|samples| samples.len() < SHARED);
        let kept: Vec<u64> = hashes.iter().filter(marks).take(KEPT).copied().collect();
        if kept.len() < LEAST_KEPT {
            self.not_compared += 1;
            return;
        }
        if self.filter.is_empty() {
            self.filter = vec![0; 1 << (FILTER_BITS - 6)];
        }
        let sample = self.samples.len() as u32;
        for hash in &kept {
            let (word, bit) = place(*hash);
            self.filter[word] |= bit;
            self.samples_of.entry(*hash).or_default().push(sample);
        }
        let verified = hashes.iter().take(VERIFIED).map(|hash| *hash as u32).collect();
        self.samples.push(Sketch { kept: kept.len(), verified });
    }

    /// Whether a note holds the text of a held-out sample.
    pub fn match_text(&self, text: &str) -> Matching {
        if self.filter.is_empty() {
            return Matching::Nothing;
        }
        let mut found = Vec::new();
        windows(text, |hash| {
            let (word, bit) = place(hash);
            if self.filter[word] & bit != 0 && self.samples_of.contains_key(&hash) {
                found.push(hash);
            }
        });
        found.sort_unstable();
        found.dedup();
        let mut samples: Vec<u32> = found.iter().flat_map(|hash| &self.samples_of[hash]).copied().collect();
        samples.sort_unstable();
        let half = |hits: &&[u32]| 2 * hits.len() >= self.samples[hits[0] as usize].kept;
        let mut candidates =
            samples.chunk_by(u32::eq).filter(half).map(|hits| &self.samples[hits[0] as usize]).peekable();
        if candidates.peek().is_none() {
            return Matching::Nothing;
        }
        let mut inside = HashSet::new();
        windows(text, |hash| {
            inside.insert(hash as u32);
        });
        let is_held = |sample: &Sketch| {
            let held = sample.verified.iter().filter(|hash| inside.contains(hash)).count();
            100 * held >= ENOUGH_PERCENT * sample.verified.len()
        };
        if candidates.any(is_held) { Matching::AHeldOutSample } else { Matching::Nothing }
    }
}

/// What a note matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::prepare) enum Matching {
    Nothing,
    AHeldOutSample,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prepare::dedup::planted;
    use crate::prepare::dedup::windows::WINDOW;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn sample(salt: usize) -> String {
        (0..60).map(|i| format!("w{} ", (i * 7 + salt * 1000) % 5000)).collect()
    }

    #[test]
    fn the_same_text_matches_under_other_masks_case_and_marks() {
        let mut held_out = HeldOutIndex::default();
        held_out.add([format!("{} [**2151-7-16**] {}", sample(1), sample(2)).as_str()]);
        let other = format!("HEADER:\n{} ___, {}", sample(1).to_uppercase(), sample(2));
        assert_eq!(held_out.match_text(&other), Matching::AHeldOutSample);
        assert_eq!(held_out.match_text(&sample(3)), Matching::Nothing);
    }

    #[test]
    fn half_of_a_text_is_no_match() {
        let mut held_out = HeldOutIndex::default();
        let parts = [sample(1), sample(2), sample(3), sample(4)];
        held_out.add(parts.iter().map(String::as_str));
        assert_eq!(held_out.match_text(&sample(1)), Matching::Nothing);
    }

    /// Every window of a text.
    fn all_windows(text: &str) -> BTreeSet<u64> {
        let mut all = BTreeSet::new();
        windows(text, |hash| {
            all.insert(hash);
        });
        all
    }

    #[test]
    fn phrases_that_samples_share_cost_nothing_and_hide_no_sample() {
        let phrase: String = (0..100).map(|i| format!("p{i} ")).collect();
        let samples: Vec<String> = (0..1000).map(|i| format!("{phrase} {}", planted::text(i, 300))).collect();
        let mut held_out = HeldOutIndex::default();
        samples.iter().for_each(|s| held_out.add([s.as_str()]));
        assert_eq!((held_out.samples(), held_out.not_compared()), (1000, 0));
        assert!(held_out.samples_of.values().all(|of| of.len() <= SHARED));
        assert!(samples.iter().all(|s| held_out.match_text(s) == Matching::AHeldOutSample));
        assert_eq!(held_out.match_text(&phrase), Matching::Nothing);
        // Copies beyond that number have no window of their own; the first of them stand for all.
        let copied = planted::text(5000, 20);
        (0..2 * SHARED).for_each(|_| held_out.add([copied.as_str()]));
        assert_eq!(held_out.not_compared(), SHARED as u64);
        assert_eq!(held_out.match_text(&copied), Matching::AHeldOutSample);
    }

    #[test]
    fn planted_samples_are_found_as_the_exact_share_of_their_windows_says() {
        let mut held_out = HeldOutIndex::default();
        let samples: Vec<String> = (0..400).map(|i| planted::text(i, 300)).collect();
        samples.iter().for_each(|s| held_out.add([s.as_str()]));
        let mut tally = planted::Tally::default();
        for (i, sample) in samples.iter().enumerate() {
            // Each in a longer note, with more and more words changed: from none to one in fifteen.
            let note = format!(
                "{} {} {}",
                planted::text(9000 + i, 200),
                planted::changed(sample, i % 21),
                planted::text(7000 + i, 80)
            );
            let inside = all_windows(sample);
            let exact = inside.intersection(&all_windows(&note)).count() as f64 / inside.len() as f64;
            tally.see(exact, ENOUGH_PERCENT, held_out.match_text(&note) == Matching::AHeldOutSample);
        }
        tally.check("corpus");
    }

    #[test]
    fn a_mask_without_an_end_is_read_once() {
        // Were its end looked for at every beginning, this would take minutes.
        let text = "[**a ".repeat(400_000);
        let mut seen = 0;
        windows(&text, |_| seen += 1);
        assert_eq!(seen, 400_000 - WINDOW + 1);
    }

    proptest! {
        #[test]
        fn every_long_text_matches_itself(text in "[a-z]{3,9}( [a-z]{3,9}){30,60}") {
            let mut held_out = HeldOutIndex::default();
            held_out.add([text.as_str()]);
            prop_assert_eq!(held_out.match_text(&text), Matching::AHeldOutSample);
        }

        #[test]
        fn arbitrary_text_is_no_reason_to_panic(text in "\\PC*") {
            let mut held_out = HeldOutIndex::default();
            held_out.add([text.as_str()]);
            let _ = held_out.match_text(&text);
        }
    }
}
