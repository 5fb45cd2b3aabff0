//! Errors of adapters.

use std::path::PathBuf;

/// What can go wrong with adapters.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// In the model.
    #[error(transparent)]
    Model(#[from] clinpeft_nn::Error),
    /// On the tape or in an operation.
    #[error(transparent)]
    Autodiff(#[from] clinpeft_autodiff::Error),
    /// In a weight file.
    #[error(transparent)]
    Weights(#[from] clinpeft_weights::Error),
    /// In a file.
    #[error(transparent)]
    File(#[from] clinpeft_files::Error),
    /// In an operation.
    #[error(transparent)]
    Tensor(#[from] clinpeft_tensor::Error),
    /// A setting that cannot be.
    #[error("adapter: {0}")]
    Config(String),
    /// A target that no layer of the model has.
    #[error("adapter: no linear layer matches the target `{}`{}", target.escape_debug(), hint(nearest))]
    NoTarget {
        /// The target.
        target: String,
        /// The most similar layer.
        nearest: Option<String>,
    },
    /// A file of another method or version.
    #[error("`{}`: {what}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A weight that is infinite, or not a number.
    #[error(
        "adapter: `{name}` is not finite {when}\nhint: the adapter's training diverged, or its scale is too large; take another one"
    )]
    NotFinite {
        /// The tensor.
        name: String,
        /// Where it was looked at.
        when: &'static str,
    },
    /// A name that breaks the rule of [`crate::AdapterName`].
    #[error(
        "adapter: `{0}` is no name of an adapter\nhint: letters, digits, `_`, `-` and `.`; 1 to 64 of them; no dot at the beginning"
    )]
    Name(String),
    /// Two adapters whose names, or those of their parameters, cannot be told apart.
    #[error(
        "adapter: the stack has `{there}`, from which `{name}` cannot be told\nhint: give the second one another name"
    )]
    Duplicate {
        /// The second.
        name: String,
        /// The one that is there.
        there: String,
    },
    /// An adapter that the stack lacks.
    #[error("adapter: the stack has none called `{name}`{}", hint(nearest))]
    Unknown {
        /// The name.
        name: String,
        /// The most similar one.
        nearest: Option<String>,
    },
    /// A trainable adapter that no gradient reached.
    #[error(
        "adapter `{name}` is trainable but received no gradient ({why})\nhint: make it active, or set `trainable = false`"
    )]
    NoGradient {
        /// Its name.
        name: String,
        /// What is known of the cause.
        why: &'static str,
    },
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

fn hint(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|n| format!("\nhint: the nearest name is `{n}`")).unwrap_or_default()
}
