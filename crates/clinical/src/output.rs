//! Streaming writers of `.csv` and `.csv.gz` tables.

use crate::error::{Error, Result};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

const BUFFER: usize = 1 << 18;

/// Bytes on their way to a file, compressed where its name says so.
pub(crate) enum Sink {
    /// As they are.
    Plain(BufWriter<File>),
    /// Through gzip.
    Gzip(Box<flate2::write::GzEncoder<BufWriter<File>>>),
}

impl Sink {
    /// Creates the file and the folders above it.
    pub fn create(path: &Path) -> Result<Sink> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(Error::at("create folder", folder))?;
        }
        let file = File::create(path).map_err(Error::at("write", path))?;
        let file = BufWriter::with_capacity(BUFFER, file);
        Ok(if path.extension().is_some_and(|e| e == "gz") {
            let level = flate2::Compression::fast();
            Sink::Gzip(Box::new(flate2::GzBuilder::new().write(file, level)))
        } else {
            Sink::Plain(file)
        })
    }

    /// Writes the end of the compressed stream and everything that is buffered.
    pub fn finish(self) -> std::io::Result<()> {
        match self {
            Sink::Plain(mut file) => file.flush(),
            Sink::Gzip(encoder) => encoder.finish()?.flush(),
        }
    }
}

impl Write for Sink {
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
    writer: csv::Writer<Sink>,
    rows: u64,
}

impl Output {
    /// Creates the file with its header; compressed if the name ends in `.gz`.
    pub fn create(path: &Path, header: &[&str]) -> Result<Output> {
        let mut writer = csv::WriterBuilder::new().buffer_capacity(BUFFER).from_writer(Sink::create(path)?);
        writer.write_record(header).map_err(Error::csv_at(path))?;
        Ok(Output { path: path.into(), writer, rows: 0 })
    }

    /// Writes one row.
    pub fn row<T: AsRef<[u8]>>(&mut self, cells: impl IntoIterator<Item = T>) -> Result<()> {
        self.rows += 1;
        self.writer.write_record(cells).map_err(Error::csv_at(&self.path))
    }

    /// Data rows written so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Writes out what is buffered and closes the file.
    pub fn finish(self) -> Result<()> {
        let path = self.path;
        let sink =
            self.writer.into_inner().map_err(|e| Error::at("write", &path)(std::io::Error::other(e.to_string())))?;
        sink.finish().map_err(Error::at("write", &path))
    }
}
