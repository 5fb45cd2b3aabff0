//! TF-IDF of words and pairs of words, as scikit-learn's `TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)`:
//!
//! ```text
//! term     lower case; runs of two or more word characters, and two of them that follow each other
//! idf      ln((1 + n) / (1 + df)) + 1
//! value    (1 + ln tf) x idf, divided by the length of the row
//! ```

use crate::error::{Error, Result};
use crate::sparse::SparseMatrix;
use rayon::prelude::*;
use regex::Regex;
use std::collections::HashMap;
use std::sync::LazyLock;

/// Which terms are features.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TfidfSettings {
    /// Texts in which a term must occur.
    pub min_df: u32,
    /// Features at most: those that occur most often in all texts together; of equals the first in the order of the alphabet.
    pub max_features: usize,
}

/// Terms and their weights.
#[derive(Debug, Clone, PartialEq)]
pub struct TfidfVectorizer {
    terms: Vec<String>,
    idf: Vec<f32>,
    words: HashMap<String, u32>,
    columns: HashMap<Term, u32>,
}

/// A word by its number, or two of them.
type Term = (u32, u32);

/// The second word of a term that has one.
const NONE: u32 = u32::MAX;

/// How often a term occurs.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    texts: u32,
    all: u64,
}

/// `\b\w\w+\b` of Python, whose `\w` is a letter, a number or an underscore: no combining mark, as in Rust's.
static WORD: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[\p{L}\p{N}_]{2,}").unwrap_or_else(|e| unreachable!("a pattern of this file: {e}")));

impl TfidfVectorizer {
    /// Terms of the texts and their document frequencies.
    ///
    /// # Errors
    /// No term occurs in enough texts.
    pub fn fit<T: AsRef<str> + Sync>(texts: &[T], settings: TfidfSettings) -> Result<TfidfVectorizer> {
        let (mut words, mut names): (HashMap<String, u32>, Vec<String>) = (HashMap::new(), Vec::new());
        let mut counts: HashMap<Term, Count> = HashMap::new();
        for text in texts {
            let lower = text.as_ref().to_lowercase();
            let numbers = WORD.find_iter(&lower).map(|word| {
                *words.entry(word.as_str().into()).or_insert_with(|| {
                    names.push(word.as_str().into());
                    names.len() as u32 - 1
                })
            });
            for (term, times) in counted(terms(numbers.map(Some))) {
                let count = counts.entry(term).or_default();
                (count.texts, count.all) = (count.texts + 1, count.all + u64::from(times));
            }
        }
        let name = |(first, second): Term| match second {
            NONE => names[first as usize].clone(),
            _ => format!("{} {}", names[first as usize], names[second as usize]),
        };
        let mut kept: Vec<(u64, u32, String)> = counts
            .into_iter()
            .filter(|(_, count)| count.texts >= settings.min_df)
            .map(|(term, count)| (count.all, count.texts, name(term)))
            .collect();
        if kept.len() > settings.max_features {
            kept.par_sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| a.2.cmp(&b.2)));
            kept.truncate(settings.max_features);
        }
        kept.par_sort_unstable_by(|a, b| a.2.cmp(&b.2));
        if kept.is_empty() {
            return Err(Error::NoTerm { min_df: settings.min_df });
        }
        let n = texts.len() as f64;
        let idf = |texts: u32| (((1.0 + n) / (1.0 + f64::from(texts))).ln() + 1.0) as f32;
        let idf = kept.iter().map(|(_, texts, _)| idf(*texts)).collect();
        TfidfVectorizer::from_parts(kept.into_iter().map(|(_, _, term)| term).collect(), idf)
    }

    /// A vectorizer of given terms, a column each, and their inverse document frequencies.
    ///
    /// # Errors
    /// A term is empty or repeated, or the two differ in length.
    pub fn from_parts(terms: Vec<String>, idf: Vec<f32>) -> Result<TfidfVectorizer> {
        let (mut words, mut columns): (HashMap<String, u32>, HashMap<Term, u32>) = (HashMap::new(), HashMap::new());
        for (column, term) in terms.iter().enumerate() {
            let mut numbers = term.split(' ').map(|word| {
                let next = words.len() as u32;
                *words.entry(word.to_string()).or_insert(next)
            });
            let key = (numbers.next().unwrap_or(NONE), numbers.next().unwrap_or(NONE));
            let strange = term.split(' ').any(str::is_empty) || numbers.next().is_some() || column >= idf.len();
            if strange || columns.insert(key, column as u32).is_some() {
                return Err(Error::Vocabulary { column });
            }
        }
        if idf.len() > terms.len() {
            return Err(Error::Vocabulary { column: terms.len() });
        }
        Ok(TfidfVectorizer { terms, idf, words, columns })
    }

    /// The terms in the order of the columns. They are words of the texts.
    pub fn terms(&self) -> &[String] {
        &self.terms
    }

    /// Their inverse document frequencies.
    pub fn idf(&self) -> &[f32] {
        &self.idf
    }

    /// A row for each text: weighted terms, of length 1 unless no term is known.
    pub fn transform<T: AsRef<str> + Sync>(&self, texts: &[T]) -> SparseMatrix {
        let rows: Vec<_> = texts.par_iter().map(|text| self.row(text.as_ref())).collect();
        SparseMatrix::from_rows(self.terms.len(), &rows)
    }

    fn row(&self, text: &str) -> Vec<(u32, f32)> {
        let lower = text.to_lowercase();
        let numbers = WORD.find_iter(&lower).map(|word| self.words.get(word.as_str()).copied());
        let known = counted(terms(numbers)).into_iter();
        let known = known.filter_map(|(term, times)| Some((*self.columns.get(&term)?, times)));
        let weight = |(column, times): (u32, u32)| {
            (column, (1.0 + f64::from(times).ln()) * f64::from(self.idf[column as usize]))
        };
        let mut cells: Vec<(u32, f64)> = known.map(weight).collect();
        cells.sort_unstable_by_key(|cell| cell.0);
        let length = cells.iter().map(|cell| cell.1 * cell.1).sum::<f64>().sqrt();
        cells.into_iter().map(|(column, value)| (column, (value / length) as f32)).collect()
    }
}

/// The terms of a text in its order; `None`: a word that is in no term.
fn terms(words: impl Iterator<Item = Option<u32>>) -> Vec<Term> {
    let (mut found, mut before) = (Vec::new(), None);
    for word in words {
        found.extend(word.map(|word| (word, NONE)));
        found.extend(before.zip(word));
        before = word;
    }
    found
}

/// Each term once, and how often it occurs.
fn counted(mut terms: Vec<Term>) -> Vec<(Term, u32)> {
    terms.sort_unstable();
    terms.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as u32)).collect()
}
