//! Whether the numbers of admissions and patients can be found again from what a run publishes.
//!
//! Numbers are few, so whoever knows how they were hashed tries them all. Here every text of the outputs that could have gone into
//! the hash is tried as salt or key, with every number that is known to be in the data: a hit is what trying all would find.

use crate::siege::tree;
use crate::siege::trial::Trial;
use clinpeft_report::predictions::Predictions;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

pub(super) fn recovered(trial: &mut Trial<'_>) -> io::Result<()> {
    let parts = ["store", "own"];
    let part = parts[trial.number as usize % parts.len()];
    let root = trial.world.part(part);
    let mut stored: BTreeSet<u64> = BTreeSet::new();
    for path in tree::files(&root.join("runs"))? {
        if path.file_name().is_some_and(|n| n == "predictions.safetensors" || n == "validation.safetensors")
            && let Ok(p) = Predictions::read(&path)
        {
            stored.extend(p.ids);
            stored.extend(p.subjects);
        }
    }
    trial.expect(!stored.is_empty(), || "no file of predictions can be read".into());
    let numbers = numbers(trial, part);
    let raw = numbers.iter().filter(|n| stored.contains(*n)).count();
    trial.expect(raw < 3, || format!("{raw} ids stand in files of predictions as they are"));
    let salts = suggested(&root)?;
    for salt in &salts {
        for purpose in ["id", "subject", ""] {
            let hit =
                numbers.iter().find_map(|n| tried(salt, purpose, *n).into_iter().position(|h| stored.contains(&h)));
            if let Some(way) = hit {
                trial.faults.push(format!("ids can be found again: salt `{salt}`, purpose `{purpose}`, way {way}"));
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Numbers that are in the data: of the raw files, of a person's notes, and the places of rows.
fn numbers(trial: &Trial<'_>, part: &str) -> Vec<u64> {
    let known = trial.world.secrets.ids.iter().filter_map(|id| id.parse().ok());
    let places = if part == "own" { 0..200 } else { 0..0 };
    known.chain(places).collect()
}

/// The beginning of a hash of a number, in the ways that suggest themselves.
fn tried(salt: &str, purpose: &str, n: u64) -> Vec<u64> {
    let texts = [
        format!("{salt}/{purpose}/{n}"),
        format!("{salt}{purpose}{n}"),
        format!("{purpose}/{salt}/{n}"),
        format!("{salt}:{purpose}:{n}"),
        format!("{salt} {purpose} {n}"),
        format!("{salt}/{n}"),
        format!("{n}/{salt}"),
    ];
    let mut digests: Vec<[u8; 32]> = texts.iter().map(|t| *blake3::hash(t.as_bytes()).as_bytes()).collect();
    let mut key = [0; 32];
    let bytes = from_hex(salt);
    let length = bytes.len().min(32);
    key[..length].copy_from_slice(&bytes[..length]);
    for message in [format!("{purpose}/{n}"), format!("{purpose}{n}"), n.to_string()] {
        digests.push(*blake3::keyed_hash(&key, message.as_bytes()).as_bytes());
    }
    let mut named = purpose.as_bytes().to_vec();
    named.extend(n.to_le_bytes());
    digests.push(*blake3::keyed_hash(&key, &named).as_bytes());
    let ends = |d: &[u8; 32]| {
        let first: [u8; 8] = std::array::from_fn(|i| d[i]);
        [u64::from_be_bytes(first), u64::from_le_bytes(first)]
    };
    digests.iter().flat_map(ends).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks_exact(2).map(|p| std::str::from_utf8(p).ok());
    pairs.map_while(|p| u8::from_str_radix(p?, 16).ok()).collect()
}

/// Words of outputs that look like hashes or names, outside of the folders for data.
fn suggested(root: &Path) -> io::Result<BTreeSet<String>> {
    let mut found = BTreeSet::from([String::new()]);
    for path in tree::files(root)? {
        let inside = path.strip_prefix(root).unwrap_or(&path);
        let first = inside.components().next().map(|c| c.as_os_str().to_string_lossy().into_owned());
        if first.is_none_or(|f| ["data", "raw", "tokens"].contains(&f.as_str())) {
            continue;
        }
        found.extend(inside.components().map(|c| c.as_os_str().to_string_lossy().into_owned()));
        let text = fs::read(&path)?;
        let text = String::from_utf8_lossy(&text[..text.len().min(1 << 16)]).into_owned();
        let part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let words = text.split(|c: char| !part(c));
        found
            .extend(words.filter(|w| is_hash(w) || w.starts_with("smoke-") || w.starts_with("own-")).map(String::from));
    }
    Ok(found)
}

fn is_hash(word: &str) -> bool {
    word.len() >= 12
        && word.len() <= 64
        && word.chars().all(|c| c.is_ascii_hexdigit())
        && word.contains(|c: char| c.is_ascii_digit())
}
