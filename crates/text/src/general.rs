//! Stub.
use clinpeft_rng::Seed;

/// Paragraph `index`.
pub fn paragraph(seed: Seed, index: u64) -> String {
    format!("{} {index}", seed.0)
}

/// All paragraphs, one after the other, without end.
pub fn stream(seed: Seed) -> impl Iterator<Item = String> {
    (0..).map(move |index| paragraph(seed, index))
}
