//! Padded batches of a case as batches of the house.

use super::manifest;
use clinpeft_experiment::{Error, Result};
use clinpeft_nn::{PadProbe, RaggedBatch};
use clinpeft_text::{Padded, PaddedMap};
use clinpeft_weights::{Checkpoint, Dtype, Keep};

/// One batch, as it is in the file.
pub(super) struct Input {
    pub padded: Padded,
    /// One for each cell (next token), or one for each row (classes).
    pub labels: Vec<i64>,
}

/// Rows that a model puts in front of sequences.
#[derive(Debug, Clone, Copy)]
pub(super) struct Front {
    /// Rows in the sequence.
    pub virtual_rows: usize,
    /// Keys in front of it.
    pub prefix: usize,
}

/// Which pad tokens are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Observers {
    /// Those from which the reference predicts a token.
    BeforeTargets,
    /// Those at the end of a row, which the reference pools.
    LastPosition,
    /// Those at the beginning of a row, which the reference pools, and which see all of the row.
    FirstPosition,
    /// None.
    Never,
}

impl Input {
    /// Reads a batch.
    pub(super) fn load(file: &Checkpoint, name: &str) -> Result<Input> {
        let ids = file.any(&format!("{name}.input_ids"), Keep::Stored)?;
        let mask = file.any(&format!("{name}.attention_mask"), Keep::Stored)?;
        let labels = integers(file, &format!("{name}.labels"))?;
        let &[b, t] = ids.dims() else {
            return Err(Error::Options(format!("batch `{name}`: `input_ids` is not a matrix")));
        };
        let mask = mask.to_f64_vec().map_err(clinpeft_weights::Error::from)?;
        let ids = ids.as_slice::<u32>().map_err(clinpeft_weights::Error::from)?.to_vec();
        let padded = Padded { ids, mask: mask.iter().map(|x| u8::from(*x != 0.0)).collect(), b, t };
        Ok(Input { padded, labels })
    }

    /// The same batch without padding, with the positions and the pad tokens of the reference.
    pub(super) fn ragged(
        &self,
        about: &manifest::Batch,
        front: Front,
        pad_probes: Observers,
    ) -> Result<(RaggedBatch, PaddedMap), String> {
        let (mut batch, map) = self.padded.to_batch().map_err(|e| e.to_string())?;
        let position = |row: usize, column: usize| -> Result<u32, String> {
            let Some(all) = about.positions(row) else {
                return Ok(column as u32);
            };
            let at = all.get(front.virtual_rows + column);
            at.and_then(|p| p.checked_sub((front.virtual_rows + front.prefix) as u32))
                .ok_or_else(|| format!("`rotary_positions` has no place for column {column} of row {row}"))
        };
        for (p, (row, column)) in batch.positions.iter_mut().zip(&map.cells) {
            *p = position(*row, *column)?;
        }
        let seen = |column: usize| match pad_probes {
            Observers::FirstPosition => 0..self.padded.t,
            _ => 0..column,
        };
        let mut pads = Vec::new();
        for (row, column) in self.observed(pad_probes) {
            pads.push(PadProbe {
                sequence: row as u32,
                sees: seen(column).filter(|c| self.padded.mask[row * self.padded.t + c] != 0).count() as u32,
                id: self.padded.ids[row * self.padded.t + column],
                position: position(row, column)?,
            });
        }
        let ragged = RaggedBatch::new(batch.ids, batch.positions, batch.offsets);
        let ragged = ragged.and_then(|r| r.with_pad_probes(pads));
        Ok((ragged.map_err(|e| e.to_string())?, map))
    }

    /// Cells of pad tokens that matter to the reference.
    fn observed(&self, which: Observers) -> Vec<(usize, usize)> {
        let t = self.padded.t;
        let cells = (0..self.padded.b).flat_map(|row| (0..t).map(move |column| (row, column)));
        let pad = |(row, column): &(usize, usize)| self.padded.mask[row * t + column] == 0;
        let wanted = |(row, column): &(usize, usize)| match which {
            Observers::Never => false,
            Observers::LastPosition => column + 1 == t,
            Observers::FirstPosition => *column == 0,
            Observers::BeforeTargets => column + 1 < t && self.labels[row * t + column + 1] != IGNORED,
        };
        cells.filter(pad).filter(wanted).collect()
    }

    /// Tokens with a label, as indices into the ragged batch. Errors if a label is not the token that stands there.
    pub(super) fn targets(&self, map: &PaddedMap) -> Result<Vec<u32>, String> {
        let mut targets = Vec::new();
        for (cell, label) in self.labels.iter().enumerate().filter(|(_, l)| **l != IGNORED) {
            let place = (cell / self.padded.t, cell % self.padded.t);
            let token = map.cells.iter().position(|c| *c == place);
            match token {
                Some(i) if i64::from(self.padded.ids[cell]) == *label => targets.push(i as u32),
                _ => {
                    return Err(format!(
                        "not supported: the label of row {} column {} is not the token there",
                        place.0, place.1
                    ));
                }
            }
        }
        Ok(targets)
    }
}

/// Labels of which some mean "none".
fn integers(file: &Checkpoint, name: &str) -> Result<Vec<i64>> {
    let raw = file.raw(name)?;
    if raw.dtype != Dtype::I64 {
        return Err(Error::Options(format!("`{name}` is stored as {:?}, but integers are expected", raw.dtype)));
    }
    let (values, _) = raw.bytes.as_chunks::<8>();
    Ok(values.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect())
}

/// The label that the reference leaves out.
const IGNORED: i64 = -100;
