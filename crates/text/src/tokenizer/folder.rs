//! The tokenizer of a model folder, in whichever form it is there.

use std::collections::HashMap;
use std::path::Path;

use clinpeft_files::read_json;
use serde::Deserialize;

use super::recipe::{self, Vocabulary, Words};
use super::{Tokenizer, TokenizerKind, guard, sentence_piece};
use crate::error::shown;
use crate::{Error, Result};

type Reader = fn(&Path) -> Result<Tokenizer>;

impl Tokenizer {
    /// The tokenizer of a model folder: `tokenizer.json`, else `tokenizer.model` (SentencePiece, as LLaMA has), else
    /// `vocab.txt` (WordPiece, as BERT has).
    ///
    /// The ids are those of transformers' `AutoTokenizer`, apart from special tokens that a text spells. Errors say what
    /// was looked for.
    pub fn open(dir: &Path) -> Result<Self> {
        let readers: [(&str, Reader); 3] =
            [("tokenizer.json", Self::load), ("tokenizer.model", sentence_piece::load), ("vocab.txt", word_piece)];
        for (name, read) in readers {
            let path = dir.join(name);
            if path.is_file() {
                return read(&path);
            }
        }
        Err(Error::NoTokenizer { path: dir.into() })
    }
}

/// The keys of `tokenizer_config.json` that change how BERT cuts a text, and what `BertTokenizer` takes without them.
#[derive(Deserialize)]
struct Settings {
    #[serde(default = "yes")]
    do_lower_case: bool,
    /// As `do_lower_case` if absent.
    #[serde(default)]
    strip_accents: Option<bool>,
    #[serde(default = "yes")]
    tokenize_chinese_chars: bool,
}

fn yes() -> bool {
    true
}

/// A `vocab.txt`, one token a line, with the settings beside it.
fn word_piece(path: &Path) -> Result<Tokenizer> {
    let settings = path.with_file_name("tokenizer_config.json");
    let settings: Settings = if settings.is_file() {
        read_json(&settings)?
    } else {
        serde_json::from_str("{}").expect("every key has a default")
    };
    let wrong = |why: &str| Error::NotATokenizer { path: path.into(), why: why.into() };
    let tokens: Vec<String> = guard::read_text(path)?.lines().map(str::to_owned).collect();
    let mut lines = HashMap::new();
    for (line, token) in tokens.iter().enumerate() {
        // A model has a row of weights for each line; which one is meant is not known.
        if let Some(first) = lines.insert(token.as_str(), line) {
            return Err(wrong(&format!("lines {} and {} are both `{}`", first + 1, line + 1, shown(token))));
        }
    }
    let find = |token: &str| lines.get(token).copied();
    if let Some(lacks) = ["[UNK]", "[CLS]", "[SEP]"].iter().find(|token| find(token).is_none()) {
        return Err(wrong(&format!("it has no line `{lacks}`")));
    }
    let special = recipe::specials(TokenizerKind::WordPiece).iter().filter_map(|t| Some((*t, find(t)?)));
    let special: Vec<(&str, usize)> = special.collect();
    let words = Words {
        lower: settings.do_lower_case,
        strip_accents: settings.strip_accents,
        chinese: settings.tokenize_chinese_chars,
    };
    let json = recipe::word_piece(&special, &Vocabulary { tokens, merges: vec![] }, &words);
    Tokenizer::from_json(json.to_string()).map_err(|why| wrong(&why))
}
