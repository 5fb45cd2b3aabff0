//! `tokenizer.json` around a trained vocabulary: how text is cut into words before, and joined after.

use serde_json::{Map, Value, json};

use super::train::Kind;

/// What training found: tokens by id, and the merges in order (none for WordPiece, which matches greedily).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Vocabulary {
    pub tokens: Vec<String>,
    pub merges: Vec<(String, String)>,
}

/// Special tokens by id.
pub(super) fn specials(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::ByteLevel | Kind::ByteFallback => &["<unk>", "<s>", "</s>"],
        Kind::WordPiece => &["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    }
}

/// The whole `tokenizer.json`.
pub(super) fn json(kind: Kind, vocabulary: &Vocabulary) -> Value {
    let (normalizer, pre_tokenizer, decoder) = match kind {
        Kind::ByteLevel => byte_level(),
        Kind::ByteFallback => byte_fallback(),
        Kind::WordPiece => word_piece(),
    };
    let added: Vec<Value> = specials(kind)
        .iter()
        .enumerate()
        .map(|(id, content)| {
            json!({
                "id": id, "content": content, "special": true, "normalized": false,
                "single_word": false, "lstrip": false, "rstrip": false,
            })
        })
        .collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "post_processor": null,
        "added_tokens": added,
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "decoder": decoder,
        "model": model(kind, vocabulary),
    })
}

fn model(kind: Kind, vocabulary: &Vocabulary) -> Value {
    let ids: Map<String, Value> =
        vocabulary.tokens.iter().enumerate().map(|(id, token)| (token.clone(), id.into())).collect();
    match kind {
        Kind::ByteLevel | Kind::ByteFallback => json!({
            "type": "BPE", "dropout": null, "unk_token": "<unk>",
            "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "fuse_unk": true, "byte_fallback": kind == Kind::ByteFallback, "ignore_merges": false,
            "vocab": ids, "merges": vocabulary.merges,
        }),
        Kind::WordPiece => json!({
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": ids,
        }),
    }
}

/// Digits one by one, then GPT-2's words over bytes: every UTF-8 text comes back as it was.
fn byte_level() -> (Value, Value, Value) {
    let bytes = |use_regex: bool| json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex });
    (
        Value::Null,
        json!({ "type": "Sequence", "pretokenizers": [
            { "type": "Digits", "individual_digits": true }, bytes(true),
        ]}),
        bytes(true),
    )
}

/// LLaMA's marks for spaces and bytes; words with the space before them, digits one by one, line ends apart.
fn byte_fallback() -> (Value, Value, Value) {
    let words = r"▁?\p{L}+|\p{N}|▁?[^▁\p{L}\p{N}\s]+|▁+(?=▁)|▁|\s+";
    (
        json!({ "type": "Sequence", "normalizers": [
            { "type": "Prepend", "prepend": "▁" },
            { "type": "Replace", "pattern": { "String": " " }, "content": "▁" },
        ]}),
        json!({ "type": "Split", "pattern": { "Regex": words }, "behavior": "Isolated", "invert": false }),
        json!({ "type": "Sequence", "decoders": [
            { "type": "Replace", "pattern": { "String": "▁" }, "content": " " },
            { "type": "ByteFallback" },
            { "type": "Fuse" },
            { "type": "Strip", "content": " ", "start": 1, "stop": 0 },
        ]}),
    )
}

/// BERT, lower case.
fn word_piece() -> (Value, Value, Value) {
    (
        json!({
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true,
        }),
        json!({ "type": "BertPreTokenizer" }),
        json!({ "type": "WordPiece", "prefix": "##", "cleanup": true }),
    )
}
