//! The size and form of a synthetic cohort.

use crate::error::{Error, Result};

/// How long the admission part of a discharge summary is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteLength {
    /// About 45 words, without sentences that say nothing about the facts.
    Brief,
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

/// What fills the tables beside what the tasks are made from, as in the real ones.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beside {
    /// Notes of NOTEEVENTS that are no discharge summaries, in the real categories and lengths.
    pub notes: u64,
    /// Rows of CHARTEVENTS beyond those that ventilation needs.
    pub chart_events: u64,
    /// Of a hundred patients, how many come once and how many twice; the others come three times unless they die.
    pub stays: [u32; 2],
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
    /// What else there is; small cohorts have nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<Beside>,
}

impl CohortSpec {
    /// Of a hundred patients, how many have one stay and how many have two; the others have three.
    pub(super) fn stays(&self) -> [u32; 2] {
        self.beside.as_ref().map_or([75, 17], |beside| beside.stays)
    }

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
        if self.beside.as_ref().is_some_and(|b| b.notes > MOST_ROWS || b.chart_events > MOST_ROWS) {
            return wrong("beside", "more than 1,000,000,000 notes or chart events");
        }
        if self.beside.as_ref().is_some_and(|b| u64::from(b.stays[0]) + u64::from(b.stays[1]) > 100) {
            return wrong("beside.stays", "more than 100 of a hundred");
        }
        Ok(())
    }

    /// The same with `share` of the patients, notes and events.
    pub fn scaled(mut self, share: f64) -> CohortSpec {
        let scale = |count: &mut u64| *count = (*count as f64 * share) as u64;
        [&mut self.patients, &mut self.mimic4_notes, &mut self.mimic4_radiology].into_iter().for_each(scale);
        if let Some(beside) = &mut self.beside {
            [&mut beside.notes, &mut beside.chart_events].into_iter().for_each(scale);
        }
        self
    }

    /// Notes of the first patients of the MIMIC-III-like tables, with one discharge summary each: the measure of progress.
    pub fn notes_of_patients(&self, patients: u64) -> u64 {
        patients + self.beside.as_ref().map_or(0, |b| skewed_share(b.notes, patients, self.patients))
    }
}

const MOST_ROWS: u64 = 1_000_000_000;

/// How much of `total` the first `patients` of `all` have together, evenly.
pub(super) fn share(total: u64, patients: u64, all: u64) -> u64 {
    (u128::from(total) * u128::from(patients) / u128::from(all.max(1))) as u64
}

/// The same where one patient in fifty has sixteen times as much as another.
pub(super) fn skewed_share(total: u64, patients: u64, all: u64) -> u64 {
    let weight = |n: u64| n + 15 * n.div_ceil(50);
    share(total, weight(patients), weight(all))
}
