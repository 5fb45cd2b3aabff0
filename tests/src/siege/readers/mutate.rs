//! Mutations that know the form of a file a little, so that most of them get past its first check.

use crate::siege::draw::Draw;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde_json::Value;
use std::io::{Read, Write};

/// Texts that stand in place of a number or a word.
const WORDS: [&str; 26] = [
    "0",
    "-1",
    "1",
    "255",
    "65536",
    "2147483648",
    "4294967295",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
    "-1e308",
    "1e-320",
    "1e999",
    "NaN",
    "inf",
    "",
    "null",
    "true",
    "[]",
    "{}",
    "\"",
    "\u{0}",
    "\u{feff}",
    "2101-13-40 99:00:00",
    "../../../etc/passwd",
];

/// Numbers as JSON writes them.
const NUMBERS: [&str; 15] = [
    "0",
    "1",
    "-1",
    "3",
    "255",
    "65536",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "1000000000000000000",
    "4611686018427387904",
    "1e308",
    "-0.0",
    "1e-320",
    "0.5",
];

/// Values of a field of four or eight bytes.
const FIELDS: [u64; 12] = [0, 1, 7, 8, 127, 255, 65_535, 1 << 31, u32::MAX as u64, 1 << 40, i64::MAX as u64, u64::MAX];

/// `bytes` of the file `name`, changed once to four times; `other` is spliced in where a mutation asks for it.
pub fn mutate(name: &str, bytes: &[u8], other: &[u8], draw: &mut Draw) -> Vec<u8> {
    if let Some(plain) = name.strip_suffix(".gz").filter(|_| !draw.one_in(4)) {
        let mut text = Vec::new();
        if MultiGzDecoder::new(bytes).read_to_end(&mut text).is_ok() {
            return packed(&mutate(plain, &text, other, draw));
        }
    }
    let mut changed = bytes.to_vec();
    for _ in 0..=draw.below(4) {
        let ending = name.rsplit('.').next().unwrap_or_default();
        changed = match ending {
            _ if draw.one_in(3) => raw(changed, other, draw),
            "csv" => table(&changed, draw),
            "json" => json(&changed, draw).unwrap_or_else(|| lines(&changed, draw)),
            "toml" | "txt" | "jsonl" => lines(&changed, draw),
            "safetensors" => safetensors(&changed, draw).unwrap_or_else(|| raw(changed, other, draw)),
            _ => raw(changed, other, draw),
        };
    }
    changed
}

fn packed(text: &[u8]) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing into memory does not fail.
    let _ = gz.write_all(text);
    gz.finish().unwrap_or_default()
}

/// Bytes, whatever they mean.
fn raw(mut bytes: Vec<u8>, other: &[u8], draw: &mut Draw) -> Vec<u8> {
    if bytes.is_empty() {
        return other.to_vec();
    }
    let at = draw.below(bytes.len());
    let until = at + draw.below((bytes.len() - at).min(64) + 1);
    match draw.below(9) {
        0 => bytes[at] ^= 1 << draw.below(8),
        1 => bytes[at] = *draw.pick(&[0, 1, b'\n', b'"', b',', 0x7f, 0x80, 0xff]),
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..until)),
        4 => {
            let part = bytes[at..until].to_vec();
            bytes.splice(at..at, part);
        }
        5 => {
            let from = draw.below(other.len().max(1)).min(other.len());
            let part = &other[from..other.len().min(from + 1 + draw.below(64))];
            bytes.splice(at..until, part.iter().copied());
        }
        6 => field(&mut bytes, at, 8, draw),
        7 => field(&mut bytes, at, 4, draw),
        // The ends of files hold their directories.
        _ => {
            let near = bytes.len() - 1 - draw.below(bytes.len().min(128));
            field(&mut bytes, near, *draw.clone().pick(&[2, 4, 8]), draw);
        }
    }
    bytes
}

fn field(bytes: &mut [u8], at: usize, width: usize, draw: &mut Draw) {
    let value = if draw.one_in(3) { draw.below(4096) as u64 } else { *draw.pick(&FIELDS) };
    for (to, from) in bytes[at..].iter_mut().zip(value.to_le_bytes()).take(width) {
        *to = from;
    }
}

/// Lines: removed, doubled, exchanged; a number or word in one replaced.
fn lines(bytes: &[u8], draw: &mut Draw) -> Vec<u8> {
    let mut all: Vec<Vec<u8>> = bytes.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    let at = draw.below(all.len());
    match draw.below(6) {
        0 => drop(all.remove(at)),
        1 => all.insert(at, all[at].clone()),
        2 => {
            let other = draw.below(all.len());
            all.swap(at, other);
        }
        _ => all[at] = replaced(&all[at], draw),
    }
    all.join(&b'\n')
}

/// A number, or else a word, of a line replaced.
fn replaced(line: &[u8], draw: &mut Draw) -> Vec<u8> {
    let part = |b: &u8| b.is_ascii_alphanumeric() || *b == b'.' || *b == b'_' || *b >= 0x80;
    let mut words: Vec<(usize, usize)> = Vec::new();
    let mut from = None;
    for (i, b) in line.iter().chain([&b' ']).enumerate() {
        match (part(b), from) {
            (true, None) => from = Some(i),
            (false, Some(start)) => {
                words.push((start, i));
                from = None;
            }
            _ => {}
        }
    }
    let numbers: Vec<(usize, usize)> = words.iter().copied().filter(|(a, _)| line[*a].is_ascii_digit()).collect();
    let choice = if numbers.is_empty() || draw.one_in(3) { &words } else { &numbers };
    let word = draw.word(&WORDS).as_bytes();
    if choice.is_empty() {
        return [line, word].concat();
    }
    let (a, b) = *draw.pick(choice);
    [&line[..a], word, &line[b..]].concat()
}

/// Cells and rows of a table.
fn table(bytes: &[u8], draw: &mut Draw) -> Vec<u8> {
    if draw.one_in(3) {
        return lines(bytes, draw);
    }
    let mut rows: Vec<Vec<Vec<u8>>> =
        bytes.split(|b| *b == b'\n').map(|row| row.split(|b| *b == b',').map(<[u8]>::to_vec).collect()).collect();
    let row = draw.below(rows.len());
    let cell = draw.below(rows[row].len());
    let word = draw.word(&WORDS).as_bytes().to_vec();
    match draw.below(6) {
        0 => drop(rows[row].remove(cell)),
        1 => rows[row].insert(cell, word),
        2 => {
            for row in rows.iter_mut().filter(|row| row.len() > cell) {
                row.remove(cell);
            }
        }
        3 => {
            let other = draw.below(rows.len());
            if let Some(there) = rows[other].get(cell).cloned() {
                rows[row][cell] = there;
            }
        }
        4 => rows[row][cell] = [b"\"", &word[..], b"\""].concat(),
        _ => rows[row][cell] = word,
    }
    rows.into_iter().map(|row| row.join(&b',')).collect::<Vec<_>>().join(&b'\n')
}

/// A value of a tree changed, removed, moved, or put very deep.
fn json(bytes: &[u8], draw: &mut Draw) -> Option<Vec<u8>> {
    if draw.one_in(30) {
        let depth = *draw.pick(&[200, 20_000]);
        return Some([b"[".repeat(depth), b"]".repeat(depth)].concat());
    }
    if draw.one_in(8) {
        return Some(doubled_key(bytes, draw));
    }
    let mut value: Value = serde_json::from_slice(bytes).ok()?;
    let mut all = Vec::new();
    pointers(&value, String::new(), &mut all);
    let pointer = draw.pick(&all);
    let (parent, key) = pointer.rsplit_once('/').unwrap_or(("", ""));
    if let Some(Value::Object(map)) = value.pointer_mut(parent).filter(|_| draw.one_in(6)) {
        let old = map.remove(key);
        if draw.one_in(2) {
            map.insert(format!("{key}x"), old.unwrap_or(Value::Null));
        }
    } else if let Some(there) = value.pointer_mut(pointer) {
        *there = other_value(there, draw);
    }
    serde_json::to_vec(&value).ok()
}

/// Where every value of a tree stands (RFC 6901).
fn pointers(value: &Value, at: String, all: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                pointers(inner, format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), all);
            }
        }
        Value::Array(inner) => inner.iter().enumerate().for_each(|(i, v)| pointers(v, format!("{at}/{i}"), all)),
        _ => {}
    }
    all.push(at);
}

fn doubled_key(bytes: &[u8], draw: &mut Draw) -> Vec<u8> {
    let commas: Vec<usize> = bytes.iter().enumerate().filter(|(_, b)| **b == b',').map(|(i, _)| i).collect();
    if commas.len() < 2 {
        return bytes.to_vec();
    }
    let i = draw.below(commas.len() - 1);
    [&bytes[..commas[i + 1]], &bytes[commas[i]..commas[i + 1]], &bytes[commas[i + 1]..]].concat()
}

fn other_value(old: &Value, draw: &mut Draw) -> Value {
    let number = |draw: &mut Draw| serde_json::from_str(draw.word(&NUMBERS)).unwrap_or(Value::Null);
    match (old, draw.below(8)) {
        (Value::Number(_), 0..=5) => number(draw),
        (Value::Array(all), 0..=2) if !all.is_empty() => {
            let mut all = all.clone();
            let at = draw.below(all.len());
            if draw.one_in(2) {
                drop(all.remove(at))
            } else {
                all.insert(at, all[at].clone())
            }
            Value::Array(all)
        }
        (_, 6) => Value::Array(vec![old.clone(), old.clone()]),
        (_, 7) => Value::Null,
        (_, 5) => number(draw),
        (_, 4) => Value::Bool(draw.one_in(2)),
        (_, 3) => Value::Object(serde_json::Map::new()),
        _ => Value::String(draw.word(&WORDS).into()),
    }
}

/// The header of a safetensors file, with a length that fits it, or one that does not.
fn safetensors(bytes: &[u8], draw: &mut Draw) -> Option<Vec<u8>> {
    let length = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    let length = usize::try_from(length).ok()?;
    let header = bytes.get(8..length.checked_add(8)?)?;
    let data = &bytes[8 + length..];
    let header = if draw.one_in(3) { lines(header, draw) } else { json(header, draw)? };
    let said = if draw.one_in(10) { *draw.pick(&FIELDS) } else { header.len() as u64 };
    Some([&said.to_le_bytes()[..], &header, data].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutations_are_the_same_for_the_same_draw_and_differ_otherwise() {
        let text = br#"{"a": [1, 2, {"b": 3}], "c": "x", "d": null}"#;
        let of = |n| mutate("x.json", text, b"other", &mut Draw::of(1, "t", n));
        assert!((0..200).all(|n| of(n) == of(n)));
        let distinct: std::collections::BTreeSet<Vec<u8>> = (0..200).map(of).collect();
        assert!(distinct.len() > 100, "{}", distinct.len());
        let valid = distinct.iter().filter(|m| serde_json::from_slice::<Value>(m).is_ok()).count();
        assert!(valid > distinct.len() / 3, "{valid}");
    }
}
