//! A glossary: pages that say the same things several times, conditions in several words.
//!
//! The models of the paper met most words of a note on the web long before a note, and could repeat what stands earlier in a text.
//! Here a tiny base model learns both. It learns which words of everyday English name the same condition, but meets the
//! abbreviations of clinicians only as neighbours by chance: what they stand for is learned from notes.

use crate::sections::HEADERS;
use crate::synth::conditions::{CONDITIONS, KNOWN_FORMS, SEVERITY_EXAM, SEVERITY_HISTORY};
use crate::synth::{filler, note, style};
use clinpeft_rng::{RngExt, Seed, Stream, shuffle};

/// Page `index` of the text of `seed`. Always the same for the same two. Its lines name the same things in different orders, and
/// conditions in different words.
pub fn paragraph(seed: Seed, index: u64) -> String {
    let mut rng = seed.part("glossary text").stream(&index.to_string());
    let mut items: Vec<Vec<String>> = (0..rng.random_range(3..9)).map(|_| item(&mut rng)).collect();
    let lines = rng.random_range(4..8);
    (0..lines).map(|_| line(&mut items, &mut rng)).collect::<Vec<_>>().join("\n")
}

/// A heading and the terms under it.
fn line(items: &mut [Vec<String>], rng: &mut Stream) -> String {
    shuffle(items, rng);
    let separator = [", ", "; ", " and ", " ", ". "][rng.random_range(0..5)];
    let terms: Vec<&str> = items.iter().map(|words| words[rng.random_range(0..words.len())].as_str()).collect();
    format!("{} {}.", heading(rng), terms.join(separator))
}

/// A condition in the words that everybody knows, or something in one.
fn item(rng: &mut Stream) -> Vec<String> {
    if rng.random_bool(0.5) {
        let condition = &CONDITIONS[rng.random_range(0..CONDITIONS.len())];
        return condition.forms[..KNOWN_FORMS].iter().copied().chain(condition.medicine).map(String::from).collect();
    }
    vec![term(rng)]
}

fn heading(rng: &mut Stream) -> String {
    match rng.random_range(0..4) {
        3 => format!("{} {}", pick(&["SOCIAL HISTORY:", "Social History:"], rng), pick(&filler::LIVES, rng)),
        0 => format!("{}:", pick(&HEADERS, rng)),
        1 => pick(&style::HEADERS[rng.random_range(0..style::HEADERS.len())], rng).to_string(),
        _ => pick(&note::LATER_HEADERS, rng).to_string(),
    }
}

fn term(rng: &mut Stream) -> String {
    let condition = &CONDITIONS[rng.random_range(0..CONDITIONS.len())];
    match rng.random_range(0..10) {
        0..5 => pick(&condition.forms, rng).into(),
        5..7 => condition.medicine.unwrap_or(condition.complaint).into(),
        7 => condition.complaint.into(),
        8 => {
            let level = rng.random_range(0..SEVERITY_EXAM.len());
            if rng.random_bool(0.5) { pick(&SEVERITY_HISTORY[level], rng) } else { pick(&SEVERITY_EXAM[level], rng) }
                .into()
        }
        _ => phrase(rng),
    }
}

/// What stands between the terms of a note.
fn phrase(rng: &mut Stream) -> String {
    match rng.random_range(0..14) {
        0 => pick(&filler::COMPLAINTS, rng).into(),
        1 => pick(&filler::PATIENTS, rng).into(),
        2 => pick(&style::PRESENTS, rng).into(),
        3 => pick(&style::KNOWN, rng).into(),
        4 => pick(&style::NEGATIONS, rng).into(),
        5 => pick(&filler::DISPOSITIONS, rng).into(),
        6 => format!("Stayed {} days", rng.random_range(0..30)),
        7 => format!("HR {} O2 {}%", rng.random_range(60..140), rng.random_range(80..101)),
        8 => format!("{}. ", rng.random_range(1..100)),
        9 => "# ".into(),
        10 => "- ".into(),
        11 => pick(&[filler::DIED, filler::SURVIVED, filler::INTUBATED], rng).into(),
        12 => format!("\"{}\" per patient", pick(&filler::QUOTES, rng)),
        _ => pick(&["none", "[**Age over 90 **]", "and"], rng).into(),
    }
}

fn pick(from: &[&'static str], rng: &mut Stream) -> &'static str {
    from[rng.random_range(0..from.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abbreviations_stay_apart_from_what_they_mean() {
        let known = |i: usize| CONDITIONS[i].forms[..KNOWN_FORMS].iter().copied().chain(CONDITIONS[i].medicine);
        let words = |page: &str| format!(" {} ", page.replace([',', ';', '.', ':', '\n'], " "));
        let pages: Vec<String> = (0..4000).map(|i| words(&paragraph(Seed(1), i))).collect();
        let has = |page: &String, term: &str| page.contains(&format!(" {term} "));
        let (mut together, mut by_chance) = (0, 0.0);
        for (i, condition) in CONDITIONS.iter().enumerate() {
            let named = |page: &&String| known(i).any(|term| has(page, term));
            let short = |page: &&String| condition.forms[KNOWN_FORMS..].iter().any(|term| has(page, term));
            together += pages.iter().filter(|page| named(page) && short(page)).count();
            let count = |of: &dyn Fn(&&String) -> bool| pages.iter().filter(of).count() as f64;
            by_chance += count(&named) * count(&short) / pages.len() as f64;
        }
        assert!((together as f64) < 1.5 * by_chance, "{together} pages, {by_chance} by chance");
    }

    #[test]
    fn lines_of_a_page_name_the_same_conditions() {
        let named = |line: &str| -> Vec<usize> {
            let found = |i: &usize| {
                let condition = &CONDITIONS[*i];
                let mut known = condition.forms[..KNOWN_FORMS].iter().chain(&condition.medicine);
                known.any(|term| line.contains(term))
            };
            (0..CONDITIONS.len()).filter(found).collect()
        };
        let pages = (0..200).map(|i| paragraph(Seed(1), i));
        let same = pages.filter(|page| {
            let lines: Vec<Vec<usize>> = page.lines().map(named).collect();
            lines.windows(2).all(|pair| pair[0] == pair[1])
        });
        // Some words stand in the names of several conditions.
        assert!(same.count() > 100);
    }
}
