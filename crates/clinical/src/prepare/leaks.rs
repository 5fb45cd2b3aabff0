//! Whether the adaptation corpus holds the text of a sample that a model is tested on.
//!
//! The two MIMIC releases cover partly the same stays under different numbers and with different masks, so only text can
//! tell. Words are lowered, masks and marks are removed, and every window of [`WINDOW`] words is hashed. A held-out sample
//! is sketched by the [`KEPT`] smallest of its window hashes (Broder 1997); a note that holds [`ENOUGH_PERCENT`] of them is
//! taken to hold the sample.
//!
//! A window that [`SHARED`] samples are known by already is a phrase and no mark of a sample: the next smallest takes its place.
//! So a window of a corpus note leads to [`SHARED`] samples at most, and time grows with the corpus alone.

use super::near;
use std::collections::{BTreeMap, HashMap};

const WINDOW: usize = 8;
const KEPT: usize = 24;
const LEAST_KEPT: usize = 12;
const ENOUGH_PERCENT: usize = 75;
const SHARED: usize = 64;

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
            ("corpus_least_hashes_per_sample", LEAST_KEPT as u64),
            ("corpus_percent_of_hashes_to_match", ENOUGH_PERCENT as u64),
            ("corpus_samples_per_hash", SHARED as u64),
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
    /// Validation and test samples that were compared.
    pub held_out_samples: u64,
    /// Those that were not: shorter than a sketch needs, or made of phrases alone.
    pub held_out_samples_not_compared: u64,
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
    /// One bit for each value of the first bits of a hash: most windows of a corpus are told apart by it alone.
    filter: Vec<u64>,
    /// How many hashes of each sample a note must hold.
    enough: Vec<u8>,
    not_compared: u64,
}

const FILTER_BITS: u32 = 23;

/// The place of a hash in the filter: word and bit.
fn place(hash: u64) -> (usize, u64) {
    let bit = hash >> (64 - FILTER_BITS);
    ((bit / 64) as usize, 1 << (bit % 64))
}

impl Sketches {
    /// Samples that were remembered.
    pub fn samples(&self) -> u64 {
        self.enough.len() as u64
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
        let marks = |hash: &u64| self.samples_of.get(hash).is_none_or(|samples| samples.len() < SHARED);
        let kept: Vec<u64> = hashes.into_iter().filter(marks).take(KEPT).collect();
        if kept.len() < LEAST_KEPT {
            self.not_compared += 1;
            return;
        }
        if self.filter.is_empty() {
            self.filter = vec![0; 1 << (FILTER_BITS - 6)];
        }
        let sample = self.enough.len() as u32;
        for hash in &kept {
            let (word, bit) = place(*hash);
            self.filter[word] |= bit;
            self.samples_of.entry(*hash).or_default().push(sample);
        }
        self.enough.push((kept.len() * ENOUGH_PERCENT).div_ceil(100) as u8);
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
        let held = |hits: &[u32]| hits.len() >= usize::from(self.enough[hits[0] as usize]);
        match samples.chunk_by(u32::eq).any(held) {
            true => Matching::AHeldOutSample,
            false => Matching::Nothing,
        }
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
    let mut words = Words::default();
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut masks_end = true;
    while let Some(byte) = bytes.get(at) {
        if byte.is_ascii_alphanumeric() {
            words.letter(u64::from(byte.to_ascii_lowercase()));
            at += 1;
        } else if byte.is_ascii() {
            words.end(&mut each);
            let mask = if masks_end && bytes[at..].starts_with(b"[**") { text[at..].find("**]") } else { Some(0) };
            // Searched for once in vain, the end of a mask is not searched for again.
            masks_end &= mask.is_some();
            at += mask.filter(|end| *end > 0).map_or(1, |end| end + 3);
        } else if let Some(c) = text[at..].chars().next() {
            match c.is_alphanumeric() {
                true => c.to_lowercase().for_each(|low| words.letter(u64::from(low))),
                false => words.end(&mut each),
            }
            at += c.len_utf8();
        }
    }
    words.end(&mut each);
}

/// Hashes of the word being read, of the last words, and of all of these together (a polynomial that rolls).
struct Words {
    word: u64,
    last: [u64; WINDOW],
    seen: usize,
    all: u64,
}

impl Default for Words {
    fn default() -> Words {
        Words { word: FNV_BASIS, last: [0; WINDOW], seen: 0, all: 0 }
    }
}

impl Words {
    fn letter(&mut self, letter: u64) {
        self.word = (self.word ^ letter).wrapping_mul(FNV_PRIME);
    }

    fn end(&mut self, each: &mut impl FnMut(u64)) {
        if self.word == FNV_BASIS {
            return;
        }
        let oldest = std::mem::replace(&mut self.last[self.seen % WINDOW], self.word);
        self.all = self.all.wrapping_mul(MIX).wrapping_add(self.word).wrapping_sub(oldest.wrapping_mul(MIX_OF_OLDEST));
        self.word = FNV_BASIS;
        self.seen += 1;
        if self.seen >= WINDOW {
            let mixed = (self.all ^ (self.all >> 32)).wrapping_mul(MIX);
            each(mixed ^ (mixed >> 29));
        }
    }
}

const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
const MIX_OF_OLDEST: u64 = MIX.wrapping_pow(WINDOW as u32);

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
