//! What every patient is drawn from.

use super::patient::{self, Collection, Patient};
use super::spec::CohortSpec;
use super::style::Author;
use clinpeft_rng::Seed;

/// What every patient is drawn from.
pub struct Cohort<'a> {
    pub spec: &'a CohortSpec,
    pub seed: Seed,
    pub authors: &'a [Author],
}

impl Cohort<'_> {
    /// Patient `number` of a collection.
    pub fn patient(&self, collection: Collection, number: u64) -> Patient {
        patient::draw(self.seed, self.spec, self.authors, collection, number)
    }
}
