//! Writes NOTEEVENTS with the irregularities of the real table.

use super::conditions::CONDITIONS;
use super::note::CANARY;
use super::patient::{Admission, Arrival};
use super::raw::Cell::{Date, Empty, Number, Time, Words};
use super::raw::RawTable;
use crate::error::Result;
use crate::ids::{DAY, HOUR, Moment};
use clinpeft_rng::RngExt;
use std::path::Path;

/// NOTEEVENTS.
pub struct NoteTable(RawTable);

/// One note beside its identifiers.
struct Note<'a> {
    admission: Option<u64>,
    day: Moment,
    time: Option<Moment>,
    category: &'a str,
    description: &'a str,
    error: bool,
    text: &'a str,
}

impl NoteTable {
    /// Creates the file.
    pub fn create(folder: &Path) -> Result<NoteTable> {
        let columns = [
            "SUBJECT_ID",
            "HADM_ID",
            "CHARTDATE",
            "CHARTTIME",
            "STORETIME",
            "CATEGORY",
            "DESCRIPTION",
            "CGID",
            "ISERROR",
            "TEXT",
        ];
        RawTable::create(folder, "NOTEEVENTS.csv.gz", &columns).map(NoteTable)
    }

    /// Writes the notes of one admission.
    pub fn write(
        &mut self,
        subject: u64,
        arrival: Arrival,
        admission: &mut Admission,
    ) -> Result<()> {
        let id = Some(admission.id.0);
        let day = admission.discharged;
        let summary = std::mem::take(&mut admission.summary);
        let report = Note {
            admission: id,
            day,
            time: None,
            category: "Discharge summary",
            description: "Report",
            error: false,
            text: &summary,
        };
        if arrival == Arrival::Newborn {
            return self.put(subject, &report);
        }
        let mut chance = |p: f64| admission.rng.random_bool(p);
        if chance(0.01) {
            // No report at all, or none but an addendum.
            if chance(0.5) {
                self.put(
                    subject,
                    &Note {
                        description: "Addendum",
                        text: ADDENDUM,
                        ..report
                    },
                )?;
            }
            return Ok(());
        }
        if chance(0.005) {
            // A letter without one of the main sections.
            return self.put(
                subject,
                &Note {
                    text: LETTER,
                    ..report
                },
            );
        }
        self.put(subject, &report)?;
        if chance(0.04) {
            // The same text again, filed the day after.
            self.put(
                subject,
                &Note {
                    day: day.plus(DAY),
                    ..report
                },
            )?;
        }
        if chance(0.10) {
            let text = format!("{ADDENDUM} Filed as number {subject}.");
            let note = Note {
                description: "Addendum",
                day: day.plus(2 * DAY),
                text: &text,
                ..report
            };
            self.put(subject, &note)?;
        }
        if chance(0.01) {
            self.put(subject, &Note { text: "", ..report })?;
        }
        if chance(0.01) {
            let text = format!("{summary}\nEntered for another patient.");
            self.put(
                subject,
                &Note {
                    error: true,
                    text: &text,
                    ..report
                },
            )?;
        }
        if chance(0.02) {
            let text = "OUTPATIENT FILM, no admission. Clear.";
            let note = Note {
                admission: None,
                category: "Radiology",
                description: "CHEST (PA & LAT)",
                text,
                ..report
            };
            self.put(subject, &note)?;
        }
        self.bedside(subject, admission)
    }

    /// Nursing notes: early for most ventilated stays, and for some others.
    fn bedside(&mut self, subject: u64, admission: &mut Admission) -> Result<()> {
        let rng = &mut admission.rng;
        let written = rng.random_bool(if admission.ventilation.is_some() {
            0.97
        } else {
            0.3
        });
        if !written {
            return Ok(());
        }
        let began = admission.ventilation.map_or(admission.admitted, |v| v.0);
        let late = rng.random_bool(0.02);
        let time = began.plus(if late { 60 } else { rng.random_range(1..40) } * HOUR);
        let word = CONDITIONS[rng.random_range(0..CONDITIONS.len())].forms[0];
        let mut text = format!(
            "NPN 7p-7a\n\nNeuro: follows commands.\nResp: see flow sheet.\nMonitored for {word}.\nPlan: continue."
        );
        if rng.random_bool(0.02) {
            text.push_str(CANARY);
        }
        let category = ["Nursing", "Nursing/other", "Respiratory "][rng.random_range(0..3)];
        self.put(
            subject,
            &Note {
                admission: Some(admission.id.0),
                day: time,
                time: Some(time),
                category,
                description: "Report",
                error: rng.random_bool(0.02),
                text: &text,
            },
        )
    }

    fn put(&mut self, subject: u64, note: &Note<'_>) -> Result<()> {
        self.0.row(&[
            Number(subject),
            note.admission.map_or(Empty, Number),
            Date(note.day),
            note.time.map_or(Empty, Time),
            note.time.map_or(Empty, Time),
            Words(note.category),
            Words(note.description),
            Empty,
            if note.error { Number(1) } else { Empty },
            if note.text.is_empty() {
                Empty
            } else {
                Words(note.text)
            },
        ])
    }

    /// Closes the file.
    pub fn finish(self) -> Result<()> {
        self.0.finish()
    }
}

const LETTER: &str = "Dear [**Doctor Last Name 1234**],\n\nThe dictation of this stay was lost.\n\nAllergies:\nNKDA\n\nSincerely:\n";
const ADDENDUM: &str = "Name:  [**Known lastname 1234**]                Unit No:   [**Numeric Identifier 1234**]\n\nAddendum:\nPlease see the report for details.";
