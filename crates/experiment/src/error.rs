//! Errors of the program.

use std::path::PathBuf;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// In training.
    #[error(transparent)]
    Train(clinpeft_train::Error),
    /// In the data.
    #[error(transparent)]
    Clinical(clinpeft_clinical::Error),
    /// In a model.
    #[error(transparent)]
    Model(#[from] clinpeft_nn::Error),
    /// In an adapter.
    #[error(transparent)]
    Adapter(#[from] clinpeft_peft::Error),
    /// In a weight file.
    #[error(transparent)]
    Weights(#[from] clinpeft_weights::Error),
    /// In tokens.
    #[error(transparent)]
    Text(#[from] clinpeft_text::Error),
    /// In a metric.
    #[error(transparent)]
    Metrics(clinpeft_metrics::Error),
    /// In the report.
    #[error(transparent)]
    Report(#[from] clinpeft_report::Error),
    /// In a bag of words.
    #[error(transparent)]
    Linear(clinpeft_linear::Error),
    /// In a file.
    #[error(transparent)]
    File(#[from] clinpeft_files::Error),
    /// A TOML file that is not what it should be.
    #[error("`{}`: {what}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where in it.
        what: String,
    },
    /// Data could not be written to standard output.
    #[error("cannot write to standard output: {0}")]
    Output(#[source] std::io::Error),
    /// Options that do not go together.
    #[error("{0}")]
    Options(String),
    /// The run was told to stop; its checkpoint is written.
    #[error("stopped; run the same command again to continue")]
    Stopped,
    /// Some cells failed; the report shows which.
    #[error(
        "{failed} of {total} runs failed: {first}\nhint: the report shows them; `log.txt` in a run folder says more; the same command tries them again"
    )]
    Failed {
        /// How many.
        failed: usize,
        /// Of how many.
        total: usize,
        /// The first of them with its error.
        first: String,
    },
}

impl From<clinpeft_train::Error> for Error {
    fn from(error: clinpeft_train::Error) -> Error {
        match error {
            clinpeft_train::Error::Stopped => Error::Stopped,
            other => Error::Train(other),
        }
    }
}

impl From<clinpeft_metrics::Error> for Error {
    fn from(error: clinpeft_metrics::Error) -> Error {
        match error {
            clinpeft_metrics::Error::Stopped => Error::Stopped,
            other => Error::Metrics(other),
        }
    }
}

impl From<clinpeft_linear::Error> for Error {
    fn from(error: clinpeft_linear::Error) -> Error {
        match error {
            clinpeft_linear::Error::Stopped => Error::Stopped,
            other => Error::Linear(other),
        }
    }
}

impl From<clinpeft_clinical::Error> for Error {
    fn from(error: clinpeft_clinical::Error) -> Error {
        match error {
            clinpeft_clinical::Error::Stopped => Error::Stopped,
            other => Error::Clinical(other),
        }
    }
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
