//! Byte-pair encoding (Sennrich et al. 2016): merge the most frequent pair of neighbours, again and again.
//!
//! Equal counts are settled by the smaller pair of ids, so the result is a function of the words and their counts.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

type Pair = (u32, u32);

/// A word as tokens, and how often it occurs. `None` is a character without a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub parts: Vec<Option<u32>>,
    pub count: i64,
}

impl Word {
    /// The runs of known characters.
    pub fn split_at_unknown(self) -> Vec<Self> {
        self.parts
            .split(Option::is_none)
            .filter(|run| run.len() > 1)
            .map(|run| Self { parts: run.to_vec(), count: self.count })
            .collect()
    }
}

/// Tokens by id, and merges in the order in which they were made.
#[derive(Debug)]
pub(super) struct Trained {
    pub tokens: Vec<String>,
    pub merges: Vec<Pair>,
}

/// Adds merged tokens to `tokens` until there are `size` of them or no pair occurs `least` times.
///
/// A merge never produces one of the first `reserved` tokens.
pub(super) fn train(
    mut tokens: Vec<String>,
    reserved: usize,
    words: Vec<Word>,
    size: usize,
    least: i64,
    join: impl Fn(&str, &str) -> String,
) -> Trained {
    let mut ids: HashMap<String, u32> = (0..).zip(&tokens).map(|(id, t)| (t.clone(), id)).collect();
    let mut pairs = Pairs::new(words);
    let mut merges = Vec::new();
    while tokens.len() < size {
        let Some(pair) = pairs.most_frequent(least) else {
            break;
        };
        let text = join(&tokens[pair.0 as usize], &tokens[pair.1 as usize]);
        let id = match ids.get(&text) {
            Some(&id) if (id as usize) < reserved => continue,
            Some(&id) => id,
            None => {
                let id = tokens.len() as u32;
                tokens.push(text.clone());
                ids.insert(text, id);
                id
            }
        };
        merges.push(pair);
        pairs.merge(pair, id);
    }
    Trained { tokens, merges }
}

/// Every pair of neighbours: how often, in which words, and a queue of them.
struct Pairs {
    words: Vec<(Vec<u32>, i64)>,
    counts: HashMap<Pair, i64>,
    places: HashMap<Pair, Vec<usize>>,
    // An entry is stale when its count is no longer that of the pair; the queue's order is total.
    queue: BinaryHeap<(i64, Reverse<Pair>)>,
}

impl Pairs {
    fn new(words: Vec<Word>) -> Self {
        let words: Vec<(Vec<u32>, i64)> =
            words.into_iter().map(|w| (w.parts.into_iter().flatten().collect(), w.count)).collect();
        let mut pairs = Self { words, counts: HashMap::new(), places: HashMap::new(), queue: BinaryHeap::new() };
        let mut changed = BTreeSet::new();
        for index in 0..pairs.words.len() {
            pairs.count(index, &mut changed);
        }
        pairs.requeue(changed);
        pairs
    }

    fn most_frequent(&mut self, least: i64) -> Option<Pair> {
        while let Some((count, Reverse(pair))) = self.queue.pop() {
            if count < least {
                return None;
            }
            if self.counts.get(&pair) == Some(&count) {
                return Some(pair);
            }
        }
        None
    }

    fn merge(&mut self, pair: Pair, id: u32) {
        let mut places = self.places.remove(&pair).unwrap_or_default();
        places.dedup();
        let mut changed = BTreeSet::new();
        for index in places {
            let (word, count) = &mut self.words[index];
            if !word.windows(2).any(|w| (w[0], w[1]) == pair) {
                continue;
            }
            for w in word.windows(2) {
                let key = (w[0], w[1]);
                *self.counts.entry(key).or_insert(0) -= *count;
                changed.insert(key);
            }
            *word = replace(word, pair, id);
            self.count(index, &mut changed);
        }
        changed.remove(&pair);
        self.counts.remove(&pair);
        self.requeue(changed);
    }

    /// Counts the pairs of one word.
    fn count(&mut self, index: usize, changed: &mut BTreeSet<Pair>) {
        let (word, count) = &self.words[index];
        for w in word.windows(2) {
            let key = (w[0], w[1]);
            *self.counts.entry(key).or_insert(0) += count;
            let places = self.places.entry(key).or_default();
            if places.last() != Some(&index) {
                places.push(index);
            }
            changed.insert(key);
        }
    }

    fn requeue(&mut self, changed: BTreeSet<Pair>) {
        for pair in changed {
            match self.counts.get(&pair) {
                Some(&count) if count > 0 => self.queue.push((count, Reverse(pair))),
                _ => {
                    self.counts.remove(&pair);
                    self.places.remove(&pair);
                }
            }
        }
    }
}

/// `word` with every occurrence of `pair`, from the left, replaced by `id`.
fn replace(word: &[u32], pair: Pair, id: u32) -> Vec<u32> {
    let mut out = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&first, tail)) = rest.split_first() {
        if first == pair.0 && tail.first() == Some(&pair.1) {
            out.push(id);
            rest = &tail[1..];
        } else {
            out.push(first);
            rest = tail;
        }
    }
    out
}
