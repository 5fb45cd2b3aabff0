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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packed {
    /// One sequence per example.
    pub sequences: Sequences,
    /// For each example, the row of its note.
    pub documents: Vec<usize>,
    /// Tokens of the notes kept and dropped, here and before. A repeated first token counts once.
    pub count: TokenCount,
}

impl Packing {
    /// Cuts encoded notes into examples of at most `length` tokens. Notes without tokens give no example.
    pub fn apply(self, notes: &Sequences, length: usize) -> Result<Packed> {
        let minimum = match self {
            Self::Documents { chunk_start: ChunkStart::RepeatFirst } => 2,
            _ => 1,
        };
        if length < minimum {
            return Err(Error::TooSmall { what: "the length of an example", value: length, minimum });
        }
        let mut packed = Packed { count: notes.count(), ..Packed::default() };
        for (row, note) in notes.iter().enumerate() {
            let (first, rest) = note.split_at(length.min(note.len()));
            if first.is_empty() {
                continue;
            }
            match self {
                Self::None => {
                    packed.push(first, row, rest.len());
                    packed.count.kept -= rest.len() as u64;
                    packed.count.dropped += rest.len() as u64;
                }
                Self::Documents { chunk_start } => {
                    packed.push(first, row, 0);
                    packed.push_chunks(first[0], rest, row, chunk_start, length);
                }
            }
        }
        Ok(packed)
    }
}

impl Packed {
    fn push(&mut self, ids: &[u32], row: usize, dropped: usize) {
        self.sequences.push(ids, dropped as u64);
        self.documents.push(row);
    }

    fn push_chunks(&mut self, begin: u32, rest: &[u32], row: usize, start: ChunkStart, length: usize) {
        match start {
            ChunkStart::Continue => {
                for chunk in rest.chunks(length) {
                    self.push(chunk, row, 0);
                }
            }
            ChunkStart::RepeatFirst => {
                for chunk in rest.chunks(length - 1) {
                    let ids: Vec<u32> = std::iter::once(begin).chain(chunk.iter().copied()).collect();
                    self.push(&ids, row, 0);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn notes(lengths: &[usize]) -> Sequences {
        let mut s = Sequences::default();
        let mut next = 10;
        for &n in lengths {
            let ids: Vec<u32> = (0..n).map(|i| if i == 0 { 1 } else { next + i as u32 }).collect();
            next += 1000;
            s.push(&ids, 0);
        }
        s
    }

    proptest! {
        #[test]
        fn documents_drop_nothing(lengths in prop::collection::vec(0usize..50, 0..12), length in 2usize..20) {
            let notes = notes(&lengths);
            for (chunk_start, repeated) in [(ChunkStart::Continue, 0), (ChunkStart::RepeatFirst, 1)] {
                let packed = Packing::Documents { chunk_start }.apply(&notes, length).unwrap();
                prop_assert_eq!(packed.count, TokenCount { kept: notes.ids().len() as u64, dropped: 0 });
                prop_assert_eq!(packed.documents.len(), packed.sequences.len());
                let mut joined: Vec<Vec<u32>> = vec![Vec::new(); lengths.len()];
                for (chunk, &row) in packed.sequences.iter().zip(&packed.documents) {
                    prop_assert!(!chunk.is_empty() && chunk.len() <= length);
                    let new = if joined[row].is_empty() { 0 } else { repeated };
                    prop_assert!(new == 0 || chunk[0] == 1);
                    joined[row].extend(&chunk[new..]);
                }
                for (row, ids) in joined.iter().enumerate() {
                    prop_assert_eq!(Some(ids.as_slice()), notes.get(row));
                }
            }
        }

        #[test]
        fn without_packing_every_dropped_token_is_counted(lengths in prop::collection::vec(1usize..50, 0..12), length in 1usize..20) {
            let packed = Packing::None.apply(&notes(&lengths), length).unwrap();
            let kept: usize = lengths.iter().map(|&n| n.min(length)).sum();
            let all: usize = lengths.iter().sum();
            prop_assert_eq!(packed.count, TokenCount { kept: kept as u64, dropped: (all - kept) as u64 });
            prop_assert_eq!(packed.count, packed.sequences.count());
        }
    }

    #[test]
    fn a_length_that_holds_nothing_is_an_error() {
        let repeat = Packing::Documents { chunk_start: ChunkStart::RepeatFirst };
        assert!(Packing::None.apply(&notes(&[3]), 0).is_err());
        assert!(repeat.apply(&notes(&[3]), 1).is_err());
        assert!(repeat.apply(&notes(&[3]), 2).is_ok());
    }
}
