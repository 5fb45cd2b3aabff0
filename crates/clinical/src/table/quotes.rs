//! Whether quotes of a table are whole.
//!
//! A reader that forgives everything takes a forgotten quote for the beginning of a long cell and swallows rows up to the next one.

use memchr::memchr;

/// What quotes a table may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quotes {
    /// As the published scripts read them: only the end of the file inside of a quoted cell is an error.
    Lenient,
    /// A closing quote is followed by a comma or the end of the row.
    Strict,
}

/// A quoted cell that does not end where its quotes end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadQuote {
    /// Row in which it begins, from 1; 0 is the header.
    pub row: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    File,
    Row,
    Cell,
    Plain,
    Quoted,
    Closed,
}

/// Follows the quotes through the blocks of a file.
#[derive(Debug)]
pub(super) struct Checker {
    place: Place,
    /// Rows that ended, the header among them.
    rows: u64,
}

impl Checker {
    pub fn new() -> Checker {
        Checker { place: Place::File, rows: 0 }
    }

    /// Errors at the first quoted cell that does not end where its quotes end.
    pub fn see(&mut self, mut block: &[u8]) -> Result<(), BadQuote> {
        if self.place == Place::File {
            self.place = Place::Row;
            block = block.strip_prefix(b"\xef\xbb\xbf").unwrap_or(block);
        }
        while let Some((byte, rest)) = block.split_first() {
            block = rest;
            self.place = match (self.place, byte) {
                (Place::Quoted, b'"') => Place::Closed,
                (Place::Quoted, _) => {
                    block = &block[memchr(b'"', block).unwrap_or(block.len())..];
                    Place::Quoted
                }
                (Place::Row | Place::Cell | Place::Closed, b'"') => Place::Quoted,
                (_, b',') => Place::Cell,
                (Place::Row, b'\n' | b'\r') => Place::Row,
                (_, b'\n' | b'\r') => {
                    self.rows += 1;
                    Place::Row
                }
                (Place::Closed, _) => return Err(BadQuote { row: self.rows }),
                _ => Place::Plain,
            };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use csv::{QuoteStyle, Terminator, WriterBuilder};
    use proptest::prelude::*;

    fn seen(text: &str, block: usize) -> Result<Checker, BadQuote> {
        let mut checker = Checker::new();
        text.as_bytes().chunks(block).try_for_each(|block| checker.see(block))?;
        Ok(checker)
    }

    #[test]
    fn text_behind_a_closing_quote_is_found_in_the_row_where_the_cell_begins() {
        for (text, row) in [
            ("a,b\n1,\"x\"y\n", 1),
            ("a,b\n\n1,2\r\n2,\"x\n3,\"y\"\n", 2),
            ("a,b\n1,\"x\" ,\n", 1),
            ("\"a\"b,\n", 0),
            ("a,b\n\"\"1,2\n", 1),
        ] {
            assert_eq!(seen(text, 4).unwrap_err(), BadQuote { row }, "{text:?}");
        }
        for text in ["\u{feff}\"a\",b\n", "a,b\n5\" tube,x\"y\n", "a\n\"\"\"\"\n\"\",\"\"\r\n", "\"a\r\nb\",\0\n"] {
            assert!(seen(text, 4).is_ok(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn well_formed_tables_pass(
            rows in prop::collection::vec(prop::collection::vec("([\"\\n\\r, a\0]|\\PC){0,5}", 2), 1..9),
            style in 0..3usize, ends in 0..3usize, block in 3..40usize,
        ) {
            let style = [QuoteStyle::Always, QuoteStyle::Necessary, QuoteStyle::NonNumeric][style];
            let ends = [Terminator::CRLF, Terminator::Any(b'\n'), Terminator::Any(b'\r')][ends];
            let mut writer = WriterBuilder::new().quote_style(style).terminator(ends).from_writer(Vec::new());
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            prop_assert_eq!(seen(&text, block).unwrap().rows, rows.len() as u64);
        }

        #[test]
        fn rows_are_counted_as_the_reader_counts_them(text in "[\"\\n\\r,a ]{0,30}", block in 3..9usize) {
            let text = text + "\n";
            let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
            if let Ok(checker) = seen(&text, block) {
                // A cell that never ends is a row for the reader, and an error of `Table`.
                let open = u64::from(checker.place == Place::Quoted);
                prop_assert_eq!(checker.rows + open, reader.byte_records().count() as u64);
            }
        }
    }
}
