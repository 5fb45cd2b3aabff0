//! What is measured of a case.

use serde::Serialize;

/// One quantity of one case.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// The case.
    pub case: String,
    /// What was compared.
    pub quantity: String,
    /// The measured error; absent if it could not be measured.
    pub error: Option<f64>,
    /// The largest error that passes.
    pub tolerance: Option<f64>,
    /// Why it could not be measured.
    pub failure: Option<String>,
}

impl Outcome {
    /// Whether the error is within the tolerance.
    pub fn passed(&self) -> bool {
        self.failure.is_none() && self.error.zip(self.tolerance).is_some_and(|(e, t)| e <= t)
    }
}

/// Outcomes while a case runs.
pub(super) struct Record<'a> {
    pub case: &'a str,
    pub outcomes: &'a mut Vec<Outcome>,
}

impl Record<'_> {
    pub(super) fn equal(&mut self, what: &str, want: usize, got: usize) {
        self.measured(what, got.abs_diff(want) as f64, 0.0);
    }

    pub(super) fn measured(&mut self, what: &str, error: f64, tolerance: f64) {
        self.outcomes.push(Outcome {
            case: self.case.to_string(),
            quantity: what.into(),
            error: Some(error),
            tolerance: Some(tolerance),
            failure: None,
        });
    }

    pub(super) fn failure(&mut self, what: &str, failure: String) {
        self.outcomes.push(Outcome {
            case: self.case.to_string(),
            quantity: what.into(),
            error: None,
            tolerance: None,
            failure: Some(failure),
        });
    }
}
