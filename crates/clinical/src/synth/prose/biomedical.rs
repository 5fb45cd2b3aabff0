//! Text in the manner of abstracts of medical papers, written by a grammar.
//!
//! A second base model of the demonstration is trained on it: one that knows the long names of conditions, drugs and
//! procedures, but has never seen a clinical note. Numbers within an abstract agree: the groups add up to the patients,
//! and a percentage is that of its count. No study and no patient behind it exists.

use super::grammar::{Lexicon, Page};
use clinpeft_rng::Seed;
use std::sync::LazyLock;

static LEXICON: LazyLock<Lexicon> =
    LazyLock::new(|| Lexicon::parse(include_str!("../../../../../datasets/lexicon/biomedical.txt")));

/// Abstract `index` of the text of `seed`. Always the same for the same two.
pub fn paragraph(seed: Seed, index: u64) -> String {
    let stream = seed.part("biomedical text").stream(&index.to_string());
    let mut page = Page::new(stream, &LEXICON);
    bind_facts(&mut page);
    let design = page.number(0, LEXICON.count("design", "titles") - 1);
    tell(&mut page, design);
    page.finish()
}

/// All abstracts, one after the other, without end.
pub fn stream(seed: Seed) -> impl Iterator<Item = String> {
    (0..).map(move |index| paragraph(seed, index))
}

fn bind_facts(page: &mut Page) {
    let specialties = LEXICON.list("specialties");
    let (own, other) = (page.pick(specialties, ""), page.pick(specialties, ""));
    page.bind("specialty", own);
    for (slot, list) in [
        ("condition", format!("{own} conditions")),
        ("comorbidity", format!("{other} conditions")),
        ("other", format!("{own} conditions")),
        ("drug", format!("{own} drugs")),
        ("comparator", format!("{own} drugs")),
        ("procedure", format!("{own} procedures")),
        ("alternative", format!("{own} procedures")),
        ("marker", format!("{own} markers")),
        ("test", format!("{own} tests")),
        ("outcome", "outcomes".into()),
        ("second", "outcomes".into()),
        ("country", "countries".into()),
        ("setting", "settings".into()),
    ] {
        page.bind_from(slot, &list);
    }
    let from = page.number(1988, 2012);
    let to = from + page.number(1, 9);
    page.bind("from", from);
    page.bind("to", to);
    bind_groups(page);
}

/// The sizes of two groups, their events, and what follows from them.
fn bind_groups(page: &mut Page) {
    let patients = page.number(40, 2400);
    let treated = patients / 2 + page.number(0, patients / 10);
    let control = patients - treated;
    let events = page.number(1, treated / 2);
    let other = page.number(1, (2 * events).min(control / 2));
    for (slot, value) in [("n", patients), ("n1", treated), ("n2", control), ("e1", events), ("e2", other)] {
        page.bind(slot, value);
    }
    page.bind("p1", percent(events, treated));
    page.bind("p2", percent(other, control));
    let direction = if events * control < other * treated { "lower" } else { "higher" };
    page.bind("direction", direction);
    let chi_square = chi_square([events, treated], [other, control]);
    let level = LEVELS.iter().find(|(least, _)| chi_square >= *least);
    page.bind("p", level.map_or("not significant", |(_, p)| p));
    match level {
        Some(_) => page.bind("verdict", format!("was associated with a {direction} rate of")),
        None => page.bind("verdict", "was not associated with the rate of"),
    }
}

/// Critical values of chi-square with one degree of freedom.
const LEVELS: [(f64, &str); 3] = [(10.83, "p < 0.001"), (6.63, "p < 0.01"), (3.84, "p < 0.05")];

/// Pearson's chi-square of two groups, each `[events, size]`. Only exact operations, the same on every machine.
fn chi_square([e1, n1]: [u32; 2], [e2, n2]: [u32; 2]) -> f64 {
    let [e1, n1, e2, n2] = [e1, n1, e2, n2].map(f64::from);
    let (events, n) = (e1 + e2, n1 + n2);
    let difference = e1 * n2 - e2 * n1;
    let spread = n1 * n2 * events * (n - events);
    if spread > 0.0 { difference * difference * n / spread } else { 0.0 }
}

/// One decimal, rounded to nearest in whole numbers.
fn percent(part: u32, whole: u32) -> String {
    let whole = u64::from(whole.max(1));
    let thousandths = (u64::from(part) * 1000 + whole / 2) / whole;
    format!("{}.{}", thousandths / 10, thousandths % 10)
}

fn tell(page: &mut Page, design: u32) {
    let of_design = |part: &str| LEXICON.list(&format!("design {} {part}", design + 1));
    let headed = page.number(1, 2) == 1;
    let parts: [(&str, &[&'static str], u32); 4] = [
        ("BACKGROUND:", LEXICON.list("background"), 2),
        ("METHODS:", of_design("methods"), 3),
        ("RESULTS:", of_design("results"), 4),
        ("CONCLUSIONS:", LEXICON.list("conclusion"), 3),
    ];
    page.say_one(of_design("titles"));
    page.line();
    for (heading, sentences, most) in parts {
        if headed {
            page.say(heading);
        }
        // The first of the methods and of the results says the numbers that the others build on.
        let count = page.number(1, most);
        match heading {
            "METHODS:" | "RESULTS:" => {
                page.say_one(&sentences[..1]);
                page.say_some(&sentences[1..], count);
            }
            "CONCLUSIONS:" => {
                of_design("finding").iter().for_each(|finding| page.say(finding));
                page.say_some(sentences, count - 1);
            }
            _ => page.say_some(sentences, count),
        }
    }
    if page.number(1, 4) == 1 {
        page.line();
        page.say_one(LEXICON.list("keywords"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_slot_has_words() {
        let mut page = Page::new(Seed(0).stream("any"), &LEXICON);
        bind_facts(&mut page);
        let facts: Vec<&str> = page.facts().collect();
        assert_eq!(LEXICON.unknown_slots(&facts), Vec::<String>::new());
        for specialty in LEXICON.list("specialties") {
            for kind in ["conditions", "drugs", "procedures", "markers", "tests"] {
                assert!(LEXICON.list(&format!("{specialty} {kind}")).len() > 3, "{specialty} {kind}");
            }
        }
    }

    #[test]
    fn an_abstract_depends_on_seed_and_index_alone() {
        assert_eq!(stream(Seed(3)).nth(4).unwrap(), paragraph(Seed(3), 4));
        assert_ne!(paragraph(Seed(3), 4), paragraph(Seed(4), 4));
    }

    #[test]
    fn abstracts_are_varied_and_do_not_repeat() {
        let texts: BTreeSet<String> = stream(Seed(1)).take(2000).collect();
        assert_eq!(texts.len(), 2000);
        let words: BTreeSet<&str> = texts.iter().flat_map(|t| t.split(|c: char| !c.is_alphabetic())).collect();
        assert!(words.len() > 700, "{}", words.len());
        assert!(texts.iter().all(|t| !t.contains(['{', '}']) && !t.contains("  ")));
    }

    #[test]
    fn percentages_are_those_of_their_counts() {
        assert_eq!(percent(1, 3), "33.3");
        assert_eq!(percent(2, 3), "66.7");
        assert_eq!(percent(0, 0), "0.0");
    }

    #[test]
    fn significance_is_that_of_the_counts() {
        // By hand: (71 * 228 - 53 * 302)^2 * 530 / (302 * 228 * 124 * 406).
        let by_hand = 17_555_720.0 / 3_466_486_464.0;
        assert!((chi_square([71, 302], [53, 228]) - by_hand).abs() < 1e-12);
        assert_eq!(chi_square([5, 10], [50, 100]), 0.0);
        assert!(chi_square([85, 417], [33, 356]) > 10.83);
        assert_eq!(chi_square([0, 10], [0, 10]), 0.0);
    }
}
