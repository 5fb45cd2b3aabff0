//! Writes NOTEEVENTS with the irregularities of the real table.

use super::columns;
use super::conditions::CONDITIONS;
use super::note::CANARY;
use super::patient::{Admission, Arrival};
use super::raw::Cell::{Date, Empty, Number, Time, Words};
use super::raw::RawTable;
use crate::error::Result;
use crate::ids::{DAY, HOUR, Moment};
use clinpeft_rng::{RngExt, Stream};
use std::borrow::Cow;
use std::path::Path;

/// NOTEEVENTS.
pub struct NoteTable(RawTable);

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
    /// Creates the file.
    pub fn create(folder: &Path) -> Result<NoteTable> {
        RawTable::create(folder, "NOTEEVENTS.csv.gz", &columns::NOTES).map(NoteTable)
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

    /// Closes the file.
    pub fn finish(self) -> Result<()> {
        self.0.finish()
    }
}

const LETTER: &str =
    "Dear [**Doctor Last Name 1234**],\n\nThe dictation of this stay was lost.\n\nAllergies:\nNKDA\n\nSincerely:\n";
const ADDENDUM: &str = "Name:  [**Known lastname 1234**]                Unit No:   [**Numeric Identifier 1234**]\n\nAddendum:\nPlease see the report for details.";
