//! Irregularities of the raw tables that were tolerated.

use std::collections::BTreeMap;

/// A kind of irregularity that was tolerated.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Irregularity {
    /// What it is and in which table.
    pub kind: String,
    /// How often it was met.
    pub count: u64,
}

/// Irregularities by kind, in a fixed order.
#[derive(Debug, Default)]
pub(in crate::prepare) struct Irregularities(BTreeMap<&'static str, u64>);

impl Irregularities {
    pub fn note(&mut self, kind: &'static str) {
        *self.0.entry(kind).or_default() += 1;
    }

    pub fn note_many(&mut self, kind: &'static str, count: u64) {
        if count > 0 {
            *self.0.entry(kind).or_default() += count;
        }
    }

    pub fn list(&self) -> Vec<Irregularity> {
        self.0.iter().map(|(kind, count)| Irregularity { kind: (*kind).into(), count: *count }).collect()
    }
}
