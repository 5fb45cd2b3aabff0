//! How far reading or writing has come.

use crate::error::{Error, Result};
use crate::table::{InputFile, Row, find_table};
use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// A report on the way; `done` of `total` is in one unit throughout (bytes of the files, those that cost more counted more often, for reading; notes for writing).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The table, or the step, at work.
    pub table: &'static str,
    /// Its rows so far.
    pub rows: u64,
    /// Work done.
    pub done: u64,
    /// Work in all.
    pub total: u64,
}

/// Reports on the reading of tables whose sizes are known beforehand, and ends it when somebody asks for that.
pub(crate) struct ProgressMeter<'a> {
    report: &'a dyn Fn(Progress),
    stop: Option<&'a AtomicBool>,
    total: Cell<u64>,
    done: Cell<u64>,
}

/// What is done with the rows of a table, by what a byte of it costs: progress counts in these units, so that the time that is left
/// can be told from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// They are read, and few of them kept.
    Read = 1,
    /// Each is cleaned, compared with all held-out samples, and written.
    Rewrite = 4,
}

impl Work {
    fn of(self, bytes: u64) -> u64 {
        self as u64 * bytes
    }
}

/// Rows between two reports.
const EVERY: u64 = 8192;

impl<'a> ProgressMeter<'a> {
    /// Nothing is expected yet.
    pub fn new(report: &'a dyn Fn(Progress), stop: Option<&'a AtomicBool>) -> ProgressMeter<'a> {
        ProgressMeter { report, stop, total: Cell::new(0), done: Cell::new(0) }
    }

    /// One more reading of a table is to come; opening it tells what is wrong if it is missing.
    pub fn expect(&self, folder: &Path, table: &str, work: Work) {
        let path = find_table(folder, table).ok().flatten();
        let size = path.and_then(|path| path.metadata().ok()).map_or(0, |m| m.len());
        self.total.set(self.total.get() + work.of(size));
    }

    /// A row of an expected table.
    pub fn row(&self, table: &'static str, row: &Row<'_>, work: Work) -> Result<()> {
        match row.index().is_multiple_of(EVERY) {
            true => self.report(table, row.index(), work.of(row.bytes_read())),
            false => Ok(()),
        }
    }

    /// The end of an expected table.
    pub fn end(&self, read: &InputFile, work: Work) {
        self.done.set(self.done.get() + work.of(read.bytes));
    }

    /// A step that reads no table.
    pub fn step(&self, table: &'static str, rows: u64) -> Result<()> {
        match rows.is_multiple_of(EVERY) {
            true => self.report(table, rows, 0),
            false => Ok(()),
        }
    }

    fn report(&self, table: &'static str, rows: u64, work: u64) -> Result<()> {
        (self.report)(Progress { table, rows, done: self.done.get() + work, total: self.total.get() });
        match self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
            true => Err(Error::Stopped),
            false => Ok(()),
        }
    }
}
