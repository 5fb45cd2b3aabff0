use serde::{Deserialize, Serialize};

use crate::{Error, Result, Sequences, TokenCount};

/// How encoded notes become examples for language modelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "policy", rename_all = "snake_case", deny_unknown_fields)]
pub enum Packing {
    /// One example per note: its first tokens, the rest dropped. What the published code does.
    None,
    /// A long note becomes consecutive chunks, each an example of its own: no token is dropped, and no example holds
    /// two notes. (Ragged batches put short ones side by side without joining them.)
    Documents {
        /// How the second and later chunks of a note begin.
        chunk_start: ChunkStart,
    },
}

/// How the second and later chunks of a note begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChunkStart {
    /// With the next token of the note. That token has no context and is no target.
    Continue,
    /// With the first token of the note again (its beginning token), which LLaMA has seen before every text. Then each
    /// token of a note is a target exactly once.
    RepeatFirst,
}

/// Examples, and the notes they come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// One sequence per example.
    pub sequences: Sequences,
    /// For each example, the row of its note.
    pub documents: Vec<usize>,
}

impl Packed {
    /// Tokens kept and dropped. A repeated first token is neither.
    pub fn count(&self) -> TokenCount {
        self.sequences.count()
    }
}

impl Packing {
    /// Cuts encoded notes into examples of at most `length` tokens. Notes without tokens give no example.
    pub fn apply(self, notes: &Sequences, length: usize) -> Result<Packed> {
        let minimum = match self {
            Self::None
            | Self::Documents {
                chunk_start: ChunkStart::Continue,
            } => 1,
            Self::Documents {
                chunk_start: ChunkStart::RepeatFirst,
            } => 2,
        };
        if length < minimum {
            return Err(Error::TooSmall {
                what: "the length of an example",
                value: length,
                minimum,
            });
        }
        let mut out = Cutter {
            length,
            ids: Vec::new(),
            offsets: vec![0],
            documents: Vec::new(),
        };
        let mut count = notes.count();
        for (row, note) in notes.iter().enumerate() {
            count += self.cut(note, row, &mut out);
        }
        Ok(Packed {
            sequences: Sequences::with_count(out.ids, out.offsets, count)?,
            documents: out.documents,
        })
    }
}
