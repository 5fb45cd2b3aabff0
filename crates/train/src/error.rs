//! Errors of training.

use std::path::PathBuf;

/// What can go wrong in training.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// In the model.
    #[error(transparent)]
    Model(#[from] clinpeft_nn::Error),
    /// In an adapter.
    #[error(transparent)]
    Adapter(#[from] clinpeft_peft::Error),
    /// On the tape.
    #[error(transparent)]
    Autodiff(#[from] clinpeft_autodiff::Error),
    /// In an operation.
    #[error(transparent)]
    Tensor(#[from] clinpeft_tensor::Error),
    /// In a weight file.
    #[error(transparent)]
    Weights(#[from] clinpeft_weights::Error),
    /// In tokens or batches.
    #[error(transparent)]
    Text(#[from] clinpeft_text::Error),
    /// In a file.
    #[error(transparent)]
    File(#[from] clinpeft_files::Error),
    /// Settings that cannot be.
    #[error("training: {0}")]
    Settings(String),
    /// A setting that cannot be.
    #[error("training: `{key}` = {value}, but it must be {expected}\nhint: change `{key}` in the settings of the run")]
    Setting {
        /// Its key.
        key: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A file of the run is not as it was written.
    #[error("`{}` is damaged: {what}\nhint: remove the run's `checkpoint` folder to start again", path.display())]
    Damaged {
        /// The checkpoint or the event file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Told to stop in the middle of an evaluation.
    #[error("stopped\nhint: run the same command again to continue")]
    Stopped,
    /// The loss is not a number.
    #[error(
        "training: the loss of step {step} is {loss}\nhint: lower the learning rate; the last good state is in the checkpoint"
    )]
    NotFinite {
        /// Which optimizer step, from 0.
        step: u64,
        /// What it was.
        loss: f64,
    },
    /// The checkpoint belongs to another run.
    #[error("checkpoint: {0}\nhint: remove the run's `checkpoint` folder to start again")]
    Checkpoint(String),
    /// A validation or evaluation of the caller failed.
    #[error("{0}")]
    Evaluation(String),
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
