//! The size and form of a synthetic cohort.

use crate::error::{Error, Result};

/// How long the admission part of a discharge summary is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteLength {
    /// 60 to 120 words.
    Short,
    /// Like real notes: log-normal around 600 words.
    Real,
}

/// Whether the large tables of bedside events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChartEvents {
    /// CHARTEVENTS and PROCEDUREEVENTS_MV hold the ventilator settings of every ventilated stay.
    Written,
    /// The tables have a header only: the ventilation task cannot be prepared.
    HeaderOnly,
}

/// What to generate. Every value must be given.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CohortSpec {
    /// Patients of the MIMIC-III-like tables.
    pub patients: u64,
    /// Discharge summaries of the MIMIC-IV-like notes, one patient each.
    pub mimic4_notes: u64,
    /// Radiology reports of the MIMIC-IV-like notes, spread over the same patients.
    pub mimic4_radiology: u64,
    /// Share of the MIMIC-IV-like discharge summaries that describe a stay of the MIMIC-III-like tables.
    pub mimic4_overlap: f64,
    /// People who write the notes, each with habits of their own.
    pub authors: u32,
    /// Share of patients who are newborns.
    pub newborns: f64,
    /// Length of the notes.
    pub note_length: NoteLength,
    /// Whether bedside events are written.
    pub chart_events: ChartEvents,
}

impl CohortSpec {
    /// Checks that the numbers make sense.
    pub fn check(&self) -> Result<()> {
        let wrong = |key, what| Err(Error::Spec { key, what });
        if self.patients == 0 || self.patients > 100_000_000 {
            return wrong("patients", "not between 1 and 100,000,000");
        }
        if self.authors == 0 {
            return wrong("authors", "somebody must write the notes");
        }
        if self.mimic4_notes > 100_000_000 {
            return wrong("mimic4_notes", "more than 100,000,000");
        }
        if self.mimic4_radiology > 0 && self.mimic4_notes == 0 {
            return wrong("mimic4_notes", "radiology reports need patients, so it cannot be 0");
        }
        if !(0.0..=1.0).contains(&self.mimic4_overlap) {
            return wrong("mimic4_overlap", "not between 0 and 1");
        }
        if !(0.0..=0.5).contains(&self.newborns) {
            return wrong("newborns", "not between 0 and 0.5");
        }
        Ok(())
    }
}
