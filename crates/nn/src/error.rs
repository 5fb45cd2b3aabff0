//! Errors of layers.

/// What can go wrong in a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// On the tape or in an operation.
    #[error(transparent)]
    Autodiff(#[from] clinpeft_autodiff::Error),
    /// In an operation on tensors.
    #[error(transparent)]
    Tensor(#[from] clinpeft_tensor::Error),
    /// In a weight file.
    #[error(transparent)]
    Weights(#[from] clinpeft_weights::Error),
    /// A configuration that no model can have.
    #[error("configuration: {0}")]
    Config(String),
    /// A batch that cannot be run.
    #[error("batch: {0}")]
    Batch(String),
    /// Adapters that do not fit the model.
    #[error("adapter: {0}")]
    Adapter(String),
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
