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
        let room = length.saturating_sub(leading + trailing);
        if body <= room {
            return (body, 0);
        }
        match self {
            Self::None => (body, 0),
            Self::First { .. } => (room, 0),
            Self::Last { .. } => (0, room),
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
        Err(Error::NoRoom {
            policy: format!("{self:?}"),
            specials: leading + trailing,
        })
    }
}
