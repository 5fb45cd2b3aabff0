//! What can go wrong while reporting.

/// What can go wrong while reporting; a run that cannot be read is no error but a cell that says so.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error(transparent)]
    File(#[from] clinpeft_files::Error),
    /// A file of predictions could not be read or written.
    #[error(transparent)]
    Weights(#[from] clinpeft_weights::Error),
    /// A published table does not parse: the program was built from changed files.
    #[error("datasets/published/{file}: {what}\nhint: restore the file from the repository and build again")]
    Published {
        /// Name of the file.
        file: &'static str,
        /// Where and what is wrong.
        what: String,
    },
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
