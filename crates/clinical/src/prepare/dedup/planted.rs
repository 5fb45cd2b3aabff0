//! Texts with near-duplicates of known exact similarity, to measure recall and precision of the leak checks by.

/// Words drawn from a vocabulary of five thousand; another text for each number.
pub fn text(number: usize, words: usize) -> String {
    let mut state = number as u64 + 1;
    let mut word = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("w{} ", (state >> 33) % 5000)
    };
    (0..words).map(|_| word()).collect()
}

/// The text with so many words changed, evenly.
pub fn changed(text: &str, words: usize) -> String {
    let every = text.split(' ').count() / (words + 1);
    let change = |(i, word): (usize, &str)| match words > 0 && (i + 1) % every == 0 && (i + 1) / every <= words {
        true => format!("changed{i} "),
        false => format!("{word} "),
    };
    text.split(' ').enumerate().map(change).collect()
}

/// What a check found, beside what is exactly so.
#[derive(Default)]
pub struct Tally {
    right: u32,
    missed: u32,
    wrong: u32,
    missed_by_far: u32,
    wrong_by_far: u32,
}

impl Tally {
    /// One text: its exact similarity, the threshold in percent, and what the check says.
    pub fn see(&mut self, exact: f64, percent: usize, found: bool) {
        let threshold = percent as f64 / 100.0;
        match (exact >= threshold, found) {
            (true, true) => self.right += 1,
            (true, false) => {
                self.missed += 1;
                self.missed_by_far += u32::from(exact >= threshold + 0.15);
            }
            (false, true) => {
                self.wrong += 1;
                self.wrong_by_far += u32::from(exact < threshold - 0.15);
            }
            (false, false) => {}
        }
    }

    /// An estimate may err near the threshold, not far from it.
    pub fn check(&self, what: &str) {
        let share = |of: u32| f64::from(self.right) / f64::from(self.right + of);
        let (recall, precision) = (share(self.missed), share(self.wrong));
        println!("{what}: recall {recall:.3}, precision {precision:.3} at the threshold");
        assert!(self.right > 50, "{what}: too few are planted");
        assert_eq!((self.missed_by_far, self.wrong_by_far), (0, 0), "{what}: 0.15 and more from the threshold");
        assert!(recall >= 0.9 && precision >= 0.9, "{what}: recall {recall:.3}, precision {precision:.3}");
    }
}
