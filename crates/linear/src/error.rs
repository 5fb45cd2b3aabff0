//! What can go wrong in a fit.

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why there is no vocabulary or no model.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// No term occurs in enough texts.
    #[error("no word occurs in {min_df} training texts\nhint: give more notes")]
    NoTerm {
        /// How many texts must hold a term.
        min_df: u32,
    },
    /// A term occurs twice in a vocabulary, is empty, or has no inverse document frequency.
    #[error(
        "term {column} of the vocabulary is empty, repeated or has no idf\nhint: the vocabulary and its idf belong together"
    )]
    Vocabulary {
        /// Its column.
        column: usize,
    },
    /// A target that the rows or the solver do not allow.
    #[error("{what}: {found}, at most {limit}\nhint: {hint}")]
    Target {
        /// What is wrong.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many are allowed.
        limit: usize,
        /// What to do.
        hint: &'static str,
    },
    /// Coefficients that are not as many as outputs and features ask for.
    #[error(
        "the model has {found} coefficients, its outputs and features ask for {expected}\nhint: the file was changed"
    )]
    Shape {
        /// As many as there should be.
        expected: usize,
        /// As many as there are.
        found: usize,
    },
    /// `C` is no positive number.
    #[error("C is {0}\nhint: the inverse strength of the regularisation is a number above 0")]
    Strength(f64),
    /// The solver gave up.
    #[error("L-BFGS found no solution: {0}\nhint: a smaller C is easier")]
    Solver(String),
    /// Told to stop.
    #[error("stopped")]
    Stopped,
}
