//! Texts without a patient in them, to train small base models on. The words are data (`datasets/lexicon`).

pub mod biomedical;
pub mod general;
pub mod glossary;
mod grammar;
