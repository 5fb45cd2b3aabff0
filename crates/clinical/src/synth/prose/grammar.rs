//! A small grammar over lists of words: sentences with slots, filled from a page's own facts or else from lists of words.
//!
//! `{place}` is the page's place if one was [bound](Page::bind), so that it is the same throughout; otherwise a fresh
//! choice from the list `place`. What is chosen may have slots itself. `{a object}` puts the right article before,
//! `{3-9}` is a number. A sentence begins with a capital.

use std::collections::BTreeMap;

use clinpeft_rng::{RngExt, Stream, shuffle};

/// Lists of words and phrases by name.
pub(super) struct Lexicon(BTreeMap<&'static str, Vec<&'static str>>);

impl Lexicon {
    /// Reads a list of `datasets/lexicon`: `[name]`, then one choice per line; `#` begins a comment.
    pub fn parse(text: &'static str) -> Lexicon {
        let mut lists: BTreeMap<&'static str, Vec<&'static str>> = BTreeMap::new();
        let mut name = "";
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                Some(next) => name = next,
                None => lists.entry(name).or_default().push(line),
            }
        }
        Lexicon(lists)
    }

    /// The choices of a list; none if there is no such list.
    pub fn list(&self, name: &str) -> &[&'static str] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// How many lists `<kind> 1 <part>`, `<kind> 2 <part>` ... there are.
    pub fn count(&self, kind: &str, part: &str) -> u32 {
        (1..).take_while(|n| self.0.contains_key(format!("{kind} {n} {part}").as_str())).count() as u32
    }

    /// The slots that name neither a fact, a range nor a list.
    #[cfg(test)]
    pub fn unknown_slots(&self, facts: &[&str]) -> Vec<String> {
        let mut unknown = Vec::new();
        for template in self.0.values().flatten() {
            let mut rest = *template;
            while let Some((_, slot, after)) = next_slot(rest) {
                let name = slot.strip_prefix("a ").unwrap_or(slot);
                if !facts.contains(&name) && range(name).is_none() && self.list(name).is_empty() {
                    unknown.push(name.to_owned());
                }
                rest = after;
            }
        }
        unknown
    }
}

/// A choice from a list that has no words, or slots within slots without end.
const NOTHING: &str = "";
const DEEPEST: usize = 8;

/// A text that is being written, with its facts.
pub(super) struct Page {
    stream: Stream,
    lexicon: &'static Lexicon,
    facts: BTreeMap<&'static str, String>,
    text: String,
}

impl Page {
    pub fn new(stream: Stream, lexicon: &'static Lexicon) -> Self {
        Self { stream, lexicon, facts: BTreeMap::new(), text: String::new() }
    }

    /// One of `items`, all equally likely.
    pub fn pick<T: Copy>(&mut self, items: &[T], empty: T) -> T {
        if items.is_empty() {
            return empty;
        }
        items[self.number(0, items.len() as u32 - 1) as usize]
    }

    /// A number from `low` to `high`.
    pub fn number(&mut self, low: u32, high: u32) -> u32 {
        self.stream.random_range(low..=high.max(low))
    }

    /// Fixes a slot to a value for the rest of the page.
    pub fn bind(&mut self, slot: &'static str, value: impl ToString) {
        self.facts.insert(slot, value.to_string());
    }

    /// Fixes `slot` to a choice from the list `list` that no other slot has.
    pub fn bind_from(&mut self, slot: &'static str, list: &str) {
        let words = self.lexicon.list(list);
        let mut value = NOTHING.to_owned();
        for _ in 0..DEEPEST {
            let word = self.pick(words, NOTHING);
            value = self.fill(word, 0);
            if self.facts.values().all(|v| *v != value) {
                break;
            }
        }
        self.bind(slot, value);
    }

    /// Whether the text has the value of a fact.
    pub fn mentions(&self, slot: &str) -> bool {
        self.facts.get(slot).is_some_and(|fact| self.text.contains(fact.as_str()))
    }

    /// The slots that are bound.
    #[cfg(test)]
    pub fn facts(&self) -> impl Iterator<Item = &'static str> {
        self.facts.keys().copied()
    }

    /// Adds a sentence.
    pub fn say(&mut self, sentence: &str) {
        let filled = self.fill(sentence, 0);
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push(' ');
        }
        self.text.push_str(&capital(&filled));
    }

    /// Adds one of `sentences`.
    pub fn say_one(&mut self, sentences: &[&'static str]) {
        let sentence = self.pick(sentences, NOTHING);
        self.say(sentence);
    }

    /// Adds up to `count` different ones of `sentences`, in a random order.
    pub fn say_some(&mut self, sentences: &[&'static str], count: u32) {
        let mut order: Vec<&'static str> = sentences.to_vec();
        shuffle(&mut order, &mut self.stream);
        for sentence in order.into_iter().take(count as usize) {
            self.say(sentence);
        }
    }

    /// Ends a line.
    pub fn line(&mut self) {
        self.text.push('\n');
    }

    /// The text.
    pub fn finish(self) -> String {
        self.text
    }

    fn fill(&mut self, template: &str, depth: usize) -> String {
        let mut out = String::with_capacity(template.len() * 2);
        let mut rest = template;
        while let Some((before, slot, after)) = next_slot(rest) {
            out.push_str(before);
            match slot.strip_prefix("a ") {
                Some(slot) => {
                    let value = self.value(slot, depth);
                    out.push_str(article(&value));
                    out.push_str(&value);
                }
                None => out.push_str(&self.value(slot, depth)),
            }
            rest = after;
        }
        out.push_str(rest);
        out
    }

    fn value(&mut self, slot: &str, depth: usize) -> String {
        if let Some(fact) = self.facts.get(slot) {
            return fact.clone();
        }
        if let Some((low, high)) = range(slot) {
            return self.number(low, high).to_string();
        }
        if depth == DEEPEST {
            return NOTHING.to_owned();
        }
        let word = self.pick(self.lexicon.list(slot), NOTHING);
        self.fill(word, depth + 1)
    }
}

/// What stands before the first slot, the slot, and what stands after.
fn next_slot(template: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = template.split_once('{')?;
    let (slot, after) = rest.split_once('}')?;
    Some((before, slot, after))
}

fn range(slot: &str) -> Option<(u32, u32)> {
    let (low, high) = slot.split_once('-')?;
    Some((low.parse().ok()?, high.parse().ok()?))
}

fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o', 'u', 'A', 'E', 'I', 'O', 'U']) { "an " } else { "a " }
}

/// The text with its first letter, quotation marks aside, in upper case.
fn capital(text: &str) -> String {
    match text.char_indices().find(|(_, c)| *c != '"') {
        Some((at, first)) => {
            let (quote, rest) = text.split_at(at);
            let upper: String = first.to_uppercase().collect();
            format!("{quote}{upper}{}", &rest[first.len_utf8()..])
        }
        None => text.to_owned(),
    }
}
