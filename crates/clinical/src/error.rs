//! What can go wrong, and where.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

const HINT_ROW: &str = "the file may be cut off or edited: compare its checksum with the published one, or write it again with a \
                        program that puts text in quotes";

fn named(path: &Path) -> String {
    shown(&path.to_string_lossy())
}

/// What a message may show of a foreign name: no control characters.
pub(crate) fn shown(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { c.escape_debug().to_string() } else { c.to_string() }).collect()
}

fn place(row: u64) -> String {
    if row == 0 { "header".into() } else { format!("row {row}") }
}

/// An error that says what happened, in which file, row and column, and what to do about it.
///
/// No variant carries a cell's value: a value may be a patient's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] clinpeft_files::Error),
    /// A table is not in its folder.
    #[error("`{}`: no file `{name}.csv` or `{name}.csv.gz`\nhint: {hint}", named(folder))]
    MissingTable {
        /// Where it was looked for.
        folder: PathBuf,
        /// The table's name.
        name: String,
        /// What to do.
        hint: &'static str,
    },
    /// Two files claim to be one table.
    #[error(
        "`{}`: both `{first}` and `{second}` are there\nhint: keep one of them; they are files of the same table",
        named(folder)
    )]
    TwoFiles {
        /// Where they are.
        folder: PathBuf,
        /// One file.
        first: String,
        /// The other.
        second: String,
    },
    /// A table lacks a column.
    #[error("`{}`: no column `{column}`; {instead}\nhint: {hint}", named(path))]
    MissingColumn {
        /// The table.
        path: PathBuf,
        /// The column that is needed.
        column: String,
        /// What there is in its place: the nearest name, unless it may be a patient's value.
        instead: String,
        /// What to do.
        hint: &'static str,
    },
    /// A name of a column that is wanted stands twice in the header.
    #[error("`{}`: two columns `{column}`\nhint: rename or remove one of them", named(path))]
    TwoColumns {
        /// The table.
        path: PathBuf,
        /// The name.
        column: String,
    },
    /// A table belongs to another collection or version.
    #[error(
        "`{}`: {found}, where {expected} is expected\nhint: give the folder of {expected}; the others have other rules",
        named(path)
    )]
    Version {
        /// The table.
        path: PathBuf,
        /// The collection that is needed.
        expected: &'static str,
        /// What it is instead.
        found: &'static str,
    },
    /// A cell does not hold what its column promises.
    #[error("`{}`: row {row}, column `{column}`: {what}\nhint: {hint}", named(path))]
    Cell {
        /// The table.
        path: PathBuf,
        /// Data row, counted from 1 after the header.
        row: u64,
        /// The column.
        column: String,
        /// What is wrong with it, without the value.
        what: &'static str,
        /// What to do.
        hint: Cow<'static, str>,
    },
    /// A row cannot be taken apart.
    #[error("`{}`: {}: {what}\nhint: {HINT_ROW}", named(path), place(*row))]
    Row {
        /// The table.
        path: PathBuf,
        /// Data row, counted from 1 after the header; 0 is the header.
        row: u64,
        /// What is wrong.
        what: String,
    },
    /// A compressed file ends early or is damaged.
    #[error(
        "`{}`: the compressed data {what} after row {row}\nhint: download the file again and compare its checksum with the published one",
        named(path)
    )]
    Compressed {
        /// The table.
        path: PathBuf,
        /// Last data row that was read whole.
        row: u64,
        /// `ends too early` or `is damaged`.
        what: &'static str,
    },
    /// A table that cannot be empty has a header and no row.
    #[error(
        "`{}`: no row follows the header\nhint: the file may be cut off; compare its checksum with the published one",
        named(path)
    )]
    NoRows {
        /// The table.
        path: PathBuf,
    },
    /// Somebody asked for an end.
    #[error("stopped before the end; nothing was written\nhint: start again to make the folder")]
    Stopped,
    /// Nothing is left for one part of a task.
    #[error("task `{task}`: no sample is left in `{split}`\nhint: {hint}")]
    EmptySplit {
        /// The task, or `adaptation`.
        task: &'static str,
        /// The part that is empty.
        split: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// A number of the cohort's specification makes no sense.
    #[error("cohort specification, key `{key}`: {what}\nhint: correct the value of `{key}`")]
    Spec {
        /// The key.
        key: &'static str,
        /// What is wrong.
        what: &'static str,
    },
    /// The options contradict each other.
    #[error("{what}\nhint: {hint}")]
    Options {
        /// What is wrong.
        what: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// A name that is not one of the known ones.
    #[error("there is no {kind} `{name}`\nhint: one of {known}")]
    UnknownName {
        /// What is named: task, split, fidelity.
        kind: &'static str,
        /// The name.
        name: String,
        /// The names that exist.
        known: &'static str,
    },
    /// The operating system gives no random numbers.
    #[error(
        "the operating system gives no random numbers: {why}\nhint: try again later; a system that has just started may need time"
    )]
    Random {
        /// What it says.
        why: String,
    },
    /// A dataset folder has no key for its ids.
    #[error("`{}` {what}\nhint: prepare the dataset folder again; this key makes the ids of predictions", named(path))]
    IdKey {
        /// Where it should be.
        path: PathBuf,
        /// `not found` or `damaged`.
        what: &'static str,
    },
    /// Two parts of a dataset folder contradict each other.
    #[error("`{}`: {what}\nhint: prepare the dataset folder again", named(path))]
    Inconsistent {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
}

impl Error {
    /// Turns an [`std::io::Error`] into one that names the path.
    pub(crate) fn at(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let wrap = clinpeft_files::at(action, path);
        move |source| Error::File(wrap(source))
    }

    /// The same for what the `csv` crate reports while writing.
    pub(crate) fn csv_at(path: &Path) -> impl FnOnce(csv::Error) -> Error {
        let path = path.to_path_buf();
        move |source| {
            let source = match source.into_kind() {
                csv::ErrorKind::Io(source) => source,
                other => std::io::Error::other(format!("{other:?}")),
            };
            Error::at("write", &path)(source)
        }
    }
}
