//! `tokenizer.json` around a vocabulary: how text is cut into words before, and joined after.

use serde_json::{Map, Value, json};

use serde::{Deserialize, Serialize};

/// How a trained tokenizer cuts text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenizerKind {
    /// Byte-pair encoding over bytes (GPT-2). `<unk>` 0, `<s>` 1, `</s>` 2.
    ByteLevel,
    /// Byte-pair encoding over characters, bytes for rare ones (LLaMA). `<unk>` 0, `<s>` 1, `</s>` 2, bytes from 3.
    ByteFallback,
    /// Lower-case WordPiece (BERT). `[PAD]` 0, `[UNK]` 1, `[CLS]` 2, `[SEP]` 3, `[MASK]` 4.
    WordPiece,
}

/// What training found, or a file held: tokens by id, and the merges in order (none for WordPiece, which matches greedily).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Vocabulary {
    pub tokens: Vec<String>,
    pub merges: Vec<(String, String)>,
}

/// Special tokens by id.
pub(super) fn specials(kind: TokenizerKind) -> &'static [&'static str] {
    match kind {
        TokenizerKind::ByteLevel | TokenizerKind::ByteFallback => &["<unk>", "<s>", "</s>"],
        TokenizerKind::WordPiece => &["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    }
}

/// Normaliser, pre-tokeniser, decoder.
type Cutting = (Value, Value, Value);

/// How BERT cuts a text.
pub(super) struct Words {
    pub lower: bool,
    /// As `lower` if `None`.
    pub strip_accents: Option<bool>,
    pub chinese: bool,
}

/// The `tokenizer.json` of a trained vocabulary.
pub(super) fn json(kind: TokenizerKind, vocabulary: &Vocabulary) -> Value {
    let cutting = match kind {
        TokenizerKind::ByteLevel => byte_level(),
        TokenizerKind::ByteFallback => byte_fallback(),
        TokenizerKind::WordPiece => words(&Words { lower: true, strip_accents: None, chinese: true }),
    };
    let special: Vec<(&str, usize)> = specials(kind).iter().enumerate().map(|(id, token)| (*token, id)).collect();
    whole(cutting, &special, model(kind, vocabulary))
}

/// The `tokenizer.json` of a `vocab.txt` with these special tokens.
pub(super) fn word_piece(special: &[(&str, usize)], vocabulary: &Vocabulary, cutting: &Words) -> Value {
    whole(words(cutting), special, model(TokenizerKind::WordPiece, vocabulary))
}

/// The `tokenizer.json` of a `tokenizer.model` with these special tokens: merges may cross words.
pub(super) fn sentence_piece(special: &[(&str, usize)], vocabulary: &Vocabulary) -> Value {
    let (normalizer, _, decoder) = byte_fallback();
    whole((normalizer, Value::Null, decoder), special, model(TokenizerKind::ByteFallback, vocabulary))
}

fn whole((normalizer, pre_tokenizer, decoder): Cutting, special: &[(&str, usize)], model: Value) -> Value {
    let added: Vec<Value> = special
        .iter()
        .map(|(content, id)| {
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
        "model": model,
    })
}

fn model(kind: TokenizerKind, vocabulary: &Vocabulary) -> Value {
    let ids: Map<String, Value> =
        vocabulary.tokens.iter().enumerate().map(|(id, token)| (token.clone(), id.into())).collect();
    match kind {
        TokenizerKind::ByteLevel | TokenizerKind::ByteFallback => json!({
            "type": "BPE", "dropout": null, "unk_token": "<unk>",
            "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "fuse_unk": true, "byte_fallback": kind == TokenizerKind::ByteFallback, "ignore_merges": false,
            "vocab": ids, "merges": vocabulary.merges,
        }),
        TokenizerKind::WordPiece => json!({
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": ids,
        }),
    }
}

/// Digits one by one, then GPT-2's words over bytes: every UTF-8 text comes back as it was.
fn byte_level() -> Cutting {
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
fn byte_fallback() -> Cutting {
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

/// BERT's words: white space, punctuation and Chinese characters end them.
fn words(how: &Words) -> Cutting {
    (
        json!({
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": how.chinese,
            "strip_accents": how.strip_accents, "lowercase": how.lower,
        }),
        json!({ "type": "BertPreTokenizer" }),
        json!({ "type": "WordPiece", "prefix": "##", "cleanup": true }),
    )
}
