//! Notes of one's own: the one reader of CSV files that a person wrote.

use crate::error::{Error, Result};
use crate::table::{InputFile, Quotes, Row, Table};
use std::borrow::Cow;
use std::path::Path;

/// Bytes that one cell of a file of one's own may have: 16 MiB.
const LONGEST_CELL: usize = 16 << 20;

const HINT_COLUMN: &str =
    "the first line names the columns: id, text, for a task label, and if you like subject and split";
const HINT_TEXT: &str = "one row is one note; split this text, or look for a missing quote";

/// A `.csv` or `.csv.gz` of one's own, read row by row; see the limits of a row in `prepare`'s tables: 64 MiB, 10,000 cells.
///
/// Unlike the raw tables, whose oddities are known, it must be whole: text behind a closing quote, the end of the file inside of
/// quotes or a row of another length is an error that names the row. No error shows a value.
///
/// ```
/// use clinpeft_clinical::OwnNotes;
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("notes.csv");
/// std::fs::write(&path, "id,text\n7,\"CHIEF COMPLAINT: cough,\n fever\"\n")?;
/// let mut notes = OwnNotes::open(&path, &["id", "text"], &["label"])?;
/// assert!(!notes.has(2));
/// while let Some(note) = notes.next_note()? {
///     assert_eq!((note.text(0)?, note.text(2)?), ("7", ""));
/// }
/// assert_eq!(notes.finish()?.rows, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct OwnNotes {
    table: Table,
}

/// One row; cells by the order in which the columns were asked for.
pub struct OwnNote<'a> {
    row: Row<'a>,
}

impl OwnNotes {
    /// Opens a file for the columns in `required` then `optional`; others are ignored. Errors if a required column is missing or
    /// two columns have one name.
    pub fn open(path: &Path, required: &[&str], optional: &[&str]) -> Result<OwnNotes> {
        let table = Table::open_with(path, Quotes::Strict, required, optional).map_err(|error| match error {
            Error::MissingColumn { path, column, instead, .. } => {
                Error::MissingColumn { path, column, instead, hint: HINT_COLUMN }
            }
            other => other,
        })?;
        match table.repeated() {
            Some(column) => Err(Error::TwoColumns { path: path.into(), column: column.into() }),
            None => Ok(OwnNotes { table }),
        }
    }

    /// Whether the file has an optional column.
    pub fn has(&self, column: usize) -> bool {
        self.table.has(column)
    }

    /// The next row.
    pub fn next_note(&mut self) -> Result<Option<OwnNote<'_>>> {
        Ok(self.table.next_row()?.map(|row| OwnNote { row }))
    }

    /// Reads what is left and tells what was read. Errors if there was no row.
    pub fn finish(self) -> Result<InputFile> {
        self.table.finish_some()
    }
}

impl OwnNote<'_> {
    /// A cell; empty where an optional column is absent. Errors if it is not UTF-8 or longer than 16 MiB.
    pub fn text(&self, column: usize) -> Result<&str> {
        if self.row.bytes(column).len() > LONGEST_CELL {
            return Err(self.wrong(column, "longer than 16 MiB", HINT_TEXT));
        }
        self.row.text(column)
    }

    /// The number of the row, from 1.
    pub fn index(&self) -> u64 {
        self.row.index()
    }

    /// An error at a cell of this row.
    pub fn wrong(&self, column: usize, what: &'static str, hint: impl Into<Cow<'static, str>>) -> Error {
        self.row.wrong(column, what, hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use csv::{QuoteStyle, Terminator, WriterBuilder};
    use proptest::prelude::*;

    fn read(path: &Path) -> Result<Vec<[String; 3]>> {
        let mut notes = OwnNotes::open(path, &["id", "text"], &["label"])?;
        let mut rows = Vec::new();
        while let Some(note) = notes.next_note()? {
            rows.push([note.text(0)?.into(), note.text(1)?.into(), note.text(2)?.into()]);
        }
        notes.finish()?;
        Ok(rows)
    }

    fn said(content: impl AsRef<[u8]>) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes.csv");
        std::fs::write(&path, content).unwrap();
        let said = read(&path).unwrap_err().to_string();
        assert!(said.contains("notes.csv") && said.matches("\nhint: ").count() == 1, "{said}");
        assert!(!said.contains("secret"), "{said}");
        said
    }

    #[test]
    fn a_missing_quote_is_an_error_at_its_row_and_swallows_nothing() {
        for (content, what) in [
            ("id,text\n1,a\n2,\"secret\n3,\"b\"\n", "row 2: a quoted cell begins there"),
            ("id,text\n1,a\n2,\"secret\n3,b\n", "row 2: the file ends inside a quoted cell"),
            ("id,text\n1,\"secret", "row 1: the file ends inside a quoted cell"),
            ("id,text\n1,a\n2,secret,more\n", "row 2: 3 columns where the header has 2"),
            ("id,\"text\n1,secret\n", "header: the file ends inside a quoted cell"),
            ("id,note\n1,secret\n", "no column `text`"),
            ("id,text,text\n1,secret,a\n", "two columns `text`"),
            ("id,text\n", "no row follows"),
        ] {
            assert!(said(content).contains(what), "{}", said(content));
        }
        let hint = said("id,note\n1,x\n");
        assert!(hint.contains("for a task label"), "{hint}");
        assert!(said(b"id,text\n1,a\n2,\xff\n").contains("row 2, column `text`: not UTF-8"));
    }

    #[test]
    fn a_text_of_50_megabytes_is_an_error_at_its_row() {
        let long = ["id,text\n1,a\n2,\"", &"secret ".repeat(7_000_000), "\"\n"].concat();
        assert!(said(long).contains("row 2, column `text`: longer than 16 MiB"));
    }

    #[test]
    fn a_short_file_that_unpacks_to_an_endless_row_is_an_error_before_it_is_in_memory() {
        use std::io::Write;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes.csv.gz");
        let file = std::fs::File::create(&path).unwrap();
        let mut packed = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        packed.write_all(b"id,text\n1,a\n2,\"").unwrap();
        let block = vec![b'x'; 1 << 20];
        for _ in 0..300 {
            packed.write_all(&block).unwrap();
        }
        packed.finish().unwrap();
        let said = read(&path).unwrap_err().to_string();
        assert!(said.contains("row 2: more than 67108864 bytes in one row"), "{said}");
    }

    proptest! {
        #[test]
        fn whatever_a_csv_writer_writes_is_read_as_it_was(
            rows in prop::collection::vec(["([\"\\n\\r, a\0]|\\PC){1,9}", "([\"\\n\\r, a\0]|\\PC){0,9}", "\\PC{0,3}"], 1..9),
            style in 0..3usize, ends in 0..2usize, mark in any::<bool>(), packed in any::<bool>(),
        ) {
            let style = [QuoteStyle::Always, QuoteStyle::Necessary, QuoteStyle::NonNumeric][style];
            let ends = [Terminator::CRLF, Terminator::Any(b'\n')][ends];
            let bytes = if mark { "\u{feff}".as_bytes().to_vec() } else { Vec::new() };
            let mut writer = WriterBuilder::new().quote_style(style).terminator(ends).from_writer(bytes);
            writer.write_record(["id", "text", "label"]).unwrap();
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let bytes = writer.into_inner().unwrap();
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(if packed { "notes.csv.gz" } else { "notes.csv" });
            let mut sink = crate::output::Sink::new(&path, std::fs::File::create(&path).unwrap());
            std::io::Write::write_all(&mut sink, &bytes).unwrap();
            sink.finish().unwrap();
            prop_assert_eq!(read(&path).unwrap(), rows);
        }
    }
}
