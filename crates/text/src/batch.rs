use crate::{Error, Result, Sequences};

/// Sequences end to end, without padding.
///
/// Sequence `i` of the batch is `ids[offsets[i]..offsets[i + 1]]`; `offsets` has one entry more than sequences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Position of each token in its sequence.
    pub positions: Vec<u32>,
    /// Where each sequence begins, and the end of the last.
    pub offsets: Vec<u32>,
    /// For each sequence, its row in the data set.
    pub rows: Vec<usize>,
}

impl Batch {
    /// The sequences `rows` of a data set, in that order.
    pub fn from_sequences(sequences: &Sequences, rows: &[usize]) -> Result<Self> {
        let mut batch = Self { ids: Vec::new(), positions: Vec::new(), offsets: vec![0], rows: rows.to_vec() };
        for &row in rows {
            let ids = sequences.get(row).ok_or(Error::NoSuchRow { row, rows: sequences.len() })?;
            if ids.is_empty() {
                return Err(Error::EmptySequence { row });
            }
            batch.ids.extend_from_slice(ids);
            batch.positions.extend(0..ids.len() as u32);
            batch.offsets.push(offset(batch.ids.len())?);
        }
        Ok(batch)
    }

    /// Number of sequences.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no sequence.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// The length of each sequence.
    pub fn lengths(&self) -> impl ExactSizeIterator<Item = usize> {
        self.offsets.windows(2).map(|w| (w[1] - w[0]) as usize)
    }
}

/// `end` as an offset; attention kernels count tokens with signed 32-bit numbers.
pub(crate) fn offset(end: usize) -> Result<u32> {
    match i32::try_from(end) {
        Ok(_) => Ok(end as u32),
        Err(_) => Err(Error::LargeBatch { tokens: end }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_lie_end_to_end_with_their_own_positions() {
        let mut sequences = Sequences::default();
        sequences.push(&[1, 7, 8], 0);
        sequences.push(&[1], 0);
        sequences.push(&[1, 9], 0);
        let batch = Batch::from_sequences(&sequences, &[2, 0]).unwrap();
        assert_eq!(batch.ids, [1, 9, 1, 7, 8]);
        assert_eq!(batch.positions, [0, 1, 0, 1, 2]);
        assert_eq!(batch.offsets, [0, 2, 5]);
        assert_eq!(batch.rows, [2, 0]);
        assert_eq!(batch.lengths().collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn missing_rows_and_empty_sequences_are_errors() {
        let mut sequences = Sequences::default();
        sequences.push(&[], 0);
        assert!(matches!(Batch::from_sequences(&sequences, &[0]), Err(Error::EmptySequence { row: 0 })));
        assert!(matches!(Batch::from_sequences(&sequences, &[1]), Err(Error::NoSuchRow { row: 1, rows: 1 })));
        assert!(matches!(Batch::from_sequences(&sequences, &[usize::MAX]), Err(Error::NoSuchRow { .. })));
    }
}
