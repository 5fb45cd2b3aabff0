//! Rows in the form of the raw files: words in quotes, numbers and times bare.

use crate::error::{Error, Result};
use crate::ids::Moment;
use crate::output::Sink;
use std::io::Write;
use std::path::{Path, PathBuf};

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

/// A table that is being written.
pub struct RawTable {
    path: PathBuf,
    sink: Sink,
    line: Vec<u8>,
    /// The number of the last row; none where the table has no such column.
    row_id: Option<u64>,
}

impl RawTable {
    /// A table of MIMIC-III: the header in quotes, `ROW_ID` first and counted here.
    pub fn create(folder: &Path, name: &str, columns: &[&str]) -> Result<RawTable> {
        let mut table = RawTable::open(folder, name)?;
        let header: Vec<Cell<'_>> = columns.iter().map(|c| Cell::Words(c)).collect();
        table.write(Some(Cell::Words("ROW_ID")), &header)?;
        table.row_id = Some(0);
        Ok(table)
    }

    /// A table of MIMIC-IV-Note or of the truth: a bare header and no `ROW_ID`.
    pub fn create_bare(folder: &Path, name: &str, columns: &[&str]) -> Result<RawTable> {
        let mut table = RawTable::open(folder, name)?;
        let header: Vec<Cell<'_>> = columns.iter().map(|c| Cell::Bare(c)).collect();
        table.write(None, &header)?;
        Ok(table)
    }

    fn open(folder: &Path, name: &str) -> Result<RawTable> {
        let path = folder.join(name);
        Ok(RawTable { sink: Sink::create(&path)?, path, line: Vec::new(), row_id: None })
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
        self.sink.write_all(&self.line).map_err(Error::at("write", &self.path))
    }

    /// Closes the file.
    pub fn finish(self) -> Result<()> {
        self.sink.finish().map_err(Error::at("write", &self.path))
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
