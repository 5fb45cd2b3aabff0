//! Readmission within 30 days: its probability given the facts, and when the next stay begins.
//!
//! How many stays a patient has does not depend on the facts; whether the next one begins within 30 days does.

use super::conditions::index as c;
use super::facts::{Facts, logistic};
use clinpeft_rng::{RngExt, Stream};

const BASE: f64 = -2.2;
const SEVERITY: f64 = 0.45;
/// What a condition adds to the log-odds.
const EFFECTS: [(usize, f64); 4] = [(c::HEART_FAILURE, 1.6), (c::COPD, 1.3), (c::PNEUMONIA, 0.6), (c::EMBOLISM, -0.8)];

/// The probability that the next stay, if there is one, begins within 30 days.
pub fn early(facts: &Facts) -> f64 {
    let effects: f64 = EFFECTS.iter().filter(|(i, _)| facts.has[*i]).map(|(_, effect)| effect).sum();
    logistic(BASE + SEVERITY * f64::from(facts.severity) + effects)
}

/// The probability that a patient who leaves alive returns within 30 days. `stays` are the percentages of patients with one and with
/// two stays, all others have three; the note does not tell which stay it is of. That some die before a later stay is left out:
/// it changes the level, not the order.
pub fn probability(facts: &Facts, stays: [u32; 2]) -> f64 {
    let [once, twice] = stays.map(f64::from);
    let thrice = 100.0 - once - twice;
    early(facts) * (twice + 2.0 * thrice) / (once + 2.0 * twice + 3.0 * thrice)
}

/// Days from a discharge to the day of the next stay: clearly within 30 days or clearly beyond.
pub fn days(facts: &Facts, rng: &mut Stream) -> i64 {
    if rng.random_bool(early(facts)) { rng.random_range(2..29) } else { rng.random_range(32..700) }
}
