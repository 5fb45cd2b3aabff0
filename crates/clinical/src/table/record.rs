//! The cells of one row, taken out of the bytes of a table.

use super::quotes::{BadQuote, Checker, Quotes};
use super::source::{Unpacked, Whole};
use csv_core::ReadRecordResult;
use std::path::Path;

/// Bytes that the cells of one row may have together: 64 MiB.
pub(crate) const LONGEST_ROW: usize = 64 << 20;
/// Cells that one row may have.
pub(crate) const MOST_CELLS: usize = 10_000;

/// The cells of one row.
#[derive(Debug, Default)]
pub(super) struct Record {
    bytes: Vec<u8>,
    /// Where each cell ends in `bytes`.
    ends: Vec<usize>,
    cells: usize,
}

impl Record {
    pub fn len(&self) -> usize {
        self.cells
    }

    pub fn get(&self, place: usize) -> Option<&[u8]> {
        let ends = &self.ends[..self.cells];
        let begin = if place == 0 { 0 } else { *ends.get(place - 1)? };
        Some(&self.bytes[begin..*ends.get(place)?])
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.cells).filter_map(|place| self.get(place))
    }
}

/// Why there is no next row.
#[derive(Debug)]
pub(super) enum Fault {
    Read(std::io::Error),
    /// What is wrong with the next row.
    Row(String),
    Quote(BadQuote),
}

/// The rows of a file, the header first.
pub(super) struct Records {
    source: Unpacked,
    core: csv_core::Reader,
    checker: Option<Checker>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Within,
    AtEnd,
    Done,
}

impl Records {
    pub fn open(path: &Path, quotes: Quotes) -> std::io::Result<Records> {
        let checker = (quotes == Quotes::Strict).then(Checker::new);
        Ok(Records { source: Unpacked::open(path)?, core: csv_core::Reader::new(), checker, state: State::Within })
    }

    /// Reads the next row into `record`; false at the end of the file.
    pub fn next(&mut self, record: &mut Record) -> Result<bool, Fault> {
        let (mut filled, mut cells) = (0, 0);
        while self.state != State::Done {
            self.fill()?;
            // A line break behind the last byte ends the last row, unless the file ends inside of a quoted cell.
            let at_end = self.state == State::AtEnd;
            let input = if at_end { b"\n" } else { self.source.rest() };
            let (result, read, written, ended) =
                self.core.read_record(input, &mut record.bytes[filled..], &mut record.ends[cells..]);
            if !at_end {
                self.source.consume(read);
            }
            (filled, cells) = (filled + written, cells + ended);
            match result {
                ReadRecordResult::InputEmpty if at_end => {
                    self.state = State::Done;
                    if written > 0 {
                        return Err(Fault::Row("the file ends inside a quoted cell".into()));
                    }
                }
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => grow(&mut record.bytes, 4096, LONGEST_ROW, "bytes")?,
                ReadRecordResult::OutputEndsFull => grow(&mut record.ends, 32, MOST_CELLS, "cells")?,
                ReadRecordResult::Record => {
                    record.cells = cells;
                    if at_end {
                        self.state = State::Done;
                    }
                    return Ok(true);
                }
                ReadRecordResult::End => self.state = State::Done,
            }
        }
        record.cells = 0;
        Ok(false)
    }

    /// Goes to the next block where the last one is used up.
    fn fill(&mut self) -> Result<(), Fault> {
        if self.state == State::AtEnd || !self.source.rest().is_empty() {
            return Ok(());
        }
        self.source.advance().map_err(Fault::Read)?;
        if self.source.rest().is_empty() {
            self.state = State::AtEnd;
        }
        match &mut self.checker {
            Some(checker) => checker.see(self.source.rest()).map_err(Fault::Quote),
            None => Ok(()),
        }
    }

    pub fn bytes_read(&self) -> u64 {
        self.source.bytes_read()
    }

    /// What the file turned out to be, and its length; call it at the end of the file.
    pub fn finish(self) -> (Whole, u64) {
        self.source.finish()
    }
}

fn grow<T: Clone + Default>(buffer: &mut Vec<T>, least: usize, most: usize, of: &str) -> Result<(), Fault> {
    if buffer.len() >= most {
        return Err(Fault::Row(format!("more than {most} {of} in one row; a quote may be missing")));
    }
    buffer.resize((2 * buffer.len()).clamp(least, most), T::default());
    Ok(())
}
