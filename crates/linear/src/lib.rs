//! Bag of words: TF-IDF and L2 logistic regression on sparse matrices.
//!
//! - [`TfidfVectorizer`] computes what scikit-learn's class of that name does with `ngram_range=(1, 2)` and `sublinear_tf=True`.
//! - [`LogisticPath`] fits scikit-learn's `LogisticRegression` for one value of `C` after another, each from the solution before:
//!   one problem for each label of a set, or one softmax over classes. Both are minimised by L-BFGS of the crate `argmin`.
//! - Knows no tensors, no files and no clinical terms. The same input gives the same bits at any number of threads.
//!
//! ```
//! use clinpeft_linear::{LogisticPath, Target, TfidfSettings, TfidfVectorizer};
//! use std::sync::atomic::AtomicBool;
//!
//! let notes = ["chest pain", "no chest pain", "fever", "no fever"];
//! let vectorizer = TfidfVectorizer::fit(&notes, TfidfSettings { min_df: 1, max_features: 100 })?;
//! let features = vectorizer.transform(&notes);
//! let pain = Target::OneVsRest { sets: vec![vec![0], vec![0], vec![], vec![]], count: 1 };
//! let stop = AtomicBool::new(false);
//! let mut path = LogisticPath::new(&features, &pain, &stop)?;
//! path.fit(10.0)?;
//! let scores = path.model().decision_function(&vectorizer.transform(&["pain", "fever"]));
//! assert!(scores[0] > 0.0 && scores[1] < 0.0);
//! # Ok::<(), clinpeft_linear::Error>(())
//! ```

mod error;
mod logistic;
mod objective;
mod sparse;
mod tfidf;
mod weights;

pub use error::{Error, Result};
pub use logistic::{LogisticPath, LogisticRegression, Target};
pub use sparse::SparseMatrix;
pub use tfidf::{TfidfSettings, TfidfVectorizer};
