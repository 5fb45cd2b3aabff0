//! Time and memory of the largest task: 1,266 labels, 34,000 notes of 500 words, 200,000 features.
//!
//! ```sh
//! cargo run --release -p clinpeft-linear --example capacity -- 34000 1266
//! ```

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program that measures")]

use clinpeft_linear::{LogisticPath, Target, TfidfSettings, TfidfVectorizer};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

#[global_allocator]
static MEMORY: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

/// Words of a note; words that there are.
const LENGTH: usize = 500;
const WORDS: f64 = 60_000.0;

/// Uniform numbers from 0 to 1 by splitmix64.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let a = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let b = (a ^ a >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((b ^ b >> 31) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A rank below `count` by Zipf's law.
    fn rank(&mut self, count: f64) -> u32 {
        (self.next() * count.ln()).exp() as u32 - 1
    }
}

fn main() {
    let mut counts = std::env::args().skip(1).map(|a| a.parse::<usize>().unwrap());
    let (rows, labels) = (counts.next().unwrap_or(34_000), counts.next().unwrap_or(1266));
    let mut draws = Draws(1);
    let (mut texts, mut sets) = (Vec::new(), Vec::new());
    for _ in 0..rows {
        let mut set: Vec<u32> = (0..12).map(|_| draws.rank(labels as f64)).collect();
        set.sort_unstable();
        set.dedup();
        let mut words: Vec<String> = (0..LENGTH).map(|_| format!("w{}", draws.rank(WORDS))).collect();
        // A note shows its labels by words of theirs, most of the time.
        for label in &set {
            if draws.next() > 0.7 {
                continue;
            }
            let at = (draws.next() * LENGTH as f64) as usize;
            words[at] = format!("w{}", 200 + 3 * label + draws.rank(4.0));
        }
        texts.push(words.join(" "));
        sets.push(set);
    }
    println!("made");
    let started = Instant::now();
    let vectorizer = TfidfVectorizer::fit(&texts, TfidfSettings { min_df: 2, max_features: 200_000 }).unwrap();
    let x = vectorizer.transform(&texts);
    drop(texts);
    println!("{} rows, {} features, {} values: {:.0?}", x.rows(), x.columns(), x.stored(), started.elapsed());
    let (target, stop) = (Target::OneVsRest { sets, count: labels }, AtomicBool::new(false));
    let mut path = LogisticPath::of_labels(&x, &target, 128, &stop).unwrap();
    for c in [0.1, 1.0, 10.0, 100.0] {
        path.fit(c).unwrap();
        println!("C = {c}: {} steps, {:.0?}", path.steps(), started.elapsed());
    }
    drop(path);
    let mut path = LogisticPath::new(&x, &target, &stop).unwrap();
    path.fit(10.0).unwrap();
    let outputs = path.model().outputs();
    println!(
        "{outputs} labels, {} steps: {:.0?}, {:.0} MB",
        path.steps(),
        started.elapsed(),
        MEMORY.peak_usage_as_mb()
    );
}
