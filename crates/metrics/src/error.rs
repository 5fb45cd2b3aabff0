//! What can be wrong with a request, and why a number may not exist.

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Most resamples that intervals are made of; ends of an interval move by less than rounding long before.
pub const MOST_RESAMPLES: usize = 10_000_000;

/// Why a metric has no value on this data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Undefined {
    /// Ranking metrics need both outcomes.
    #[error("every row has the label {0}; both outcomes are needed")]
    OneClass(u8),
    /// One-versus-one and one-hot averages need every class.
    #[error("class {0} does not occur; every class is needed")]
    MissingClass(usize),
    /// Per-label averages need one label with positives and negatives.
    #[error("no label has both a positive and a negative row")]
    NoLabel,
    /// A sample variance needs two patients with positives and two with negatives.
    #[error("the rarer outcome has rows of {0} patients; two are needed")]
    TooFew(usize),
    /// A mean over tokens needs a token.
    #[error("there is no token")]
    NoTokens,
}

/// What is wrong with the arguments, or why there is no number.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// Two slices do not belong together.
    #[error("{what}: expected {expected} values, found {found}\nhint: one row per example, row-major")]
    Shape {
        /// Which slice.
        what: &'static str,
        /// Its length as the labels ask for it.
        expected: usize,
        /// Its length.
        found: usize,
    },
    /// A score that cannot be ranked.
    #[error(
        "score of row {row}, column {column} is {value}\nhint: the model diverged; look at the loss in events.jsonl"
    )]
    Score {
        /// Row of the score.
        row: usize,
        /// Column of the score.
        column: usize,
        /// The score.
        value: f32,
    },
    /// A score that is no probability where one is needed.
    #[error("probability of row {row} is {value}\nhint: apply softmax or sigmoid before")]
    Probability {
        /// Row of the probability.
        row: usize,
        /// What stands there.
        value: f32,
    },
    /// A label that is not in the list.
    #[error("label of row {row}, column {column} is {value}, but must be below {limit}\nhint: check the label list")]
    Label {
        /// Row of the label.
        row: usize,
        /// Column of the label.
        column: usize,
        /// The label.
        value: u32,
        /// The labels are `0..limit`.
        limit: usize,
    },
    /// Fewer than one row or more than fit an index.
    #[error("{rows} rows: between 1 and {} are possible\nhint: check the split", u32::MAX)]
    Rows {
        /// How many rows.
        rows: usize,
    },
    /// A row of a patient who is not drawn.
    #[error("the patient of row {row} is not in the population\nhint: make the population from all rows")]
    Stranger {
        /// The row.
        row: usize,
    },
    /// Fewer columns than the kind of label needs.
    #[error("{what}: {found} columns, at least {least} are needed\nhint: check the label list")]
    Columns {
        /// What has columns.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there must be.
        least: usize,
    },
    /// A summed loss that is not a number.
    #[error("summed loss of row {row} is {value}\nhint: the model diverged; look at the loss in events.jsonl")]
    Loss {
        /// Row of the loss.
        row: usize,
        /// The loss.
        value: f64,
    },
    /// A confidence level outside (0, 1).
    #[error("confidence level {0} is not between 0 and 1\nhint: 0.95 is usual")]
    Level(f64),
    /// More resamples than [`MOST_RESAMPLES`].
    #[error("{0} resamples: at most {most} are possible\nhint: 1000 is usual", most = MOST_RESAMPLES)]
    Resamples(usize),
    /// Whoever watched the resamples ended them.
    #[error("stopped before all resamples were done\nhint: start again")]
    Stopped,
    /// The data does not define the metric.
    #[error("{metric} is undefined: {reason}")]
    Undefined {
        /// Which metric.
        metric: &'static str,
        /// Why.
        reason: Undefined,
    },
}
