//! Rows in the form of the raw files: words in quotes, numbers and times bare.

use crate::error::{Error, Result};
use crate::ids::Moment;
use crate::output::Sink;
use std::io::Write;
use std::path::Path;

/// One cell.
#[derive(Debug, Clone, Copy)]
pub enum Cell<'a> {
    /// Nothing between the commas.
    Empty,
    /// A number.
    Number(u64),
    /// A measurement.
    Measure(f64),
    /// Date and time.
    Time(Moment),
    /// Date alone.
    Date(Moment),
    /// Words in quotes; quotes inside are doubled.
    Words(&'a str),
    /// Words without quotes; the caller knows that none are needed.
    Bare(&'a str),
}

/// The rows that one block of patients adds to a table, in memory and compressed where the table's name says so.
///
/// Compressed blocks are gzip members; a file of several is one gzip file.
pub struct RawTable {
    name: String,
    sink: Sink<Vec<u8>>,
    line: Vec<u8>,
    /// The number of the last row; none where the table has no such column.
    row_id: Option<u64>,
}

/// Finished rows of one table.
pub struct Part {
    /// The file's name.
    pub name: String,
    /// What is appended to it.
    pub bytes: Vec<u8>,
}

/// Rows of a block are numbered from here, times the number of the block.
const ROWS_OF_A_BLOCK: u64 = 1_000_000_000;

impl RawTable {
    /// A table of MIMIC-III: the header in quotes, `ROW_ID` first and counted here.
    pub fn create(block: u64, name: &str, columns: &[&str]) -> Result<RawTable> {
        let mut table = RawTable::new(name);
        if block == 0 {
            let header: Vec<Cell<'_>> = columns.iter().map(|c| Cell::Words(c)).collect();
            table.write(Some(Cell::Words("ROW_ID")), &header)?;
        }
        table.row_id = Some(block * ROWS_OF_A_BLOCK);
        Ok(table)
    }

    /// A table of MIMIC-IV-Note or of the truth: a bare header and no `ROW_ID`.
    pub fn create_bare(block: u64, name: &str, columns: &[&str]) -> Result<RawTable> {
        let mut table = RawTable::new(name);
        if block == 0 {
            let header: Vec<Cell<'_>> = columns.iter().map(|c| Cell::Bare(c)).collect();
            table.write(None, &header)?;
        }
        Ok(table)
    }

    fn new(name: &str) -> RawTable {
        RawTable { name: name.into(), sink: Sink::new(Path::new(name), Vec::new()), line: Vec::new(), row_id: None }
    }

    /// Writes a row.
    pub fn row(&mut self, cells: &[Cell<'_>]) -> Result<()> {
        self.row_id = self.row_id.map(|last| last + 1);
        self.write(self.row_id.map(Cell::Number), cells)
    }

    fn write(&mut self, first: Option<Cell<'_>>, cells: &[Cell<'_>]) -> Result<()> {
        self.line.clear();
        for cell in first.iter().chain(cells) {
            if !self.line.is_empty() {
                self.line.push(b',');
            }
            put(&mut self.line, cell);
        }
        self.line.push(b'\n');
        self.sink.write_all(&self.line).map_err(Error::at("compress", Path::new(&self.name)))
    }

    /// Ends the block.
    pub fn finish(self) -> Result<Part> {
        let bytes = self.sink.finish().map_err(Error::at("compress", Path::new(&self.name)))?;
        Ok(Part { name: self.name, bytes })
    }
}

fn put(line: &mut Vec<u8>, cell: &Cell<'_>) {
    let written = match cell {
        Cell::Empty => Ok(()),
        Cell::Number(n) => write!(line, "{n}"),
        Cell::Measure(x) => write!(line, "{x:.6}"),
        Cell::Time(at) => write!(line, "{at}"),
        Cell::Date(at) => write!(line, "{}", at.date()),
        Cell::Bare(text) => line.write_all(text.as_bytes()),
        Cell::Words(text) => {
            line.push(b'"');
            for (i, part) in text.split('"').enumerate() {
                if i > 0 {
                    line.extend_from_slice(b"\"\"");
                }
                line.extend_from_slice(part.as_bytes());
            }
            line.push(b'"');
            Ok(())
        }
    };
    written.expect("writing to memory cannot fail");
}
