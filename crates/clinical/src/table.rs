//! Streaming readers of `.csv` and `.csv.gz` tables.
//!
//! A [`Table`] holds one row at a time, hashes the file while it reads it, and every error names file, row and column.

mod quotes;
mod record;
mod row;
mod source;

pub(crate) use quotes::Quotes;
pub(crate) use record::LONGEST_ROW;
pub(crate) use row::{Row, is_missing};

use crate::error::{Error, Result, shown};
use record::{Fault, Record, Records};
use std::path::{Path, PathBuf};

const HINT_COLUMN: &str = "the columns of the published version are expected; check that this is the right table";

/// A file that was read: what a manifest says about it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputFile {
    /// File name without folder.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Data rows.
    pub rows: u64,
    /// BLAKE3 of the bytes on disk.
    pub blake3: String,
    /// BLAKE3 of the table itself, before it was compressed: equal for `.csv` and `.csv.gz`.
    pub content_blake3: String,
}

impl InputFile {
    /// The table's name, whatever the case and the compression of the file: `NOTEEVENTS`.
    pub fn table(&self) -> String {
        let name = self.name.to_ascii_uppercase();
        let name = name.strip_suffix(".GZ").unwrap_or(&name);
        name.strip_suffix(".CSV").unwrap_or(name).to_string()
    }
}

/// Finds the one file `name.csv` or `name.csv.gz`, in upper or lower case; `None` if there is none.
pub fn find_table(folder: &Path, name: &str) -> Result<Option<PathBuf>> {
    let is_table = |file: &str| {
        let file = file.to_ascii_lowercase();
        let stem = file.strip_suffix(".gz").unwrap_or(&file).strip_suffix(".csv");
        stem.is_some_and(|stem| stem.eq_ignore_ascii_case(name))
    };
    // A folder that cannot be listed has no tables.
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<String> =
        entries.filter(|e| e.path().is_file()).map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    found.retain(|file| is_table(file));
    found.sort();
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(folder.join(one))),
        [first, second, ..] => {
            Err(Error::TwoFiles { folder: folder.into(), first: first.clone(), second: second.clone() })
        }
    }
}

/// A table that is being read, row by row.
///
/// A row holds at most 64 MiB and 10,000 cells, the header too; what is longer is an error before it is in memory.
pub struct Table {
    path: PathBuf,
    records: Records,
    header: Vec<String>,
    names: Vec<String>,
    places: Vec<Option<usize>>,
    record: Record,
    row: u64,
}

impl Table {
    /// Opens a table of `folder` for the columns in `required` then `optional`; cells are addressed by that order.
    pub fn open_in(
        folder: &Path,
        name: &str,
        required: &[&str],
        optional: &[&str],
        hint: &'static str,
    ) -> Result<Table> {
        let path = find_table(folder, name)?.ok_or_else(|| Error::MissingTable {
            folder: folder.into(),
            name: name.into(),
            hint,
        })?;
        Table::open(&path, required, optional)
    }

    /// Opens the table at `path`; see [`Table::open_in`].
    pub fn open(path: &Path, required: &[&str], optional: &[&str]) -> Result<Table> {
        Table::open_with(path, Quotes::Lenient, required, optional)
    }

    /// The same, with a rule for quotes.
    pub fn open_with(path: &Path, quotes: Quotes, required: &[&str], optional: &[&str]) -> Result<Table> {
        let mut table = Table {
            path: path.into(),
            records: Records::open(path, quotes).map_err(Error::at("read", path))?,
            header: Vec::new(),
            names: required.iter().chain(optional).map(|s| (*s).to_string()).collect(),
            places: Vec::new(),
            record: Record::default(),
            row: 0,
        };
        table.records.next(&mut table.record).map_err(|fault| table.wrong(fault, 0))?;
        table.header = table.record.iter().map(column_name).collect();
        table.locate(required.len())?;
        Ok(table)
    }

    /// The names of a table's columns.
    pub fn header(path: &Path) -> Result<Vec<String>> {
        Ok(Table::open(path, &[], &[])?.header)
    }

    fn locate(&mut self, required: usize) -> Result<()> {
        for (i, name) in self.names.iter().enumerate() {
            let exact = self.header.iter().position(|h| h == name);
            let place = exact.or_else(|| self.header.iter().position(|h| h.eq_ignore_ascii_case(name)));
            if place.is_none() && i < required {
                return Err(Error::MissingColumn {
                    path: self.path.clone(),
                    column: name.clone(),
                    instead: instead(name, &self.header),
                    hint: HINT_COLUMN,
                });
            }
            self.places.push(place);
        }
        Ok(())
    }

    /// Whether the file has a column that was asked for.
    pub fn has(&self, column: usize) -> bool {
        self.places[column].is_some()
    }

    /// A name that was asked for and stands twice in the header.
    pub fn repeated(&self) -> Option<&str> {
        let places = |name: &&String| self.header.iter().filter(|h| h.eq_ignore_ascii_case(name)).count();
        self.names.iter().find(|name| places(name) > 1).map(String::as_str)
    }

    /// Moves to the next row.
    pub fn next_row(&mut self) -> Result<Option<Row<'_>>> {
        match self.records.next(&mut self.record) {
            Ok(false) => return Ok(None),
            Ok(true) => self.row += 1,
            Err(fault) => return Err(self.wrong(fault, self.row + 1)),
        }
        let (length, expected) = (self.record.len(), self.header.len());
        if length != expected {
            let what = format!("{length} columns where the header has {expected}{}", self.where_it_ends(length));
            return Err(Error::Row { path: self.path.clone(), row: self.row, what });
        }
        Ok(Some(Row {
            path: &self.path,
            records: &self.records,
            record: &self.record,
            names: &self.names,
            places: &self.places,
            row: self.row,
        }))
    }

    fn wrong(&self, fault: Fault, row: u64) -> Error {
        let path = self.path.clone();
        match fault {
            Fault::Read(source) => match source.kind() {
                std::io::ErrorKind::UnexpectedEof => Error::Compressed { path, row: self.row, what: "ends too early" },
                std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData => {
                    Error::Compressed { path, row: self.row, what: "is damaged" }
                }
                _ => Error::at("read", &path)(source),
            },
            Fault::Row(what) => Error::Row { path, row, what },
            Fault::Quote(quote) => {
                let what = "a quoted cell begins there and has text behind its closing quote".into();
                Error::Row { path, row: quote.row, what }
            }
        }
    }

    /// The column at which a row of `length` cells is too short or too long. It is named only if it was asked for: where the header
    /// is damaged, the first line holds a patient's values.
    fn where_it_ends(&self, length: usize) -> String {
        let named = |place: usize| match self.names.iter().find(|n| self.header[place].eq_ignore_ascii_case(n)) {
            Some(name) => format!("`{name}`"),
            None => format!("column {}", place + 1),
        };
        match self.header.len() {
            0 => String::new(),
            columns if length < columns => format!(": {} is the first that is missing", named(length)),
            columns => format!(": there is more after {}", named(columns - 1)),
        }
    }

    /// The same as [`Table::finish`] for a table that cannot be empty.
    pub fn finish_some(self) -> Result<InputFile> {
        let path = self.path.clone();
        let input = self.finish()?;
        if input.rows == 0 {
            return Err(Error::NoRows { path });
        }
        Ok(input)
    }

    /// Reads what is left and tells what was read.
    pub fn finish(mut self) -> Result<InputFile> {
        while self.next_row()?.is_some() {}
        let (whole, bytes) = self.records.finish();
        Ok(InputFile {
            name: self.path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
            bytes,
            rows: self.row,
            blake3: whole.hash.to_hex().to_string(),
            content_blake3: whole.content.to_hex().to_string(),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn column_name(cell: &[u8]) -> String {
    shown(String::from_utf8_lossy(cell).trim_start_matches('\u{feff}').trim_matches('"'))
}

/// What a header has in place of a column. A name is shown only if it is much like the wanted one: where the header itself is
/// missing, the first line holds a patient's values.
fn instead(name: &str, header: &[String]) -> String {
    let distance = |other: &String| edit_distance(&name.to_ascii_lowercase(), &other.to_ascii_lowercase());
    match header.iter().min_by_key(|other| distance(other)) {
        None => "the header is empty".into(),
        Some(nearest) if 2 * distance(nearest) <= name.len() => format!("the nearest is `{nearest}`"),
        Some(_) => "the first line has no name like it".into(),
    }
}

fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(100).collect();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = last[0];
        last[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = last[j + 1];
            last[j + 1] = changed.min(last[j] + 1).min(diagonal + 1);
        }
    }
    last[b.len()]
}

#[cfg(test)]
mod tests;
