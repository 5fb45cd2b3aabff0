//! Plain English about everyday things, written by a grammar.
//!
//! The base models of the demonstration are trained on it, so that a clinical note is as new to them as it was to the
//! models of the paper. What is worth learning reaches across a paragraph: its hero, place and things recur, and
//! questions at its end are answered by copying what was said before.

use super::grammar::{Lexicon, Page};
use clinpeft_rng::Seed;
use std::sync::LazyLock;

static LEXICON: LazyLock<Lexicon> =
    LazyLock::new(|| Lexicon::parse(include_str!("../../../../../datasets/lexicon/general.txt")));

/// Facts that hold for a whole paragraph: slot, and the list it is chosen from.
const FACTS: &[(&str, &str)] = &[
    ("friend", "name"),
    ("town", "town"),
    ("place", "place"),
    ("colour", "colour"),
    ("object", "object"),
    ("animal", "animal"),
    ("day", "day"),
    ("month", "month"),
    ("relative", "relative"),
    ("dish", "dish"),
    ("fruits", "fruits"),
    ("job", "job"),
    ("season", "season"),
    ("vehicle", "vehicle"),
    ("ailment", "ailment"),
];

/// Paragraph `index` of the text of `seed`. Always the same for the same two.
pub fn paragraph(seed: Seed, index: u64) -> String {
    let stream = seed.part("general text").stream(&index.to_string());
    let mut page = Page::new(stream, &LEXICON);
    bind_facts(&mut page);
    let letter = page.number(1, 12) == 1;
    let topics = LEXICON.count("topic", "openings");
    let first = page.number(0, topics - 1);
    if letter {
        page.say("Dear {friend},");
        page.line();
    }
    tell(&mut page, first);
    if page.number(1, 4) == 1 {
        let second = (first + page.number(1, topics - 1)) % topics;
        tell(&mut page, second);
    }
    if letter {
        page.line();
        page.say_one(&["Yours, {hero}", "With love from {town}, {hero}", "Write soon! {hero}"]);
    } else if page.number(1, 2) == 1 {
        ask(&mut page);
    }
    page.finish()
}

/// All paragraphs, one after the other, without end.
pub fn stream(seed: Seed) -> impl Iterator<Item = String> {
    (0..).map(move |index| paragraph(seed, index))
}

fn bind_facts(page: &mut Page) {
    let (list, he, him, his) =
        page.pick(&[("woman", "she", "her", "her"), ("man", "he", "him", "his")], ("man", "he", "him", "his"));
    page.bind_from("hero", list);
    page.bind("he", he);
    page.bind("him", him);
    page.bind("his", his);
    for (slot, list) in FACTS {
        page.bind_from(slot, list);
    }
    let (n, price) = (page.number(2, 12), page.number(2, 40));
    page.bind("n", n);
    page.bind("price", price);
    // So that a sum can be learnt, not only a copy.
    page.bind("twice", 2 * n);
}

/// Up to three questions that the paragraph has answered; each line of the list begins with the fact that it asks for.
fn ask(page: &mut Page) {
    let questions = LEXICON.list("questions").iter().filter_map(|line| line.split_once(": "));
    let answered: Vec<&str> = questions.filter(|(fact, _)| page.mentions(fact)).map(|(_, question)| question).collect();
    let count = page.number(1, 3);
    page.say_some(&answered, count);
}

/// One opening of a topic, some of its middles, one closing.
fn tell(page: &mut Page, topic: u32) {
    let part = |part: &str| LEXICON.list(&format!("topic {} {part}", topic + 1));
    page.say_one(part("openings"));
    let count = page.number(2, 5);
    page.say_some(part("middles"), count);
    page.say_one(part("closings"));
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
        assert!(FACTS.iter().all(|(_, list)| !LEXICON.list(list).is_empty()));
    }

    #[test]
    fn a_paragraph_depends_on_seed_and_index_alone() {
        let streamed: Vec<String> = stream(Seed(3)).take(5).collect();
        assert_eq!(streamed[4], paragraph(Seed(3), 4));
        assert_ne!(paragraph(Seed(3), 4), paragraph(Seed(4), 4));
        assert_ne!(streamed[0], streamed[1]);
    }

    #[test]
    fn paragraphs_are_varied_and_rarely_repeat() {
        let texts: BTreeSet<String> = stream(Seed(1)).take(3000).collect();
        assert!(texts.len() > 2990, "{}", texts.len());
        let words: BTreeSet<&str> = texts.iter().flat_map(|t| t.split(|c: char| !c.is_alphabetic())).collect();
        assert!(words.len() > 800, "{}", words.len());
        assert!(texts.iter().all(|t| !t.contains(['{', '}']) && !t.contains("  ")));
    }
}
