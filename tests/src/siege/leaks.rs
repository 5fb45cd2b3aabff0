//! Canaries, and where they must not be.

use super::tree;
use clinpeft_clinical::synth::CANARY;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Component, Path};

/// What nobody may see outside of the folders for data.
#[derive(Debug, Default)]
pub struct Secrets {
    /// Ids of admissions and patients, as decimal numbers.
    pub ids: BTreeSet<String>,
    /// Keys of datasets, raw.
    pub keys: Vec<Vec<u8>>,
}

/// So many ids of one file are no accident: a count or a seed may be the number of an admission.
const IDS: usize = 3;

/// Among counts of tokens over a long run some are the number of an admission; in a list of ids most are.
const SHARE: usize = 4;

/// Shorter numbers may be counts of steps.
const DIGITS: usize = 6;

/// What of it is in `bytes`.
pub fn holds(bytes: &[u8], secrets: &Secrets) -> Option<String> {
    let lower = bytes.to_ascii_lowercase();
    if memchr::memmem::find(&lower, CANARY.to_ascii_lowercase().as_bytes()).is_some() {
        return Some("a note".into());
    }
    for key in &secrets.keys {
        let hex: String = key.iter().map(|b| format!("{b:02x}")).collect();
        let shows =
            memchr::memmem::find(bytes, key).is_some() || memchr::memmem::find(&lower, hex.as_bytes()).is_some();
        if !key.is_empty() && shows {
            return Some("the key of a dataset".into());
        }
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let part = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
    let words = text.split(|c: char| !part(c));
    let numbers: BTreeSet<&str> =
        words.filter(|w| w.len() >= DIGITS && w.chars().all(|c| c.is_ascii_digit())).collect();
    let ids: BTreeSet<&str> = numbers.iter().copied().filter(|w| secrets.ids.contains(*w)).collect();
    let first = ids.first().filter(|_| ids.len() >= IDS && ids.len() * SHARE >= numbers.len())?;
    Some(format!("{} ids of admissions or patients, the first is {first}", ids.len()))
}

/// Folders in which notes and ids may stand, and the inputs of a trial.
const PRIVATE: [&str; 5] = ["data", "raw", "tokens", "in", "foreign"];

/// What is in files below `dir` outside of the private folders.
pub fn shown(dir: &Path, secrets: &Secrets) -> io::Result<Vec<String>> {
    let mut faults = Vec::new();
    for path in tree::files(dir)? {
        let inside = path.strip_prefix(dir).unwrap_or(&path);
        let private = |c: Component<'_>| PRIVATE.iter().any(|p| c.as_os_str() == *p);
        // A person's own file of scores holds the person's own ids.
        let scores = path.extension().is_some_and(|e| e == "csv") && inside.components().count() == 2;
        // The words of a bag of words are words of its notes; the file is closed to others.
        let words = inside.ends_with("model/vocabulary.json");
        if inside.components().any(private) || scores || words {
            continue;
        }
        faults.extend(holds(&fs::read(&path)?, secrets).map(|what| format!("{} shows {what}", inside.display())));
    }
    Ok(faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaks_is_found_and_numbers_that_only_look_alike_are_not() {
        let ids = (123_456..123_460).map(|i| i.to_string()).collect();
        let secrets = Secrets { ids, keys: vec![vec![1, 2, 250, 251]] };
        for leak in ["a zqxcanaryxqz b", "ids 123456, 123457 and 123458", "key 0102FAFB"] {
            assert!(holds(leak.as_bytes(), &secrets).is_some(), "{leak}");
        }
        assert!(holds(&[0, 1, 2, 250, 251, 0], &secrets).is_some());
        let counts: String = (123_400..123_500).map(|n| format!("tokens {n}\n")).collect();
        for none in [&counts, "0.123456 0.123457 0.123458", "n123456 123457 123458", "123456 apart"] {
            assert!(holds(none.as_bytes(), &secrets).is_none(), "{none}");
        }
    }
}
