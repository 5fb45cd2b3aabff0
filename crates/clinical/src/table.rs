//! Streaming readers of `.csv` and `.csv.gz` tables.
//!
//! A [`Table`] holds one row at a time, hashes the file while it reads it, and every error names file, row and column.

use crate::error::{Error, Result};
use crate::ids::{HadmId, IcuStayId, Moment, SubjectId};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

const BUFFER: usize = 1 << 18;

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

/// What went through a [`Hashing`].
struct Hashed {
    hasher: blake3::Hasher,
    bytes: Arc<AtomicU64>,
}

/// Hashes what passes through.
struct Hashing<'a> {
    file: File,
    seen: &'a mut Hashed,
}

impl Read for Hashing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.seen.hasher.update(&buffer[..n]);
        self.seen.bytes.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Bytes of a file, unpacked and hashed by a thread of its own that is a few blocks ahead.
struct Unpacked {
    blocks: Receiver<std::io::Result<Vec<u8>>>,
    /// Ends with what the file turned out to be.
    thread: JoinHandle<Whole>,
    block: Vec<u8>,
    place: usize,
    /// Bytes of the file that were read so far.
    bytes: Arc<AtomicU64>,
}

/// A file that was read to its end.
struct Whole {
    /// Of the file.
    hash: blake3::Hash,
    /// Of what was packed in it.
    content: blake3::Hash,
    quotes: Parity,
    last: Option<u8>,
}

/// Whether something was met an even or an odd number of times.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parity {
    Even,
    Odd,
}

impl Parity {
    /// Of the quotes in `bytes` together with those before.
    fn with_quotes_of(self, bytes: &[u8]) -> Parity {
        let odd = memchr::memchr_iter(b'"', bytes).count() % 2 == 1;
        if (self == Parity::Odd) ^ odd { Parity::Odd } else { Parity::Even }
    }
}

impl Whole {
    /// Quotes come in pairs and a table ends with a line break, except where it was cut off.
    fn ends_in_a_cell(&self) -> bool {
        self.quotes == Parity::Odd && self.last != Some(b'\n')
    }
}

const BLOCKS_AHEAD: usize = 4;

impl Unpacked {
    fn open(path: &Path) -> std::io::Result<Unpacked> {
        let file = File::open(path)?;
        let packed = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gz"));
        let (send, blocks) = sync_channel(BLOCKS_AHEAD);
        let bytes = Arc::new(AtomicU64::new(0));
        let mut seen = Hashed { hasher: blake3::Hasher::new(), bytes: Arc::clone(&bytes) };
        let thread = std::thread::Builder::new().spawn(move || {
            let hashing = BufReader::with_capacity(BUFFER, Hashing { file, seen: &mut seen });
            let mut content = blake3::Hasher::new();
            let (mut quotes, mut last) = (Parity::Even, None);
            let see = |block: &[u8]| {
                quotes = quotes.with_quotes_of(block);
                last = block.last().copied().or(last);
                if packed {
                    content.update(block);
                }
            };
            match packed {
                true => forward(flate2::bufread::MultiGzDecoder::new(hashing), &send, see),
                false => forward(hashing, &send, see),
            }
            let hash = seen.hasher.finalize();
            Whole { hash, content: if packed { content.finalize() } else { hash }, quotes, last }
        })?;
        Ok(Unpacked { blocks, thread, block: Vec::new(), place: 0, bytes })
    }
}

/// Shows and sends all blocks, or the error that ends them; stops when nobody receives any more.
fn forward(mut source: impl Read, send: &SyncSender<std::io::Result<Vec<u8>>>, mut see: impl FnMut(&[u8])) {
    loop {
        let mut block = Vec::with_capacity(BUFFER);
        let read = source.by_ref().take(BUFFER as u64).read_to_end(&mut block);
        let last = block.is_empty() || read.is_err();
        see(&block);
        if !block.is_empty() && send.send(Ok(block)).is_err() {
            return;
        }
        if let Err(e) = read {
            // The receiver may be gone, and then nobody wants to know.
            let _ = send.send(Err(e));
        }
        if last {
            return;
        }
    }
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.place == self.block.len() {
            match self.blocks.recv() {
                Ok(block) => (self.block, self.place) = (block?, 0),
                Err(_) => return Ok(0),
            }
        }
        let n = buffer.len().min(self.block.len() - self.place);
        buffer[..n].copy_from_slice(&self.block[self.place..self.place + n]);
        self.place += n;
        Ok(n)
    }
}

/// A table that is being read, row by row.
pub struct Table {
    path: PathBuf,
    reader: csv::Reader<Unpacked>,
    names: Vec<String>,
    places: Vec<Option<usize>>,
    record: csv::ByteRecord,
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
        let unpacked = Unpacked::open(path).map_err(Error::at("read", path))?;
        let mut table = Table {
            path: path.into(),
            reader: csv::ReaderBuilder::new().buffer_capacity(BUFFER).from_reader(unpacked),
            names: required.iter().chain(optional).map(|s| (*s).to_string()).collect(),
            places: Vec::new(),
            record: csv::ByteRecord::new(),
            row: 0,
        };
        table.locate(required.len())?;
        Ok(table)
    }

    /// The names of a table's columns.
    pub fn header(path: &Path) -> Result<Vec<String>> {
        let mut table = Table::open(path, &[], &[])?;
        match table.reader.byte_headers() {
            Ok(header) => Ok(column_names(&header.clone())),
            Err(e) => Err(table.read_error(e)),
        }
    }

    fn locate(&mut self, required: usize) -> Result<()> {
        let header = match self.reader.byte_headers() {
            Ok(h) => h.clone(),
            Err(e) => return Err(self.read_error(e)),
        };
        let present = column_names(&header);
        for (i, name) in self.names.iter().enumerate() {
            let place = present.iter().position(|p| p.eq_ignore_ascii_case(name));
            if place.is_none() && i < required {
                return Err(Error::MissingColumn {
                    path: self.path.clone(),
                    column: name.clone(),
                    instead: instead(name, &present),
                });
            }
            self.places.push(place);
        }
        Ok(())
    }

    /// Moves to the next row.
    pub fn next_row(&mut self) -> Result<Option<Row<'_>>> {
        match self.reader.read_byte_record(&mut self.record) {
            Ok(false) => Ok(None),
            Ok(true) => {
                self.row += 1;
                Ok(Some(Row { table: self }))
            }
            Err(e) => Err(self.read_error(e)),
        }
    }

    fn read_error(&mut self, error: csv::Error) -> Error {
        let path = self.path.clone();
        let row = self.row;
        match error.into_kind() {
            csv::ErrorKind::Io(source) => match source.kind() {
                std::io::ErrorKind::UnexpectedEof => Error::Compressed { path, row, what: "ends too early" },
                std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData => {
                    Error::Compressed { path, row, what: "is damaged" }
                }
                _ => Error::at("read", &path)(source),
            },
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                let what = format!("{len} columns where the header has {expected_len}{}", self.where_it_ends(len));
                Error::Row { path, row: row + 1, what }
            }
            _ => Error::Row { path, row: row + 1, what: "not valid CSV".into() },
        }
    }

    /// The column at which a row of `length` cells is too short or too long.
    fn where_it_ends(&mut self, length: u64) -> String {
        let names = self.reader.byte_headers().map(column_names).unwrap_or_default();
        match (names.get(length as usize), names.last()) {
            (Some(missing), _) => format!(": `{missing}` is the first that is missing"),
            (None, Some(last)) => format!(": there is more after `{last}`"),
            (None, None) => String::new(),
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
        let unpacked = self.reader.into_inner();
        let bytes = unpacked.bytes.load(Ordering::Relaxed);
        let whole = unpacked.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        if whole.ends_in_a_cell() {
            return Err(Error::Row {
                path: self.path,
                row: self.row,
                what: "the file ends inside a quoted cell".into(),
            });
        }
        Ok(InputFile {
            name: self.path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
            bytes,
            rows: self.row,
            blake3: whole.hash.to_hex().to_string(),
            content_blake3: whole.content.to_hex().to_string(),
        })
    }
}

/// One row; cells by the order in which the columns were asked for.
pub struct Row<'a> {
    table: &'a Table,
}

const HINT_ID: &str = "whole numbers are expected here; an editor may have changed the file";
const HINT_TIME: &str = "times look like 2151-07-16 13:45:00; an editor may have changed the file";

impl Row<'_> {
    /// The bytes of a cell; empty where an optional column is absent.
    pub fn bytes(&self, column: usize) -> &[u8] {
        self.table.places[column].and_then(|place| self.table.record.get(place)).unwrap_or_default()
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
    pub fn wrong(&self, column: usize, what: &'static str, hint: &'static str) -> Error {
        Error::Cell {
            path: self.table.path.clone(),
            row: self.table.row,
            column: self.table.names[column].clone(),
            what,
            hint,
        }
    }

    /// Bytes of the file that were read so far, some of them ahead of this row.
    pub fn bytes_read(&self) -> u64 {
        self.table.reader.get_ref().bytes.load(Ordering::Relaxed)
    }

    /// The number of this row, from 1.
    pub fn index(&self) -> u64 {
        self.table.row
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

fn column_names(header: &csv::ByteRecord) -> Vec<String> {
    let name = |h: &[u8]| String::from_utf8_lossy(h).trim_start_matches('\u{feff}').trim_matches('"').to_string();
    header.iter().map(name).collect()
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
