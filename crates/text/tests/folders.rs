//! Tokenizers of model folders give the ids of the programs that they come from.

#![allow(clippy::unwrap_used, reason = "tests")]

use clinpeft_text::{Error, Special, Specials, Tokenizer, Truncation};
use proptest::prelude::*;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Texts with the ids that `tests/python/hub_folders.py` recorded.
fn recorded(folder: &Path) -> Vec<(String, Vec<u32>)> {
    let rows: Vec<serde_json::Value> = clinpeft_files::read_json(&folder.join("ids.json")).unwrap();
    let row = |row: &serde_json::Value| {
        let ids = row["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
        (row["text"].as_str().unwrap().to_string(), ids)
    };
    rows.iter().map(row).collect()
}

#[test]
fn vocab_txt_gives_the_ids_of_transformers() {
    for name in ["bert_uncased", "bert_cased", "bert_accents"] {
        let folder = fixture(name);
        let tokenizer = Tokenizer::open(&folder).unwrap();
        for (text, ids) in recorded(&folder) {
            assert_eq!(tokenizer.encode(&text, Specials::ClsSep).unwrap(), ids, "{name}: {text:?}");
        }
    }
}

#[test]
fn tokenizer_model_gives_the_ids_of_sentencepiece() {
    let folder = fixture("llama");
    let tokenizer = Tokenizer::open(&folder).unwrap();
    let rows = recorded(&folder);
    assert!(rows.len() > 200);
    for (text, ids) in rows {
        assert_eq!(tokenizer.encode(&text, Specials::None).unwrap(), ids, "{text:?}");
        // The mark for a space is the one character that comes back as another.
        if !text.contains('▁') {
            assert_eq!(tokenizer.decode(&ids).unwrap(), text);
        }
    }
    for (special, id) in [(Special::Unknown, 0), (Special::Begin, 1), (Special::End, 2)] {
        assert_eq!(tokenizer.special(special).unwrap(), id);
    }
}

#[test]
fn a_converted_tokenizer_saved_as_json_gives_the_same_ids() {
    let dir = tempfile::tempdir().unwrap();
    for (name, specials) in [("bert_cased", Specials::ClsSep), ("llama", Specials::None)] {
        let converted = Tokenizer::open(&fixture(name)).unwrap();
        converted.save(&dir.path().join("tokenizer.json")).unwrap();
        let loaded = Tokenizer::open(dir.path()).unwrap();
        assert_eq!(loaded.hash(), converted.hash());
        for (text, ids) in recorded(&fixture(name)) {
            assert_eq!(loaded.encode(&text, specials).unwrap(), ids);
        }
    }
}

#[test]
fn a_note_cannot_spell_a_special_token_of_a_folder() {
    let llama = Tokenizer::open(&fixture("llama")).unwrap();
    assert!(llama.encode("<unk><s></s> <0x0A>", Specials::None).unwrap().iter().all(|id| *id > 2 && *id != 3 + 10));
    let bert = Tokenizer::open(&fixture("bert_cased")).unwrap();
    let class = bert.special(Special::Class).unwrap();
    assert!(!bert.encode("[CLS] [SEP]", Specials::None).unwrap().contains(&class));
}

#[test]
fn folders_without_a_tokenizer_and_files_that_are_none_give_hints() {
    let dir = tempfile::tempdir().unwrap();
    let said = || Tokenizer::open(dir.path()).unwrap_err().to_string();
    assert!(said().contains("looked for tokenizer.json, tokenizer.model and vocab.txt\nhint: "));
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 499723\n";
    for (name, content, what) in [
        ("vocab.txt", "a\nb\n".as_bytes(), "it has no line `[UNK]`"),
        ("vocab.txt", b"\xff\xfe", "it is not UTF-8"),
        ("vocab.txt", b"[UNK]\nb\x1b\na\nb\x1b\n", "lines 2 and 4 are both `b\\u{1b}`"),
        ("tokenizer.model", &std::fs::read(fixture("unigram.model")).unwrap(), "it is a unigram model"),
        ("tokenizer.model", b"<html>no such page</html>", "it is damaged"),
        ("tokenizer.model", pointer.as_bytes(), "a Git LFS pointer"),
        ("tokenizer.json", pointer.as_bytes(), "a Git LFS pointer"),
    ] {
        std::fs::write(dir.path().join(name), content).unwrap();
        let message = said();
        assert!(message.contains(what) && message.contains("\nhint: ") && message.contains(name), "{message}");
    }
}

/// A `tokenizer.json` of three letters with other parts.
fn foreign(change: impl Fn(&mut serde_json::Value)) -> Result<Tokenizer, Error> {
    let mut json = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "model": {"type": "BPE", "vocab": {"<unk>": 0, "a": 1, "b": 2, "aa": 3}, "merges": [["a", "a"]], "unk_token": "<unk>"},
    });
    change(&mut json);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("tokenizer.json"), json.to_string()).unwrap();
    Tokenizer::open(dir.path())
}

#[test]
fn a_tokenizer_that_makes_the_library_panic_is_an_error() {
    // A table of characters that is cut short.
    let table = serde_json::json!({"type": "Precompiled", "precompiled_charsmap": "ALQCAACEAAAAAACAAQAAgMz8AgC4BQAAhyIAgMzkAgC4PQAA"});
    match foreign(|json| json["normalizer"] = table.clone()) {
        Err(error) => assert!(error.to_string().contains("the library panics"), "{error}"),
        Ok(tokenizer) => assert!(matches!(tokenizer.encode("ab", Specials::None), Err(Error::Encode { row: 0 }))),
    }
    let chunks = serde_json::json!({"type": "FixedLength", "length": 0});
    let tokenizer = foreign(|json| json["pre_tokenizer"] = chunks.clone()).unwrap();
    let error = tokenizer.encode("ab", Specials::None).unwrap_err().to_string();
    assert!(error.contains("text 0 could not be encoded") && error.contains("\nhint: "), "{error}");
}

#[test]
fn a_tokenizer_that_grows_texts_without_end_is_refused() {
    let long = "x".repeat(1 << 20);
    let prepend = serde_json::json!({"type": "Prepend", "prepend": long});
    let split = serde_json::json!({"type": "Split", "pattern": {"Regex": "(a+)+(?=b)|."}, "behavior": "Isolated", "invert": false});
    for (part, value) in [("normalizer", &prepend), ("pre_tokenizer", &split)] {
        let error = foreign(|json| json[part] = value.clone()).unwrap_err().to_string();
        assert!(error.contains(&format!("`{part}`")) && error.contains("\nhint: "), "{error}");
    }
    assert!(foreign(|_| ()).unwrap().encode("aab", Specials::None).unwrap() == [3, 2]);
}

#[test]
fn a_text_longer_than_any_note_is_an_error_that_names_it() {
    let tokenizer = Tokenizer::open(&fixture("llama")).unwrap();
    let long = "a".repeat((16 << 20) + 1);
    let mut encoder = clinpeft_text::Encoder::new(&tokenizer, Specials::None, Truncation::None).unwrap();
    let error = encoder.push(&["short", &long]).unwrap_err();
    assert!(
        error.to_string().contains("text 1 has 16777217 bytes") && error.to_string().contains("\nhint: "),
        "{error}"
    );
}

#[test]
fn an_endless_file_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(dir.path().join("tokenizer.model")).unwrap();
    file.set_len((64 << 20) + 1).unwrap();
    let error = Tokenizer::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("longer than 64 MiB") && error.contains("\nhint: "), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_damaged_tokenizer_model_is_an_error_or_a_tokenizer(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        shorter in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = std::fs::read(fixture("llama/tokenizer.model")).unwrap();
        let n = bytes.len();
        for (place, byte) in changes {
            bytes[place.index(n)] = byte;
        }
        if shorter {
            bytes.truncate(cut.index(n));
        }
        std::fs::write(dir.path().join("tokenizer.model"), bytes).unwrap();
        match Tokenizer::open(dir.path()) {
            Ok(tokenizer) => prop_assert!(tokenizer.encode("chest pain 12 🙂", Specials::None).is_ok()),
            Err(error) => prop_assert!(matches!(error, Error::NotATokenizer { .. }), "{}", error),
        }
    }
}
