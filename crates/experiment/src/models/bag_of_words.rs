//! A bag of words with its classifier, in the folder `model` of its run.
//!
//! | file | content |
//! |---|---|
//! | `model.safetensors` | `coef` f32 `[outputs, features]`, `intercept` f32 `[outputs]`, `idf` f32 `[features]` |
//! | `vocabulary.json` | the terms, one for each feature: words of the training notes, so only the owner may read it |
//! | `config.json` | `labels`: names of the classes or labels; `c` |
//!
//! A binary task has one output, the logit of its second class.

use crate::error::{Error, Result};
use clinpeft_linear::{LogisticRegression, TfidfVectorizer};
use clinpeft_train::Scores;
use clinpeft_weights::{Checkpoint, Dtype, Raw, encode_raw};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

const MODEL: &str = "model.safetensors";
const VOCABULARY: &str = "vocabulary.json";
const CONFIG: &str = "config.json";

/// Words, their weights, and what they stand for.
pub(crate) struct BagOfWordsModel {
    pub vectorizer: TfidfVectorizer,
    pub classifier: LogisticRegression,
    pub config: BagOfWordsConfig,
}

/// `config.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BagOfWordsConfig {
    model_type: String,
    pub labels: Vec<String>,
    /// Inverse strength of the regularisation.
    c: f64,
}

impl BagOfWordsConfig {
    pub fn new(labels: Vec<String>, c: f64) -> BagOfWordsConfig {
        BagOfWordsConfig { model_type: "bag_of_words".into(), labels, c }
    }
}

impl BagOfWordsModel {
    /// The logits of texts, a column for each class or label.
    pub fn scores<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Scores {
        scores(&self.classifier, self.config.labels.len(), &self.vectorizer.transform(texts))
    }

    /// Writes the folder, whole or not at all.
    pub fn save(self, folder: &Path) -> Result<()> {
        let BagOfWordsModel { vectorizer, classifier, config } = self;
        let pending = clinpeft_files::commit_dir(folder, clinpeft_files::Access::Shared)?;
        let (outputs, features) = (classifier.outputs(), vectorizer.terms().len());
        let terms =
            serde_json::to_string(vectorizer.terms()).map_err(|e| Error::Options(format!("vocabulary: {e}")))?;
        clinpeft_files::write_private(&pending.path().join(VOCABULARY), terms + "\n")?;
        clinpeft_files::write_json(&pending.path().join(CONFIG), &config)?;
        let raw = |dims: &[usize], values: &[f32]| Raw {
            dtype: Dtype::F32,
            dims: dims.to_vec(),
            bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        };
        let (idf, intercept) = (raw(&[features], vectorizer.idf()), raw(&[outputs], &classifier.intercepts()));
        let coefficients = classifier.coefficients();
        // With many labels each of these is a gigabyte.
        drop(classifier);
        let coef = raw(&[outputs, features], &coefficients);
        drop(coefficients);
        let path = pending.path().join(MODEL);
        let entries =
            [("coef", coef), ("intercept", intercept), ("idf", idf)].map(|(name, raw)| (name.to_string(), raw));
        let bytes = encode_raw(&path, &entries.into(), &BTreeMap::new())?;
        clinpeft_files::write_atomic(&path, bytes)?;
        Ok(pending.commit()?)
    }

    /// Reads the folder. Errors if it is not as it was written.
    pub fn load(folder: &Path) -> Result<BagOfWordsModel> {
        clinpeft_files::verify(folder)?;
        let config: BagOfWordsConfig = clinpeft_files::read_json(&folder.join(CONFIG))?;
        let terms: Vec<String> = clinpeft_files::read_json(&folder.join(VOCABULARY))?;
        let file = Checkpoint::open_file(&folder.join(MODEL))?;
        file.verify()?;
        let values = |name: &str| -> Result<Vec<f32>> {
            let raw = file.raw(name)?;
            Ok(raw.bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
        };
        let vectorizer = TfidfVectorizer::from_parts(terms, values("idf")?)?;
        let features = vectorizer.terms().len();
        let classifier = LogisticRegression::from_parts(features, &values("coef")?, &values("intercept")?)?;
        if classifier.outputs() != config.labels.len() && (classifier.outputs(), config.labels.len()) != (1, 2) {
            let what =
                "as many labels as the model has outputs are needed\nhint: the folder was changed; make the run again";
            return Err(Error::Config { path: folder.join(CONFIG), what: what.into() });
        }
        Ok(BagOfWordsModel { vectorizer, classifier, config })
    }
}

/// The logits of rows for so many labels; of two classes with one output the first has the logit 0.
pub(crate) fn scores(classifier: &LogisticRegression, labels: usize, rows: &clinpeft_linear::SparseMatrix) -> Scores {
    let logits = classifier.decision_function(rows).into_iter().map(f64::from);
    let logits = match (classifier.outputs(), labels) {
        (1, 2) => logits.flat_map(|z| [0.0, z]).collect(),
        _ => logits.collect(),
    };
    Scores { logits, columns: labels }
}
