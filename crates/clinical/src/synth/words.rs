//! Text of real length that says nothing of the facts: the vocabulary of the fixed sentences, drawn at random.
//!
//! Fixed sentences alone would repeat each other: they would compress better than real notes do, and one note would look
//! like a part of another.

use super::filler;
use clinpeft_rng::{RngExt, Stream, normal};
use std::fmt::Write;
use std::sync::LazyLock;

static VOCABULARY: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let sentences = [
        &filler::LONG_ILLNESS[..],
        &filler::LONG_EXAM,
        &filler::LONG_SOCIAL,
        &filler::LONG_HISTORY,
        &filler::EXAM,
        &filler::ILLNESS,
        &filler::COURSE,
    ];
    let plain = |c: char| c.is_ascii_lowercase();
    let words = sentences.into_iter().flatten().flat_map(|s| s.split(|c: char| !plain(c))).filter(|w| w.len() > 1);
    words.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
});

/// A length in characters, log-normal around its median.
pub fn length(median: f64, spread: f64, rng: &mut Stream) -> usize {
    (median * (spread * normal(rng)).exp()).clamp(20.0, 60_000.0) as usize
}

/// Adds sentences of random words until the text has `length` characters.
pub fn put(text: &mut String, length: usize, rng: &mut Stream) {
    let vocabulary = &*VOCABULARY;
    text.reserve(length.saturating_sub(text.len()) + 32);
    while text.len() < length {
        let words = rng.random_range(4..16);
        for place in 0..words {
            let draw: u32 = rng.random();
            // The product of two uniform numbers: some words are used far more often than others.
            let skewed = (u64::from(draw >> 16) * u64::from(draw & 0xffff) * vocabulary.len() as u64) >> 32;
            let word = vocabulary[skewed as usize];
            match place {
                0 => text.extend(word.chars().take(1).map(|c| c.to_ascii_uppercase()).chain(word.chars().skip(1))),
                _ => {
                    text.push(' ');
                    text.push_str(word);
                }
            }
            if draw.is_multiple_of(11) {
                let _ = write!(text, " {}", draw / 11 % 200);
            }
        }
        text.push_str(if words == 15 { ".\n" } else { ". " });
    }
}
