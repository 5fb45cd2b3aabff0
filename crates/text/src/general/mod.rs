//! Plain English about everyday things, written by a grammar.
//!
//! The base models of the demonstration are trained on it, so that a clinical note is as new to them as it was to the
//! models of the paper. What is worth learning reaches across a paragraph: its hero, place and things recur, and
//! questions at its end are answered by copying what was said before.

mod topics;
mod words;

use clinpeft_rng::Seed;

use crate::prose::Page;
use topics::{QUESTIONS, TOPICS, Topic};
use words::LEXICON;

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
    let mut page = Page::new(stream, LEXICON);
    bind_facts(&mut page);
    let letter = page.number(1, 12) == 1;
    let first = page.number(0, TOPICS.len() as u32 - 1) as usize;
    if letter {
        page.say("Dear {friend},");
        page.line();
    }
    tell(&mut page, &TOPICS[first]);
    if page.number(1, 4) == 1 {
        let second = (first + page.number(1, TOPICS.len() as u32 - 1) as usize) % TOPICS.len();
        tell(&mut page, &TOPICS[second]);
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

/// Up to three questions that the paragraph has answered.
fn ask(page: &mut Page) {
    let answered: Vec<&'static str> =
        QUESTIONS.iter().filter(|(fact, _)| page.mentions(fact)).map(|(_, question)| *question).collect();
    let count = page.number(1, 3);
    page.say_some(&answered, count);
}

fn tell(page: &mut Page, topic: &Topic) {
    page.say_one(topic.openings);
    let count = page.number(2, 5);
    page.say_some(topic.middles, count);
    page.say_one(topic.closings);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prose::unknown_slots;
    use std::collections::BTreeSet;

    #[test]
    fn every_slot_has_words() {
        let mut page = Page::new(Seed(0).stream("any"), LEXICON);
        bind_facts(&mut page);
        let facts: Vec<&str> = page.facts().collect();
        let mut templates: Vec<&str> = QUESTIONS.iter().map(|(_, question)| *question).collect();
        for topic in TOPICS {
            templates.extend(topic.openings.iter().chain(topic.middles).chain(topic.closings));
        }
        assert_eq!(unknown_slots(LEXICON, &facts, &templates), Vec::<String>::new());
        for (_, list) in FACTS {
            assert!(LEXICON.iter().any(|(name, _)| name == list), "{list}");
        }
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
