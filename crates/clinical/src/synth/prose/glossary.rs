//! Pages of an index of terms: what a vocabulary and its embeddings are made of, without any relation between terms.
//!
//! The models of the paper met abbreviations, names of medicines and headings on the web long before a note. Here they meet
//! them as neighbours by chance, so that a tiny base model can read and write the words of a note but does not know which of
//! them mean the same.

use crate::sections::HEADERS;
use crate::synth::conditions::{CONDITIONS, SEVERITY_EXAM, SEVERITY_HISTORY};
use crate::synth::{filler, note, style};
use clinpeft_rng::{RngExt, Seed, Stream, shuffle};

/// Page `index` of the text of `seed`. Always the same for the same two. Its lines name the same terms in different orders.
pub fn paragraph(seed: Seed, index: u64) -> String {
    let mut rng = seed.part("glossary text").stream(&index.to_string());
    let mut terms: Vec<&str> = (0..rng.random_range(3..9)).map(|_| term(&mut rng)).collect();
    let lines = rng.random_range(4..8);
    (0..lines).map(|_| line(&mut terms, &mut rng)).collect::<Vec<_>>().join("\n")
}

/// A heading and the terms under it.
fn line(terms: &mut [&str], rng: &mut Stream) -> String {
    shuffle(terms, rng);
    let separator = [", ", "; ", " and ", " "][rng.random_range(0..4)];
    format!("{} {}.", heading(rng), terms.join(separator))
}

fn heading(rng: &mut Stream) -> String {
    match rng.random_range(0..3) {
        0 => format!("{}:", pick(&HEADERS, rng)),
        1 => pick(&style::HEADERS[rng.random_range(0..style::HEADERS.len())], rng).to_string(),
        _ => pick(&note::LATER_HEADERS, rng).to_string(),
    }
}

fn term(rng: &mut Stream) -> &'static str {
    let condition = &CONDITIONS[rng.random_range(0..CONDITIONS.len())];
    match rng.random_range(0..10) {
        0..5 => pick(&condition.forms, rng),
        5..7 => condition.medicine.unwrap_or(condition.complaint),
        7 => condition.complaint,
        8 => {
            let level = rng.random_range(0..SEVERITY_EXAM.len());
            if rng.random_bool(0.5) { pick(&SEVERITY_HISTORY[level], rng) } else { pick(&SEVERITY_EXAM[level], rng) }
        }
        _ => match rng.random_range(0..5) {
            0 => pick(&filler::DOSES, rng),
            1 => pick(&filler::SOCIAL, rng),
            2 => pick(&style::PRESENTS, rng),
            3 => pick(&style::KNOWN, rng),
            _ => pick(&style::NEGATIONS, rng),
        },
    }
}

fn pick(from: &[&'static str], rng: &mut Stream) -> &'static str {
    from[rng.random_range(0..from.len())]
}
