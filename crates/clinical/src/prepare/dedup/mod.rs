//! Near-duplicates: between the splits of a task, and between held-out samples and the adaptation corpus.

pub(super) mod corpus;
#[cfg(test)]
mod planted;
pub(super) mod splits;
mod windows;

use std::collections::BTreeMap;

/// The numbers that define a near-duplicate, by the name that the manifest gives them.
pub(super) fn parameters() -> BTreeMap<String, u64> {
    let window = [("words_per_window", windows::WINDOW as u64)];
    let all = window.into_iter().chain(corpus::PARAMETERS).chain(splits::PARAMETERS);
    all.map(|(name, value)| (name.into(), value)).collect()
}
