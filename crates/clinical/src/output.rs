//! Streaming writers of `.csv` and `.csv.gz` tables.

use crate::error::{Error, Result};
use crate::table::LONGEST_ROW;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

const BUFFER: usize = 1 << 18;

/// Bytes on their way to a file, compressed where its name says so.
pub(crate) enum Sink<W: Write> {
    /// As they are.
    Plain(W),
    /// Through gzip.
    Gzip(Box<flate2::write::GzEncoder<W>>),
}

/// A file that is hashed while it is written.
pub(crate) struct Hashed {
    file: File,
    hasher: blake3::Hasher,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl Sink<BufWriter<Hashed>> {
    /// Creates the file and the folders above it.
    pub fn create(path: &Path) -> Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(Error::at("create folder", folder))?;
        }
        let file = File::create(path).map_err(Error::at("write", path))?;
        let hashed = Hashed { file, hasher: blake3::Hasher::new() };
        Ok(Sink::new(path, BufWriter::with_capacity(BUFFER, hashed)))
    }
}

impl<W: Write> Sink<W> {
    /// Bytes of a file of this name.
    pub fn new(name: &Path, writer: W) -> Sink<W> {
        if name.extension().is_some_and(|e| e == "gz") {
            Sink::Gzip(Box::new(flate2::GzBuilder::new().write(writer, flate2::Compression::fast())))
        } else {
            Sink::Plain(writer)
        }
    }

    /// Writes the end of the compressed stream and everything that is buffered.
    pub fn finish(self) -> std::io::Result<W> {
        let mut writer = match self {
            Sink::Plain(writer) => writer,
            Sink::Gzip(encoder) => encoder.finish()?,
        };
        writer.flush()?;
        Ok(writer)
    }
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Sink::Plain(file) => file.write(bytes),
            Sink::Gzip(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Sink::Plain(file) => file.flush(),
            Sink::Gzip(encoder) => encoder.flush(),
        }
    }
}

/// A CSV file that is being written into a folder which is not yet visible under its name.
pub(crate) struct Output {
    path: PathBuf,
    writer: csv::Writer<Sink<BufWriter<Hashed>>>,
    rows: u64,
}

impl Output {
    /// Creates the file with its header; compressed if the name ends in `.gz`.
    pub fn create(path: &Path, header: &[&str]) -> Result<Output> {
        let mut writer = csv::WriterBuilder::new().buffer_capacity(BUFFER).from_writer(Sink::create(path)?);
        writer.write_record(header).map_err(Error::csv_at(path))?;
        Ok(Output { path: path.into(), writer, rows: 0 })
    }

    /// Writes one row. Errors if it is longer than the reader takes.
    pub fn row<T: AsRef<[u8]>>(&mut self, cells: impl IntoIterator<Item = T>) -> Result<()> {
        self.rows += 1;
        let mut bytes = 0;
        for cell in cells {
            bytes += cell.as_ref().len();
            self.writer.write_field(cell).map_err(Error::csv_at(&self.path))?;
        }
        if bytes > LONGEST_ROW {
            let what = format!("would have {bytes} bytes, more than {LONGEST_ROW}; its notes are too long");
            return Err(Error::Row { path: self.path.clone(), row: self.rows, what });
        }
        self.writer.write_record(None::<&[u8]>).map_err(Error::csv_at(&self.path))
    }

    /// Data rows written so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Writes out what is buffered and closes the file; tells where it is and the BLAKE3 of its bytes.
    pub fn finish(self) -> Result<(PathBuf, String)> {
        let path = self.path;
        // The writer's error holds the writer too; its kind is what a hint goes by.
        let why = |source: &std::io::Error| std::io::Error::new(source.kind(), source.to_string());
        let sink = self.writer.into_inner().map_err(|e| Error::at("write", &path)(why(e.error())))?;
        let written = sink.finish().map_err(Error::at("write", &path))?;
        let hash = written.get_ref().hasher.finalize().to_hex().to_string();
        Ok((path, hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_could_not_be_read_again_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut output = Output::create(&dir.path().join("t.csv"), &["a", "b"]).unwrap();
        output.row(["1", &"x".repeat(LONGEST_ROW - 1)]).unwrap();
        let error = output.row(["1", &"x".repeat(LONGEST_ROW)]).unwrap_err().to_string();
        assert!(error.contains("row 2: would have 67108865 bytes") && error.contains("\nhint: "), "{error}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_an_error_with_a_hint() {
        let full = Path::new("/dev/full");
        let mut short = Output::create(full, &["a"]).unwrap();
        short.row(["1"]).unwrap();
        let mut long = Output::create(full, &["a"]).unwrap();
        let errors = [short.finish().map(|_| ()), long.row(["x".repeat(4 * BUFFER)])];
        for error in errors.map(|e| e.unwrap_err().to_string()) {
            assert!(error.contains("`/dev/full`") && error.contains("\nhint: free some space"), "{error}");
        }
    }
}
