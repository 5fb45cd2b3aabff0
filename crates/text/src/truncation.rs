use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What is kept of a text that is too long. Lengths count the special tokens, which are always kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "policy", rename_all = "snake_case", deny_unknown_fields)]
pub enum Truncation {
    /// Everything.
    None,
    /// The beginning, as in the published code.
    First {
        /// Most tokens of a sequence.
        length: usize,
    },
    /// The end.
    Last {
        /// Most tokens of a sequence.
        length: usize,
    },
    /// Both ends (Sun et al. 2019, "How to fine-tune BERT for text classification?").
    HeadTail {
        /// Tokens from the beginning, leading special token included.
        head: usize,
        /// Tokens from the end, trailing special token included.
        tail: usize,
    },
}

impl Truncation {
    /// Most tokens that a sequence can have.
    pub fn length(self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::First { length } | Self::Last { length } => Some(length),
            Self::HeadTail { head, tail } => Some(head.saturating_add(tail)),
        }
    }

    /// How many tokens of a text of `body` tokens are kept from its beginning and from its end, beside `leading` and
    /// `trailing` special tokens.
    pub(crate) fn keep(self, body: usize, leading: usize, trailing: usize) -> (usize, usize) {
        let Some(length) = self.length() else {
            return (body, 0);
        };
        let space = length.saturating_sub(leading + trailing);
        if body <= space {
            return (body, 0);
        }
        match self {
            Self::None => (body, 0),
            Self::First { .. } => (space, 0),
            Self::Last { .. } => (0, space),
            Self::HeadTail { head, tail } => (head - leading, tail - trailing),
        }
    }

    /// An error if special tokens would fill the sequence.
    pub(crate) fn check(self, leading: usize, trailing: usize) -> Result<()> {
        let fits = match self {
            Self::None => true,
            Self::First { length } | Self::Last { length } => length > leading + trailing,
            Self::HeadTail { head, tail } => {
                head >= leading && tail >= trailing && head.saturating_add(tail) > leading + trailing
            }
        };
        if fits {
            return Ok(());
        }
        Err(Error::NoRoom { policy: format!("{self:?}"), specials: leading + trailing })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChunkStart, Packing, Specials};

    #[test]
    fn policies_read_as_they_are_written_in_a_manifest() {
        let first: Truncation = serde_json::from_str(r#"{ "policy": "first", "length": 512 }"#).unwrap();
        assert_eq!(first, Truncation::First { length: 512 });
        let none: Truncation = serde_json::from_str(r#"{ "policy": "none" }"#).unwrap();
        assert_eq!(none, Truncation::None);
        let both = Truncation::HeadTail { head: 128, tail: 384 };
        let text = serde_json::to_string(&both).unwrap();
        assert_eq!(text, r#"{"policy":"head_tail","head":128,"tail":384}"#);
        let packing = r#"{ "policy": "documents", "chunk_start": "repeat_first" }"#;
        let expected = Packing::Documents { chunk_start: ChunkStart::RepeatFirst };
        assert_eq!(serde_json::from_str::<Packing>(packing).unwrap(), expected);
        assert_eq!(serde_json::to_string(&Specials::ClsSep).unwrap(), r#""cls_sep""#);
    }

    #[test]
    fn unknown_policies_and_keys_are_refused() {
        for bad in [
            r#"{ "policy": "middle", "length": 5 }"#,
            r#"{ "policy": "first" }"#,
            r#"{ "policy": "first", "length": -1 }"#,
            r#"{ "policy": "first", "length": 5, "extra": 1 }"#,
        ] {
            assert!(serde_json::from_str::<Truncation>(bad).is_err(), "{bad}");
        }
    }
}
