//! One row of a table.

use super::record::{Record, Records};
use crate::error::{Error, Result};
use crate::ids::{HadmId, IcuStayId, Moment, SubjectId};
use std::borrow::Cow;
use std::path::Path;

/// One row; cells by the order in which the columns were asked for.
pub struct Row<'a> {
    pub(super) path: &'a Path,
    pub(super) records: &'a Records,
    pub(super) record: &'a Record,
    /// The columns that were asked for, and where the file has them.
    pub(super) names: &'a [String],
    pub(super) places: &'a [Option<usize>],
    pub(super) row: u64,
}

const HINT_ID: &str = "whole numbers are expected here; an editor may have changed the file";
const HINT_TIME: &str = "times look like 2151-07-16 13:45:00; an editor may have changed the file";

impl Row<'_> {
    /// The bytes of a cell; empty where an optional column is absent.
    pub fn bytes(&self, column: usize) -> &[u8] {
        self.places[column].and_then(|place| self.record.get(place)).unwrap_or_default()
    }

    /// A cell as text.
    pub fn text(&self, column: usize) -> Result<&str> {
        std::str::from_utf8(self.bytes(column))
            .map_err(|_| self.wrong(column, "not UTF-8", "convert the file to UTF-8, for example with iconv"))
    }

    /// A whole number, also when written as `123.0`; `None` for an empty cell.
    pub fn number(&self, column: usize) -> Result<Option<u64>> {
        let bytes = self.bytes(column).trim_ascii();
        if is_missing(bytes) {
            return Ok(None);
        }
        let whole = bytes.strip_suffix(b".0").unwrap_or(bytes);
        std::str::from_utf8(whole)
            .ok()
            .and_then(|t| t.parse().ok())
            .map(Some)
            .ok_or_else(|| self.wrong(column, "not a whole number", HINT_ID))
    }

    /// A whole number that must be there.
    pub fn required_number(&self, column: usize) -> Result<u64> {
        self.number(column)?.ok_or_else(|| self.wrong(column, "empty, but needed", HINT_ID))
    }

    /// A patient.
    pub fn subject(&self, column: usize) -> Result<SubjectId> {
        self.required_number(column).map(SubjectId)
    }

    /// An admission.
    pub fn admission(&self, column: usize) -> Result<HadmId> {
        self.required_number(column).map(HadmId)
    }

    /// A stay in intensive care, where there is one.
    pub fn icu_stay(&self, column: usize) -> Result<Option<IcuStayId>> {
        Ok(self.number(column)?.map(IcuStayId))
    }

    /// A point in time; `None` for an empty cell.
    pub fn moment(&self, column: usize) -> Result<Option<Moment>> {
        let text = self.text(column)?.trim();
        if is_missing(text.as_bytes()) {
            return Ok(None);
        }
        Moment::parse(text).map(Some).ok_or_else(|| self.wrong(column, "not a date or time", HINT_TIME))
    }

    /// A point in time that must be there.
    pub fn required_moment(&self, column: usize) -> Result<Moment> {
        self.moment(column)?.ok_or_else(|| self.wrong(column, "empty, but needed", HINT_TIME))
    }

    /// An error at this cell.
    pub fn wrong(&self, column: usize, what: &'static str, hint: impl Into<Cow<'static, str>>) -> Error {
        Error::Cell {
            path: self.path.into(),
            row: self.row,
            column: self.names[column].clone(),
            what,
            hint: hint.into(),
        }
    }

    /// Bytes of the file that were read so far, some of them ahead of this row.
    pub fn bytes_read(&self) -> u64 {
        self.records.bytes_read()
    }

    /// The number of this row, from 1.
    pub fn index(&self) -> u64 {
        self.row
    }
}

/// Whether a cell is what pandas 1 reads as a missing value.
pub(crate) fn is_missing(cell: &[u8]) -> bool {
    // The longest has eight characters: most cells are long texts or numbers, so this is decided at once.
    cell.is_empty() || (cell.len() <= 8 && MISSING.iter().any(|m| m.as_bytes() == cell))
}

const MISSING: [&str; 17] = [
    "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL",
    "NaN", "n/a", "nan", "null",
];
