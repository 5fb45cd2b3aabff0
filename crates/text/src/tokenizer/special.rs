use serde::{Deserialize, Serialize};

/// A part that a special token plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// Stands for what the vocabulary lacks.
    Unknown,
    /// Begins a text (BOS).
    Begin,
    /// Ends a text (EOS).
    End,
    /// Begins a text of a BERT; its state is pooled.
    Class,
    /// Ends a text of a BERT.
    Separator,
    /// Stands for a token to predict.
    Mask,
}

impl Special {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Begin => "beginning-of-text",
            Self::End => "end-of-text",
            Self::Class => "class",
            Self::Separator => "separator",
            Self::Mask => "mask",
        }
    }

    pub(crate) fn spellings(self) -> &'static [&'static str] {
        match self {
            Self::Unknown => &["<unk>", "[UNK]"],
            Self::Begin => &["<s>", "<|begin_of_text|>"],
            Self::End => &["</s>", "<|end_of_text|>", "<|endoftext|>"],
            Self::Class => &["[CLS]"],
            Self::Separator => &["[SEP]"],
            Self::Mask => &["[MASK]"],
        }
    }
}

/// Which special tokens surround a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Specials {
    /// None.
    None,
    /// A beginning token: what LLaMA was trained with, and what the paper does.
    Bos,
    /// A beginning and an end token.
    BosEos,
    /// `[CLS] text [SEP]`: BERT.
    ClsSep,
}

impl Specials {
    /// What stands before a text.
    pub fn leading(self) -> Option<Special> {
        match self {
            Self::None => None,
            Self::Bos | Self::BosEos => Some(Special::Begin),
            Self::ClsSep => Some(Special::Class),
        }
    }

    /// What stands after a text.
    pub fn trailing(self) -> Option<Special> {
        match self {
            Self::None | Self::Bos => None,
            Self::BosEos => Some(Special::End),
            Self::ClsSep => Some(Special::Separator),
        }
    }
}
