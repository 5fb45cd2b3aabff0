//! Writes NOTEEVENTS with the irregularities of the real table.

use super::columns;
use super::conditions::CONDITIONS;
use super::note::CANARY;
use super::patient::{Admission, Arrival};
use super::raw::Cell::{Date, Empty, Number, Time, Words};
use super::raw::{Part, RawTable};
use super::words;
use crate::error::Result;
use crate::ids::{DAY, HOUR, Moment};
use clinpeft_rng::{RngExt, Stream};
use std::borrow::Cow;

/// NOTEEVENTS.
pub struct NoteTable {
    table: RawTable,
    /// Rows so far.
    pub rows: u64,
}

/// A category of notes other than discharge summaries.
struct Kind {
    category: &'static str,
    description: &'static str,
    /// Thousands of rows in NOTEEVENTS of MIMIC-III v1.4.
    thousands: u32,
    /// Characters; lengths are log-normal.
    median: f64,
    timed: bool,
}

const fn kind(category: &'static str, description: &'static str, thousands: u32, median: f64, timed: bool) -> Kind {
    Kind { category, description, thousands, median, timed }
}

#[rustfmt::skip]
const KINDS: [Kind; 12] = [
    kind("Nursing/other", "Report", 822, 900.0, true),
    kind("Radiology", "CHEST (PORTABLE AP)", 522, 1300.0, true),
    kind("Nursing", "Nursing Progress Note", 224, 1500.0, true),
    kind("ECG", "Report", 209, 190.0, false),
    kind("Physician ", "Physician Resident Progress Note", 142, 6500.0, true),
    kind("Echo", "Report", 46, 2200.0, false),
    kind("Respiratory ", "Respiratory Care Shift Note", 32, 900.0, true),
    kind("Nutrition", "Clinical Nutrition Note", 9, 2000.0, true),
    kind("General", "Generic Note", 8, 1200.0, true),
    kind("Rehab Services", "Physical Therapy Evaluation Note", 5, 2000.0, true),
    kind("Social Work", "Social Work Progress Note", 3, 1500.0, true),
    kind("Case Management ", "Case Management Initial Note", 1, 1200.0, true),
];

/// Whether somebody withdrew a note.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Marking {
    Valid,
    Error,
}

/// One note of an admission.
#[derive(Clone)]
struct Note<'a> {
    admission: Option<u64>,
    day: Moment,
    time: Option<Moment>,
    category: &'static str,
    description: &'static str,
    marking: Marking,
    text: Cow<'a, str>,
}

impl<'a> Note<'a> {
    fn report(admission: &Admission, text: &'a str) -> Note<'a> {
        Note {
            admission: Some(admission.id.0),
            day: admission.discharged,
            time: None,
            category: "Discharge summary",
            description: "Report",
            marking: Marking::Valid,
            text: text.into(),
        }
    }

    fn saying(&self, text: impl Into<Cow<'a, str>>) -> Note<'a> {
        Note { text: text.into(), ..self.clone() }
    }

    fn addendum(&self, text: impl Into<Cow<'a, str>>) -> Note<'a> {
        Note { description: "Addendum", day: self.day.plus(2 * DAY), ..self.saying(text) }
    }

    /// What is filed beside a report, each now and then.
    fn extras(&self, subject: u64, rng: &mut Stream) -> Vec<Note<'a>> {
        let mut chance = |p: f64| rng.random_bool(p);
        let mut extras = Vec::new();
        if chance(0.04) {
            let day = self.day.plus(DAY);
            extras.push(Note { day, ..self.clone() });
        }
        if chance(0.10) {
            extras.push(self.addendum(format!("{ADDENDUM} Filed as number {subject}.")));
        }
        if chance(0.01) {
            extras.push(self.saying(""));
        }
        if chance(0.01) {
            let text = format!("{}\nEntered for another patient.", self.text);
            extras.push(Note { marking: Marking::Error, ..self.saying(text) });
        }
        if chance(0.02) {
            extras.push(Note {
                admission: None,
                category: "Radiology",
                description: "CHEST (PA & LAT)",
                ..self.saying("OUTPATIENT FILM, no admission. Clear.")
            });
        }
        extras
    }
}

impl NoteTable {
    /// Begins a block of patients.
    pub fn create(block: u64) -> Result<NoteTable> {
        RawTable::create(block, "NOTEEVENTS.csv.gz", &columns::NOTES).map(|table| NoteTable { table, rows: 0 })
    }

    /// Writes the notes of one admission.
    pub fn write(&mut self, subject: u64, arrival: Arrival, admission: &mut Admission) -> Result<()> {
        let summary = std::mem::take(&mut admission.summary);
        let report = Note::report(admission, &summary);
        if arrival == Arrival::Newborn {
            return self.put(subject, &report);
        }
        match admission.rng.random_range(0..1000) {
            // No report at all, none but an addendum, or a letter without one of the main sections.
            0..5 => return Ok(()),
            5..10 => return self.put(subject, &report.addendum(ADDENDUM)),
            10..15 => return self.put(subject, &report.saying(LETTER)),
            _ => self.put(subject, &report)?,
        }
        for note in report.extras(subject, &mut admission.rng) {
            self.put(subject, &note)?;
        }
        self.bedside(subject, admission)
    }

    /// Nursing notes: early for most ventilated stays, and for some others.
    fn bedside(&mut self, subject: u64, admission: &mut Admission) -> Result<()> {
        let rng = &mut admission.rng;
        let written = rng.random_bool(if admission.ventilation.is_some() { 0.97 } else { 0.3 });
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
        let marking = match rng.random_bool(0.02) {
            true => Marking::Error,
            false => Marking::Valid,
        };
        let note = Note { day: time, time: Some(time), category, marking, ..Note::report(admission, &text) };
        self.put(subject, &note)
    }

    /// Writes notes of other kinds, spread over the stay.
    pub fn fill(&mut self, subject: u64, admission: &mut Admission, notes: u64) -> Result<()> {
        let most: u32 = KINDS.iter().map(|kind| kind.thousands).sum();
        let step = admission.discharged.since(admission.admitted) / (notes as i64 + 1);
        for number in 1..=notes {
            let rng = &mut admission.rng;
            let mut place = rng.random_range(0..most);
            let kind = KINDS.iter().find(|kind| {
                let found = place < kind.thousands;
                place = place.saturating_sub(kind.thousands);
                found
            });
            let kind = kind.unwrap_or(&KINDS[0]);
            let mut text = format!("{}\n\n", kind.description);
            words::put(&mut text, words::length(kind.median, 0.6, rng), rng);
            let outside = rng.random_bool(0.11);
            let time = admission.admitted.plus(step * number as i64);
            let report = Note::report(admission, &text);
            self.put(
                subject,
                &Note {
                    admission: report.admission.filter(|_| !outside),
                    day: time,
                    time: kind.timed.then_some(time),
                    category: kind.category,
                    description: kind.description,
                    ..report
                },
            )?;
        }
        Ok(())
    }

    fn put(&mut self, subject: u64, note: &Note<'_>) -> Result<()> {
        self.rows += 1;
        self.table.row(&[
            Number(subject),
            note.admission.map_or(Empty, Number),
            Date(note.day),
            note.time.map_or(Empty, Time),
            note.time.map_or(Empty, Time),
            Words(note.category),
            Words(note.description),
            Empty,
            match note.marking {
                Marking::Valid => Empty,
                Marking::Error => Number(1),
            },
            match note.text.as_ref() {
                "" => Empty,
                text => Words(text),
            },
        ])
    }

    /// Ends the block.
    pub fn finish(self) -> Result<Part> {
        self.table.finish()
    }
}

const LETTER: &str =
    "Dear [**Doctor Last Name 1234**],\n\nThe dictation of this stay was lost.\n\nAllergies:\nNKDA\n\nSincerely:\n";
const ADDENDUM: &str = "Name:  [**Known lastname 1234**]                Unit No:   [**Numeric Identifier 1234**]\n\nAddendum:\nPlease see the report for details.";
