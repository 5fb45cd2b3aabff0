//! Numbers for prediction models: plain slices in, estimates with intervals out.
//!
//! - Knows no tensors, no files and no clinical terms: scores are `f32` slices (row-major `n x c`), sums are `f64`.
//! - Definitions are those of scikit-learn, equal to 1e-12 on the fixtures in `tests/fixtures`.
//! - Ties are exact: the area under the ROC curve is a ratio of integers, so it depends on the order of the scores only.
//! - A metric that the data does not define is a reason ([`Undefined`]), never a silent number.
//! - Intervals resample *patients*: two admissions of one patient are never treated as independent ([`Bootstrap`]).
//!
//! | function | result |
//! |---|---|
//! | [`evaluate`], [`evaluate_watched`] | AUROC, average precision and F1 of a prediction file, each with its interval |
//! | [`perplexity`], [`perplexity_watched`] | language models |
//! | [`auroc_resampled`] | AUROC in the resamples of a population that several data sets share |
//! | [`auroc_delong_difference`] | comparison of two models on the same rows |
//! | [`Difference`], [`holm`] | p-values, and many of them |
//! | [`curves`] | ROC and precision-recall curves with bands |
//! | [`reliability`] | reliability bins, expected calibration error, Brier score |
//! | [`temperature`], [`at_temperature`] | temperature scaling |
//!
//! ```
//! use clinpeft_metrics::{Bootstrap, Labels, evaluate};
//! use clinpeft_rng::Seed;
//!
//! let died = [0, 0, 1, 1, 0, 1];
//! let score = [0.1, 0.4, 0.35, 0.8, 0.2, 0.7];
//! let patient = [7, 7, 8, 9, 10, 11];
//! let bootstrap = Bootstrap { resamples: 200, level: 0.95, seed: Seed(1234) };
//! let found = evaluate(Labels::Binary(&died), &score, &patient, &bootstrap)?;
//! let auroc = &found.metrics["auroc"];
//! assert_eq!(auroc.value, 8.0 / 9.0);
//! let interval = auroc.interval.expect("both outcomes occur in some resample");
//! assert!(interval.lo <= auroc.value && auroc.value <= interval.hi);
//! # Ok::<(), clinpeft_metrics::Error>(())
//! ```

mod bootstrap;
mod calibration;
mod comparison;
mod confusion;
mod curves;
mod delong;
mod error;
mod evaluate;
mod perplexity;
mod prepared;
mod ranking;
mod resampled;
mod temperature;

pub use bootstrap::{Bootstrap, Estimate, Interval, Population, Watch, unwatched};
pub use calibration::{Calibration, ReliabilityBin};
pub use comparison::{Difference, holm};
pub use curves::{Curve, Curves, curves};
pub use delong::auroc_delong_difference;
pub use error::{Error, MOST_RESAMPLES, Result, Undefined};
pub use evaluate::{Evaluation, evaluate, evaluate_watched};
pub use perplexity::{TextLoss, perplexity, perplexity_watched};
pub use prepared::Labels;
pub use resampled::{Resampled, auroc_resampled};
pub use temperature::{at_temperature, reliability, softmax, temperature};
