//! Limits on tokenizers that others made.
//!
//! A `tokenizer.json` is a small program: it may replace text by longer text, search with expressions that backtrack, and reach parts
//! of the library that panic. What no published tokenizer needs is refused before it is used; a panic of the library is caught.

use std::cell::Cell;
use std::io::Read;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Once;

use clinpeft_files::{at, refuse_pointer};
use serde_json::Value;

use crate::{Error, Result};

/// Bytes of a tokenizer's file: LLaMA 3's has 9 MiB, that of a large multilingual model 32.
const LONGEST_FILE: u64 = 64 << 20;
/// Bytes of one text: 16 MiB.
const LONGEST_TEXT: usize = 16 << 20;
/// Bytes of a string in a part that cuts or joins text, and of a special token.
const LONGEST_STRING: usize = 4 << 10;
/// Bytes of a table of characters, in base64: XLM-R's has 300 KiB.
const LONGEST_TABLE: usize = 4 << 20;
/// Pieces of a sequence.
const MOST_PIECES: usize = 64;
/// How deep sequences lie in sequences.
const DEEPEST: usize = 16;
/// How much longer the replacements of a part may make a text.
const MOST_GROWTH: usize = 16;
/// Characters of a word that WordPiece looks up: it tries every part of it; BERT has 100.
const LONGEST_WORD: u64 = 1000;

const PARTS: [&str; 4] = ["normalizer", "pre_tokenizer", "post_processor", "decoder"];

/// A whole file that is neither endless nor a Git LFS pointer.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(at("read", path))?;
    file.take(LONGEST_FILE + 1).read_to_end(&mut bytes).map_err(at("read", path))?;
    refuse_pointer(path, &bytes)?;
    if bytes.len() as u64 > LONGEST_FILE {
        return Err(Error::NotATokenizer { path: path.into(), why: "it is longer than 64 MiB".into() });
    }
    Ok(bytes)
}

/// The same as text.
pub(super) fn read_text(path: &Path) -> Result<String> {
    let why = || Error::NotATokenizer { path: path.into(), why: "it is not UTF-8".into() };
    String::from_utf8(read(path)?).map_err(|_| why())
}

/// Errors if a text is longer than any note.
pub(super) fn check_text(text: &str, row: usize) -> Result<()> {
    match text.len() > LONGEST_TEXT {
        true => Err(Error::LongText { row, bytes: text.len() }),
        false => Ok(()),
    }
}

/// Errors if a `tokenizer.json` asks for more than published ones do.
pub(super) fn check(json: &str) -> Result<(), String> {
    let file: Value = serde_json::from_str(json).map_err(|e| e.to_string())?;
    for part in PARTS {
        let within = |why| format!("`{part}`: {why}");
        let value = file.get(part).unwrap_or(&Value::Null);
        check_part(value, 0).map_err(within)?;
        if growth(value) > MOST_GROWTH {
            return Err(within(format!("its replacements make a text more than {MOST_GROWTH} times as long")));
        }
    }
    for token in file.get("added_tokens").and_then(Value::as_array).into_iter().flatten() {
        check_string(token.get("content")).map_err(|why| format!("`added_tokens`: {why}"))?;
    }
    let model = file.get("model").unwrap_or(&Value::Null);
    for key in ["unk_token", "continuing_subword_prefix", "end_of_word_suffix"] {
        check_string(model.get(key)).map_err(|why| format!("`{key}`: {why}"))?;
    }
    match model.get("max_input_chars_per_word").and_then(Value::as_u64) {
        Some(characters) if characters > LONGEST_WORD => {
            Err(format!("`max_input_chars_per_word` is more than {LONGEST_WORD}"))
        }
        _ => Ok(()),
    }
}

fn check_part(value: &Value, depth: usize) -> Result<(), String> {
    if depth > DEEPEST {
        return Err(format!("nested more than {DEEPEST} deep"));
    }
    match value {
        Value::String(_) => check_string(Some(value)),
        Value::Array(pieces) if pieces.len() > MOST_PIECES => Err(format!("more than {MOST_PIECES} pieces")),
        Value::Array(pieces) => pieces.iter().try_for_each(|piece| check_part(piece, depth + 1)),
        Value::Object(keys) => {
            if let Some(Value::String(pattern)) = keys.get("Regex") {
                check_pattern(pattern)?;
            }
            keys.iter().try_for_each(|(key, value)| match value {
                Value::String(table) if key == "precompiled_charsmap" && table.len() <= LONGEST_TABLE => Ok(()),
                value => check_part(value, depth + 1),
            })
        }
        _ => Ok(()),
    }
}

fn check_string(value: Option<&Value>) -> Result<(), String> {
    match value.and_then(Value::as_str) {
        Some(text) if text.len() > LONGEST_STRING => Err(format!("a string longer than {LONGEST_STRING} bytes")),
        _ => Ok(()),
    }
}

/// How many times longer the replacements of a part can make a text, one after the other.
fn growth(value: &Value) -> usize {
    let product = |values: &mut dyn Iterator<Item = &Value>| values.map(growth).fold(1, usize::saturating_mul);
    match value {
        Value::Array(pieces) => product(&mut pieces.iter()),
        Value::Object(keys) => match (keys.get("content").and_then(Value::as_str), keys.get("pattern")) {
            (Some(content), Some(pattern)) => {
                // An expression may match a single byte, or nothing between any two.
                let least = pattern.get("String").and_then(Value::as_str).map_or(1, str::len).max(1);
                content.len().div_ceil(least).max(1)
            }
            _ => product(&mut keys.values()),
        },
        _ => 1,
    }
}

/// Errors if an expression may try exponentially many ways. What the `regex` crate knows is searched in linear time; beyond that,
/// with look-around and references, a repeated group is what multiplies the ways.
fn check_pattern(pattern: &str) -> Result<(), String> {
    let repeats = || repeats_a_group(pattern) && regex::Regex::new(pattern).is_err();
    match repeats() {
        true => Err("an expression that repeats a group and looks around, whose search may not end".into()),
        false => Ok(()),
    }
}

fn repeats_a_group(pattern: &str) -> bool {
    let (mut class, mut closed) = (0_u32, false);
    let mut characters = pattern.chars();
    while let Some(c) = characters.next() {
        let after_group = std::mem::replace(&mut closed, false);
        match c {
            '\\' => drop(characters.next()),
            '[' => class += 1,
            ']' => class = class.saturating_sub(1),
            ')' if class == 0 => closed = true,
            '*' | '+' | '{' if after_group => return true,
            _ => {}
        }
    }
    false
}

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// What the library returns; `None` if it panics. Nothing is printed then: the message might hold text of a note.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                before(info);
            }
        }));
    });
    let outer = GUARDED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    result.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(part: &str, value: Value) -> String {
        check(&json!({ part: value }).to_string()).unwrap_err()
    }

    #[test]
    fn what_no_published_tokenizer_needs_is_refused_by_name() {
        let long = "x".repeat(LONGEST_STRING + 1);
        let replace = |pattern: &str, content: &str| json!({"type": "Replace", "pattern": {"String": pattern}, "content": content});
        let mut nested = json!({"type": "Lowercase"});
        for _ in 0..20 {
            nested = json!({"type": "Sequence", "normalizers": [nested]});
        }
        for (part, value, what) in [
            ("normalizer", json!({"type": "Prepend", "prepend": long}), "`normalizer`: a string longer than 4096"),
            ("decoder", replace(" ", &long), "`decoder`: a string longer than 4096"),
            ("post_processor", json!({"single": [{"SpecialToken": {"id": long}}]}), "`post_processor`: a string"),
            ("normalizer", nested, "nested more than 16 deep"),
            ("pre_tokenizer", json!({"pretokenizers": vec![0; 65]}), "more than 64 pieces"),
            ("normalizer", json!({"normalizers": vec![replace("a", "aa"); 64]}), "more than 16 times as long"),
            ("normalizer", replace("a", "0123456789abcdefg"), "more than 16 times as long"),
            ("added_tokens", json!([{"content": long}]), "`added_tokens`: a string"),
            ("model", json!({"continuing_subword_prefix": long}), "`continuing_subword_prefix`: a string"),
            ("model", json!({"max_input_chars_per_word": 1001}), "more than 1000"),
            ("pre_tokenizer", json!({"pattern": {"Regex": "(a+)+(?=b)"}}), "may not end"),
        ] {
            let said = refused(part, value);
            assert!(said.contains(what), "{said}");
        }
    }

    #[test]
    fn expressions_of_published_tokenizers_pass() {
        for pattern in [
            r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{M}]*[\p{Ll}\p{M}]+(?i:'s|'t)?|\s+(?!\S)",
            r"(a+)+b",
            r"[()]+(?=\))|\)+(?!x)",
        ] {
            check_pattern(pattern).unwrap();
        }
    }

    #[test]
    fn a_panic_is_caught_and_one_elsewhere_still_is_one() {
        assert_eq!(caught(|| 7), Some(7));
        assert_eq!(caught(|| -> u8 { panic!("secret") }), None);
        assert!(!GUARDED.get());
        assert_eq!(caught(|| caught(|| -> u8 { panic!("secret") })), Some(None));
    }
}
