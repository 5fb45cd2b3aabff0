use std::path::{Path, PathBuf};

fn named(path: &Path) -> String {
    shown(&path.display().to_string())
}

/// What can go wrong on the way from text to batches. No message contains text of a note.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] clinpeft_files::Error),
    /// A file is not a usable tokenizer.
    #[error(
        "`{}` is not a tokenizer that can be read: {why}\nhint: take the `tokenizer.json` that Hugging Face's `save_pretrained` writes",
        named(path)
    )]
    NotATokenizer {
        /// Which file.
        path: PathBuf,
        /// What the reader of the format says.
        why: String,
    },
    /// A folder without a tokenizer.
    #[error(
        "`{}` holds no tokenizer; looked for tokenizer.json, tokenizer.model and vocab.txt\nhint: copy the one that was published with the model into this folder",
        named(path)
    )]
    NoTokenizer {
        /// Which folder.
        path: PathBuf,
    },
    /// A tokenizer lacks a special token that was asked for.
    #[error(
        "the tokenizer has no {special} token (looked for {looked_for})\nhint: choose other special tokens for this model, or check that this is its tokenizer"
    )]
    MissingSpecial {
        /// The part that the token plays.
        special: &'static str,
        /// The spellings that were tried.
        looked_for: String,
    },
    /// A text that is longer than any note.
    #[error(
        "text {row} has {bytes} bytes; at most 16 MiB are encoded\nhint: split it, or check the file it comes from"
    )]
    LongText {
        /// Position of the text in what was to be encoded.
        row: usize,
        /// Its length.
        bytes: usize,
    },
    /// The tokenizer library refused a text.
    #[error(
        "text {row} could not be encoded by this tokenizer (its content is not shown)\nhint: the tokenizer may lack an unknown token"
    )]
    Encode {
        /// Position of the text in what was to be encoded.
        row: usize,
    },
    /// The tokenizer library refused token ids.
    #[error("{count} token ids could not be decoded by this tokenizer")]
    Decode {
        /// How many ids were given.
        count: usize,
    },
    /// A vocabulary size that does not hold the special tokens and the alphabet.
    #[error(
        "a vocabulary of {asked} tokens is too small: special tokens and alphabet alone take {needed}\nhint: ask for at least {needed} tokens"
    )]
    SmallVocabulary {
        /// The size that was asked for.
        asked: usize,
        /// The smallest possible size.
        needed: usize,
    },
    /// The trained tokenizer was not accepted by the tokenizer library.
    #[error("the trained tokenizer is not valid: {why}")]
    Training {
        /// What the library says.
        why: String,
    },
    /// A truncation that leaves no space for text.
    #[error("{policy} leaves no space for text beside {specials} special tokens\nhint: raise its length")]
    NoRoom {
        /// The policy.
        policy: String,
        /// How many special tokens each sequence carries.
        specials: usize,
    },
    /// A chunk, batch or pool size that can hold nothing.
    #[error("{what} is {value}, must be at least {minimum}")]
    TooSmall {
        /// Which size.
        what: &'static str,
        /// Its value.
        value: usize,
        /// The smallest value that works.
        minimum: usize,
    },
    /// A row outside the data set.
    #[error("row {row} is outside the data set of {rows} sequences")]
    NoSuchRow {
        /// The row that was asked for.
        row: usize,
        /// How many there are.
        rows: usize,
    },
    /// A sequence without a single token cannot be part of a batch.
    #[error("sequence {row} has no tokens\nhint: drop empty texts, or add a beginning token")]
    EmptySequence {
        /// Which sequence.
        row: usize,
    },
    /// A batch with more tokens than its offsets can count.
    #[error("a batch of {tokens} tokens is too large\nhint: lower the batch size")]
    LargeBatch {
        /// How many tokens it would have.
        tokens: usize,
    },
    /// Parts that do not fit together.
    #[error("{what}: expected {expected}, found {found}")]
    Mismatch {
        /// What was compared.
        what: &'static str,
        /// The value that would fit.
        expected: usize,
        /// The value that was found.
        found: usize,
    },
    /// Offsets that do not cut their ids into sequences.
    #[error("offsets must start at 0, never fall and end at the number of ids; entry {entry} does not")]
    Offsets {
        /// The first entry that is wrong.
        entry: usize,
    },
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a message may show of a foreign string: no control characters, and not all of a long one.
pub(crate) fn shown(text: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_debug().to_string() } else { c.to_string() };
    let all: String = text.chars().take(300).map(escape).collect();
    if text.chars().nth(300).is_some() { all + "..." } else { all }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_show_no_control_characters() {
        assert_eq!(shown("a\u{1b}[31m\n\u{e9}"), "a\\u{1b}[31m\\n\u{e9}");
        assert_eq!(shown(&"x".repeat(400)).len(), 303);
    }
}
