//! Words: no public type name in more than two crates, and none of the old words in code and documents.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use syn::Item;

use crate::head::Head;
use crate::workspace::{Package, Violation, read, rust_files, short_name};

/// Type names that every crate may have.
const EVERYWHERE: &[&str] = &["Error", "Result"];

/// Words that must not come back, with the word to use. Compared without case, as whole words.
const OLD: &[(&str, &str)] = &[
    ("is no method", "unknown adapter"),
    ("is not there", "not found, missing"),
    ("opponent", "baseline"),
    ("optimiser", "optimizer"),
    ("room", "module, layer"),
    ("rooms", "modules, layers"),
    ("shelf", "caching allocator"),
    ("stands in", "is in"),
    ("unit_name", "isa"),
    ("voided", "poisoned"),
    ("way back", "backward pass"),
    ("widened", "upcast"),
];

/// Files of words that notes and MIMIC's tables use, such as "emergency room".
const PERMITTED: &[&str] = &["crates/clinical/src/synth/filler.rs", "crates/clinical/src/synth/tables.rs"];

/// Checks names and words, but for what is permitted.
pub fn check(root: &Path, packages: &[Package]) -> Result<Vec<Violation>, String> {
    let mut found = homonyms(packages)?;
    for (path, text) in tracked(root)? {
        if !PERMITTED.iter().any(|permitted| path.starts_with(permitted)) {
            found.extend(old(&text).map(|what| format!("{path}: {what}")));
        }
    }
    Ok(found)
}

/// Permissions that are not needed any more.
pub fn stale(root: &Path) -> Result<Vec<&'static str>, String> {
    let files = tracked(root)?;
    let needed = |path: &str| files.iter().any(|(file, text)| file.starts_with(path) && old(text).next().is_some());
    Ok(PERMITTED.iter().copied().filter(|path| !needed(path)).collect())
}

/// Code, documents and settings under version control, but for this file.
fn tracked(root: &Path) -> Result<Vec<(String, String)>, String> {
    let listed = Command::new("git").arg("-C").arg(root).args(["ls-files", "*.rs", "*.md", "*.toml"]).output();
    let listed = listed.map_err(|e| format!("cannot run git ls-files: {e}"))?;
    let paths = String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect::<Vec<_>>();
    let others = paths.into_iter().filter(|path| path != "xtask/tidy/src/words.rs" && root.join(path).is_file());
    others.map(|path| Ok((path.clone(), read(&root.join(path))?))).collect()
}

/// Each old word in a text, once.
fn old(text: &str) -> impl Iterator<Item = String> {
    let text = text.to_lowercase();
    let apart = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    OLD.iter().filter_map(move |(word, better)| {
        let line = text.match_indices(word).find_map(|(at, _)| {
            let (before, after) = (&text[..at], &text[at + word.len()..]);
            let whole = apart(before.chars().next_back()) && apart(after.chars().next());
            whole.then(|| before.lines().count().max(1))
        });
        line.map(|line| format!("line {line}: `{word}`: say {better}"))
    })
}

/// Public type names of more than two crates.
fn homonyms(packages: &[Package]) -> Result<Vec<Violation>, String> {
    let mut names: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for package in packages.iter().filter(|package| package.manifest.iter().any(|part| part == "crates")) {
        for path in rust_files(&package.manifest.with_file_name("src"))? {
            for name in public_types(&read(&path)?)? {
                names.entry(name).or_default().insert(short_name(&package.name));
            }
        }
    }
    let many = names.iter().filter(|(name, crates)| crates.len() > 2 && !EVERYWHERE.contains(&name.as_str()));
    Ok(many
        .map(|(name, crates)| format!("the public type `{name}` is in {} crates: {crates:?}", crates.len()))
        .collect())
}

fn public_types(text: &str) -> Result<Vec<String>, String> {
    let file = syn::parse_file(text).map_err(|e| format!("cannot parse a file: {e}"))?;
    let types =
        file.items.iter().filter(|i| matches!(i, Item::Enum(_) | Item::Struct(_) | Item::Trait(_) | Item::Type(_)));
    Ok(types.map(Head::of).filter(|head| head.public).filter_map(|head| head.name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_word_is_found_with_its_line() {
        let found: Vec<String> = old("a\n// The Optimiser's room\n").collect();
        assert_eq!(found, ["line 2: `optimiser`: say optimizer", "line 2: `room`: say module, layer"]);
        assert_eq!(old("headroom, roommates, optimizers").count(), 0);
    }

    #[test]
    fn public_types_are_those_that_other_crates_see() {
        let text = "pub struct A; pub(crate) enum B {} trait C {} pub type D = A; mod m { pub struct E; }";
        assert_eq!(public_types(text).unwrap(), ["A", "D"]);
    }
}
