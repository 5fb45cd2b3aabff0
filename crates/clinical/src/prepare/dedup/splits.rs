//! Near-duplicates between the splits of a task, in linear time.
//!
//! The windows of words of an admission note (see [`super::windows`]) are hashed into [`BINS`] bins, and each bin keeps its
//! smallest hash (Li, Owen & Zhang 2012, one-permutation MinHash). The share of equal bins estimates the Jaccard
//! similarity of two notes. Candidates are notes that agree in one band of [`BAND`] bins out of the first [`BANDED`]; at most
//! [`LIMIT`] notes of a band's bucket are compared, so the time grows with the number of notes and not with its square. Notes
//! of fewer than [`LEAST`] windows are not compared: complaints of three words are equal by nature.

use super::windows::windows;
use crate::ids::SubjectId;
use crate::prepare::record::leaks::SplitLeaks;
use crate::task::{Split, Task};
use std::collections::{BTreeMap, BTreeSet, HashMap};

const BINS: usize = 256;
const BANDED: usize = 64;
const BAND: usize = 4;
const SIMILAR_PERCENT: u64 = 80;
const LEAST: usize = 16;
const LIMIT: usize = 64;

/// What defines a near-duplicate, for the manifest.
pub(super) const PARAMETERS: [(&str, u64); 6] = [
    ("splits_bins", BINS as u64),
    ("splits_bins_in_bands", BANDED as u64),
    ("splits_bins_per_band", BAND as u64),
    ("splits_similarity_percent", SIMILAR_PERCENT),
    ("splits_least_windows", LEAST as u64),
    ("splits_compared_per_band", LIMIT as u64),
];

const EMPTY: u32 = u32::MAX;
const PAIRS: [(Split, Split); 3] =
    [(Split::Train, Split::Validation), (Split::Train, Split::Test), (Split::Validation, Split::Test)];

type Signature = [u32; BINS];

fn signature<'a>(bodies: impl IntoIterator<Item = &'a str>) -> Option<Box<Signature>> {
    let mut bins = Box::new([EMPTY; BINS]);
    let mut seen = 0;
    for body in bodies {
        windows(body, |hash| {
            seen += 1;
            let bin = &mut bins[(hash >> 56) as usize];
            *bin = (*bin).min(hash as u32);
        });
    }
    (seen >= LEAST).then_some(bins)
}

fn similar(a: &Signature, b: &Signature) -> bool {
    let filled = a.iter().zip(b).filter(|(x, y)| **x != EMPTY || **y != EMPTY);
    let (all, equal) = filled.fold((0, 0), |(all, equal), (x, y)| (all + 1, equal + u64::from(x == y)));
    100 * equal >= SIMILAR_PERCENT * all
}

struct Entry {
    subject: SubjectId,
    signature: Option<Box<Signature>>,
}

/// The admission notes of all tasks and the splits that they are in.
#[derive(Default)]
pub(in crate::prepare) struct NearDupIndex {
    entries: Vec<Entry>,
    members: BTreeMap<Task, [Vec<usize>; 3]>,
}

impl NearDupIndex {
    /// Remembers an admission note; the number is for [`NearDupIndex::join`].
    pub fn add<'a>(&mut self, subject: SubjectId, bodies: impl IntoIterator<Item = &'a str>) -> usize {
        self.entries.push(Entry { subject, signature: signature(bodies) });
        self.entries.len() - 1
    }

    /// Puts a note into a split of a task.
    pub fn join(&mut self, entry: usize, task: Task, split: Split) {
        self.members.entry(task).or_default()[split as usize].push(entry);
    }

    /// What the splits of all tasks share.
    pub fn report(&self, were: &str) -> Vec<SplitLeaks> {
        let mut found = Vec::new();
        for (task, splits) in &self.members {
            for (first, second) in PAIRS {
                let (a, b) = (&splits[first as usize], &splits[second as usize]);
                let patients = |entries: &[usize]| -> BTreeSet<SubjectId> {
                    entries.iter().map(|e| self.entries[*e].subject).collect()
                };
                found.push(SplitLeaks {
                    task: task.name().into(),
                    first: first.name().into(),
                    second: second.name().into(),
                    patients_shared: patients(a).intersection(&patients(b)).count() as u64,
                    near_duplicates: self.doubles(a, b).len() as u64,
                    near_duplicates_were: if first == Split::Train { were } else { "kept" }.into(),
                });
            }
        }
        found
    }

    /// The notes in training whose like is held out, by task.
    pub fn leaking(&self) -> BTreeSet<(Task, usize)> {
        let mut leaking = BTreeSet::new();
        for (task, [train, validation, test]) in &self.members {
            for held_out in [validation, test] {
                leaking.extend(self.doubles(train, held_out).into_iter().map(|entry| (*task, entry)));
            }
        }
        leaking
    }

    /// The entries of `a` that nearly equal one of `b`.
    fn doubles(&self, a: &[usize], b: &[usize]) -> Vec<usize> {
        let mut buckets: HashMap<(usize, &[u32]), Vec<&Signature>> = HashMap::new();
        for signature in b.iter().filter_map(|e| self.entries[*e].signature.as_deref()) {
            for band in bands(signature) {
                let bucket = buckets.entry(band).or_default();
                if bucket.len() < LIMIT {
                    bucket.push(signature);
                }
            }
        }
        let has_a_double = |entry: &usize| {
            self.entries[*entry].signature.as_deref().is_some_and(|signature| {
                bands(signature).any(|band| buckets.get(&band).is_some_and(|b| b.iter().any(|s| similar(signature, s))))
            })
        };
        a.iter().copied().filter(has_a_double).collect()
    }
}

fn bands(signature: &Signature) -> impl Iterator<Item = (usize, &[u32])> {
    signature[..BANDED].chunks(BAND).enumerate().filter(|(_, band)| band.iter().any(|bin| *bin != EMPTY))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prepare::dedup::planted;

    fn text(salt: usize, words: usize) -> String {
        (0..words).map(|i| format!("w{} ", (i * 7919 + salt * 104_729) % 100_003)).collect()
    }

    fn register(notes: &[(u64, &str, Split)]) -> NearDupIndex {
        let mut register = NearDupIndex::default();
        for (subject, body, split) in notes {
            let entry = register.add(SubjectId(*subject), [*body]);
            register.join(entry, Task::Mortality, *split);
        }
        register
    }

    #[test]
    fn changed_copies_are_found_and_other_texts_are_not() {
        let original = text(1, 400);
        let changed = original.replacen("w", "v", 3).to_uppercase();
        let other = text(2, 400);
        let notes = [
            (1, original.as_str(), Split::Test),
            (2, &changed, Split::Train),
            (3, &other, Split::Train),
            (1, &other[..60], Split::Validation),
        ];
        let register = register(&notes);
        assert_eq!(register.leaking().into_iter().collect::<Vec<_>>(), [(Task::Mortality, 1)]);
        let report = register.report("kept");
        let between = |a: Split, b: Split| report.iter().find(|l| l.first == a.name() && l.second == b.name()).unwrap();
        assert_eq!(between(Split::Train, Split::Test).near_duplicates, 1);
        assert_eq!(between(Split::Train, Split::Validation).near_duplicates, 0);
        assert_eq!(between(Split::Validation, Split::Test).patients_shared, 1);
    }

    #[test]
    fn planted_near_duplicates_are_found_as_exact_similarity_says() {
        let originals: Vec<String> = (0..400).map(|i| planted::text(i, 300)).collect();
        let copies: Vec<String> = originals.iter().enumerate().map(|(i, o)| planted::changed(o, i % 11)).collect();
        let all_windows = |text: &str| {
            let mut all = BTreeSet::new();
            windows(text, |hash| {
                all.insert(hash);
            });
            all
        };
        let held_out = originals.iter().map(|o| (1, o.as_str(), Split::Test));
        let learnt = copies.iter().map(|c| (2, c.as_str(), Split::Train));
        let leaking = register(&held_out.chain(learnt).collect::<Vec<_>>()).leaking();
        let held_out: Vec<BTreeSet<u64>> = originals.iter().map(|o| all_windows(o)).collect();
        let mut tally = planted::Tally::default();
        for (i, copy) in copies.iter().enumerate() {
            let copy = all_windows(copy);
            let jaccard =
                |other: &BTreeSet<u64>| copy.intersection(other).count() as f64 / copy.union(other).count() as f64;
            let exact = held_out.iter().map(jaccard).fold(0.0, f64::max);
            let found = leaking.contains(&(Task::Mortality, originals.len() + i));
            tally.see(exact, SIMILAR_PERCENT as usize, found);
        }
        tally.check("splits");
    }

    #[test]
    fn short_texts_are_not_compared() {
        let short = text(1, 20);
        let register = register(&[(1, &short, Split::Test), (2, &short, Split::Train)]);
        assert!(register.leaking().is_empty());
    }

    #[test]
    fn half_a_text_is_no_near_duplicate() {
        let (whole, half) = (text(1, 800), text(1, 400));
        let register = register(&[(1, &whole, Split::Test), (2, &half, Split::Train)]);
        assert!(register.leaking().is_empty());
    }
}
