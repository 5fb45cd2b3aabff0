use crate::batch::offset;
use crate::{Batch, Error, Result};

/// Sequences as other libraries hold them: rows of equal length, with a mask. Only for comparisons with those.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Padded {
    /// `input_ids` [b, t].
    pub ids: Vec<u32>,
    /// `attention_mask` [b, t]: 1 where there is a token.
    pub mask: Vec<u8>,
    /// Number of rows.
    pub b: usize,
    /// Length of every row.
    pub t: usize,
}

/// From each token of a ragged batch to its cell in a padded matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaddedMap {
    /// Number of rows.
    pub b: usize,
    /// Length of every row.
    pub t: usize,
    /// `(row, column)` of each token of the batch.
    pub cells: Vec<(usize, usize)>,
}

impl Padded {
    /// The tokens where the mask is not 0, and where they came from.
    ///
    /// Positions count the columns of the padded row, pad tokens included: a library that is given no positions counts
    /// so, and a row padded on the left does not begin with position 0. A row that is masked throughout becomes a
    /// sequence without tokens.
    pub fn to_batch(&self) -> Result<(Batch, PaddedMap)> {
        let expected = self.b.saturating_mul(self.t);
        for (what, found) in [("input ids", self.ids.len()), ("attention mask", self.mask.len())] {
            if found != expected {
                return Err(Error::Mismatch { what, expected, found });
            }
        }
        offset(expected)?;
        let mut batch = Batch { ids: Vec::new(), positions: Vec::new(), offsets: vec![0], rows: (0..self.b).collect() };
        let mut cells = Vec::new();
        for row in 0..self.b {
            for column in 0..self.t {
                let cell = row * self.t + column;
                if self.mask[cell] != 0 {
                    batch.ids.push(self.ids[cell]);
                    batch.positions.push(column as u32);
                    cells.push((row, column));
                }
            }
            batch.offsets.push(offset(batch.ids.len())?);
        }
        let map = PaddedMap { b: self.b, t: self.t, cells };
        Ok((batch, map))
    }
}

impl PaddedMap {
    /// Values of a ragged batch [tokens, width] as a padded array [b, t, width], `fill` where there is no token.
    pub fn scatter<T: Copy>(&self, values: &[T], width: usize, fill: T) -> Result<Vec<T>> {
        let expected = self.cells.len() * width;
        if values.len() != expected {
            return Err(Error::Mismatch { what: "values of a ragged batch", expected, found: values.len() });
        }
        let mut out = vec![fill; self.b * self.t * width];
        for (token, &(row, column)) in self.cells.iter().enumerate() {
            let to = (row * self.t + column) * width;
            out[to..to + width].copy_from_slice(&values[token * width..][..width]);
        }
        Ok(out)
    }

    /// Values of a padded array [b, t, width] where there is a token: a ragged array [tokens, width].
    pub fn gather<T: Copy>(&self, values: &[T], width: usize) -> Result<Vec<T>> {
        let expected = self.b * self.t * width;
        if values.len() != expected {
            return Err(Error::Mismatch { what: "values of a padded array", expected, found: values.len() });
        }
        Ok(self
            .cells
            .iter()
            .flat_map(|&(row, column)| &values[(row * self.t + column) * width..][..width])
            .copied()
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_the_padded_row() {
        let padded = Padded { ids: vec![0, 0, 5, 6, 0, 0, 0, 0], mask: vec![0, 0, 1, 1, 0, 0, 0, 0], b: 2, t: 4 };
        let (batch, map) = padded.to_batch().unwrap();
        assert_eq!(batch.positions, [2, 3]);
        assert_eq!(batch.offsets, [0, 2, 2]);
        assert_eq!(map.cells, [(0, 2), (0, 3)]);
        assert_eq!(map.scatter(&[1.0, 2.0, 3.0, 4.0], 2, 0.0).unwrap()[4..8], [1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let padded = Padded { ids: vec![0; 5], mask: vec![0; 6], b: 2, t: 3 };
        assert!(matches!(padded.to_batch(), Err(Error::Mismatch { expected: 6, found: 5, .. })));
        let (_, map) = Padded { ids: vec![0; 2], mask: vec![1; 2], b: 1, t: 2 }.to_batch().unwrap();
        assert!(map.scatter(&[1], 1, 0).is_err());
        assert!(map.gather(&[1], 1).is_err());
    }
}
