//! Whether the adaptation corpus holds the text of a sample that a model is tested on.
//!
//! The two MIMIC releases cover partly the same stays under different numbers and with different masks, so only text can
//! tell. Words are lowered, masks and marks are removed, and every window of [`WINDOW`] words is hashed. A held-out sample
//! is sketched by the [`KEPT`] smallest of its window hashes (Broder 1997); a note that holds at least [`ENOUGH`] of them is
//! taken to hold the sample.

use super::near;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

const WINDOW: usize = 8;
const KEPT: usize = 12;
const ENOUGH: usize = 9;

/// What a manifest says about leaks.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeakReport {
    /// The numbers behind the word `near-duplicate`, by name.
    pub parameters: BTreeMap<String, u64>,
    /// What the splits of a task share, two by two.
    pub splits: Vec<SplitLeaks>,
    /// What the adaptation corpus shares with held-out samples; absent without a corpus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corpus: Option<CorpusLeaks>,
}

impl LeakReport {
    pub(super) fn new(splits: Vec<SplitLeaks>, corpus: Option<CorpusLeaks>) -> LeakReport {
        let parameters = [
            ("words_per_window", WINDOW as u64),
            ("corpus_hashes_per_sample", KEPT as u64),
            ("corpus_hashes_to_match", ENOUGH as u64),
            ("splits_bins", near::BINS as u64),
            ("splits_bins_per_band", near::BAND as u64),
            ("splits_similarity_percent", near::SIMILAR_PERCENT),
            ("splits_least_windows", near::LEAST as u64),
            ("splits_compared_per_band", near::LIMIT as u64),
        ];
        LeakReport { parameters: parameters.map(|(name, value)| (name.into(), value)).into(), splits, corpus }
    }
}

/// What two splits of a task share.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitLeaks {
    /// The task.
    pub task: String,
    /// The split that is learnt or chosen from.
    pub first: String,
    /// The split that is held out from it.
    pub second: String,
    /// Patients with samples in both.
    pub patients_shared: u64,
    /// Samples of the first split whose admission note nearly equals one of the second.
    pub near_duplicates: u64,
    /// `kept` or `dropped`: what was done with them.
    pub near_duplicates_were: String,
}

/// What the adaptation corpus shares with held-out samples.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusLeaks {
    /// Validation and test samples that were compared; shorter ones than a sketch needs are not.
    pub held_out_samples: u64,
    /// Corpus notes that were compared.
    pub corpus_notes: u64,
    /// Corpus notes that hold the text of a held-out sample.
    pub matching_notes: u64,
    /// `kept` or `dropped`: what was done with the matching notes.
    pub matching_notes_were: String,
}

/// Sketches of the held-out samples.
#[derive(Debug, Default)]
pub(super) struct Sketches {
    samples_of: HashMap<u64, Vec<u32>>,
    pub samples: u32,
}

impl Sketches {
    /// Remembers a held-out sample: the bodies of its sections, which headers of its own do not part.
    pub fn add<'a>(&mut self, parts: impl IntoIterator<Item = &'a str>) {
        let mut hashes = BTreeSet::new();
        for part in parts {
            windows(part, |hash| {
                hashes.insert(hash);
                if hashes.len() > KEPT {
                    hashes.pop_last();
                }
            });
        }
        if hashes.len() < KEPT {
            return;
        }
        for hash in hashes {
            self.samples_of.entry(hash).or_default().push(self.samples);
        }
        self.samples += 1;
    }

    /// Whether a note holds the text of a held-out sample.
    pub fn match_text(&self, text: &str) -> Matching {
        let mut counted = HashSet::new();
        let mut hits: HashMap<u32, usize> = HashMap::new();
        let mut found = Matching::Nothing;
        windows(text, |hash| {
            let Some(samples) = self.samples_of.get(&hash) else {
                return;
            };
            if !counted.insert(hash) {
                return;
            }
            for sample in samples {
                let hits = hits.entry(*sample).or_default();
                *hits += 1;
                if *hits >= ENOUGH {
                    found = Matching::AHeldOutSample;
                }
            }
        });
        found
    }
}

/// What a note matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Matching {
    Nothing,
    AHeldOutSample,
}

/// Calls `each` with the hash of every window of words, in order.
pub(super) fn windows(text: &str, mut each: impl FnMut(u64)) {
    let mut last = [0u64; WINDOW];
    let mut seen = 0;
    let mut word = FNV_BASIS;
    let mut length = 0;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let mut step = c.len_utf8();
        if c.is_alphanumeric() {
            for low in c.to_lowercase() {
                word = (word ^ u64::from(low)).wrapping_mul(FNV_PRIME);
            }
            length += 1;
        } else {
            if rest.starts_with("[**") {
                step = rest.find("**]").map_or(step, |end| end + 3);
            }
            if length > 0 {
                push(&mut last, &mut seen, word, &mut each);
                (word, length) = (FNV_BASIS, 0);
            }
        }
        rest = &rest[step..];
    }
    if length > 0 {
        push(&mut last, &mut seen, word, &mut each);
    }
}

fn push(last: &mut [u64; WINDOW], seen: &mut usize, word: u64, each: &mut impl FnMut(u64)) {
    last.rotate_left(1);
    last[WINDOW - 1] = word;
    *seen += 1;
    if *seen >= WINDOW {
        let mixed = last.iter().fold(FNV_BASIS, |h, w| (h.rotate_left(7) ^ w).wrapping_mul(MIX));
        each(mixed ^ (mixed >> 29));
    }
}

const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(salt: usize) -> String {
        (0..60).map(|i| format!("w{} ", (i * 7 + salt * 1000) % 5000)).collect()
    }

    #[test]
    fn the_same_text_matches_under_other_masks_case_and_marks() {
        let mut sketches = Sketches::default();
        sketches.add([format!("{} [**2151-7-16**] {}", sample(1), sample(2)).as_str()]);
        let other = format!("HEADER:\n{} ___, {}", sample(1).to_uppercase(), sample(2));
        assert_eq!(sketches.match_text(&other), Matching::AHeldOutSample);
        assert_eq!(sketches.match_text(&sample(3)), Matching::Nothing);
    }

    #[test]
    fn half_of_a_text_is_no_match() {
        let mut sketches = Sketches::default();
        let parts = [sample(1), sample(2), sample(3), sample(4)];
        sketches.add(parts.iter().map(String::as_str));
        assert_eq!(sketches.match_text(&sample(1)), Matching::Nothing);
    }

    proptest! {
        #[test]
        fn every_long_text_matches_itself(text in "[a-z]{3,9}( [a-z]{3,9}){30,60}") {
            let mut sketches = Sketches::default();
            sketches.add([text.as_str()]);
            prop_assert_eq!(sketches.match_text(&text), Matching::AHeldOutSample);
        }

        #[test]
        fn arbitrary_text_is_no_reason_to_panic(text in "\\PC*") {
            let mut sketches = Sketches::default();
            sketches.add([text.as_str()]);
            let _ = sketches.match_text(&text);
        }
    }
}
