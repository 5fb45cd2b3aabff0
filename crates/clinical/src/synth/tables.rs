//! Writes the tables of MIMIC-III, patient by patient.

use super::bedside::{self, Bedside};
use super::columns;
use super::facts::Survival;
use super::groups::{DIAGNOSES, Group, PROCEDURES, Ventilation};
use super::notes::NoteTable;
use super::patient::{Admission, Arrival, Patient};
use super::raw::Cell::{Empty, Measure, Number, Time, Words};
use super::raw::{Part, RawTable};
use super::spec::{Beside, ChartEvents, CohortSpec, share, skewed_share};
use crate::error::Result;
use crate::ids::{DAY, HOUR};
use clinpeft_rng::{RngExt, shuffle};

/// What one block of patients adds to the tables.
pub struct Tables {
    patients: RawTable,
    admissions: RawTable,
    stays: RawTable,
    diagnoses: RawTable,
    procedures: RawTable,
    notes: NoteTable,
    bedside: Bedside,
}

impl Tables {
    /// Begins a block of patients.
    pub fn create(block: u64) -> Result<Tables> {
        Ok(Tables {
            patients: RawTable::create(block, "PATIENTS.csv.gz", &columns::PATIENTS)?,
            admissions: RawTable::create(block, "ADMISSIONS.csv.gz", &columns::ADMISSIONS)?,
            stays: RawTable::create(block, "ICUSTAYS.csv.gz", &columns::STAYS)?,
            diagnoses: RawTable::create(block, "DIAGNOSES_ICD.csv.gz", &columns::CODES)?,
            procedures: RawTable::create(block, "PROCEDURES_ICD.csv.gz", &columns::CODES)?,
            notes: NoteTable::create(block)?,
            bedside: Bedside::create(block)?,
        })
    }

    /// Writes everything about one patient.
    pub fn write(&mut self, patient: &mut Patient, number: u64, spec: &CohortSpec) -> Result<()> {
        let subject = patient.subject;
        let died = patient
            .admissions
            .iter()
            .find(|a| a.outcome.survival == Survival::Died && patient.arrival == Arrival::Grown)
            .map_or(Empty, |a| Time(a.discharged));
        let expired = u64::from(!matches!(died, Empty));
        let sex = patient.sex();
        let cells = [Number(subject.0), Words(sex), Time(patient.born), died, died, Empty, Number(expired)];
        self.patients.row(&cells)?;
        for admission in &mut patient.admissions {
            self.admission(subject.0, patient.arrival, admission, spec)?;
        }
        match &spec.beside {
            Some(beside) => self.beside(patient, number, spec.patients, beside),
            None => Ok(()),
        }
    }

    /// Spreads a patient's share of all other notes and chart events over the stays.
    fn beside(&mut self, patient: &mut Patient, number: u64, patients: u64, beside: &Beside) -> Result<()> {
        let subject = patient.subject.0;
        let stays = patient.admissions.len() as u64;
        let of = |total| skewed_share(total, number + 1, patients) - skewed_share(total, number, patients);
        let (notes, events) = (of(beside.notes), of(beside.chart_events));
        for (stay, admission) in (0..).zip(&mut patient.admissions) {
            let part = |count| share(count, stay + 1, stays) - share(count, stay, stays);
            self.notes.fill(subject, admission, part(notes))?;
            self.bedside.fill(subject, admission, part(events))?;
        }
        Ok(())
    }

    /// Rows of NOTEEVENTS and of CHARTEVENTS.
    pub fn rows(&self) -> [u64; 2] {
        [self.notes.rows, self.bedside.rows]
    }

    fn admission(
        &mut self,
        subject: u64,
        arrival: Arrival,
        admission: &mut Admission,
        spec: &CohortSpec,
    ) -> Result<()> {
        self.admission_row(subject, arrival, admission)?;
        let hadm = admission.id.0;
        match arrival {
            Arrival::Newborn => {
                let code = [Number(subject), Number(hadm), Number(1), Words("V3000")];
                self.diagnoses.row(&code)?;
            }
            Arrival::Grown => {
                let ventilation = Ventilation::Known(admission.outcome.ventilated);
                let tables = [(&mut self.diagnoses, &DIAGNOSES[..]), (&mut self.procedures, &PROCEDURES[..])];
                for (table, groups) in tables {
                    codes(table, groups, subject, admission, ventilation)?;
                }
            }
        }
        if let Some(stay) = admission.icu {
            let entered = admission.admitted.plus(HOUR / 2);
            let left = admission.discharged.plus(-HOUR);
            let days = left.since(entered) as f64 / DAY as f64;
            self.stays.row(&[
                Number(subject),
                Number(hadm),
                Number(stay.0),
                Words("metavision"),
                Words("MICU"),
                Words("MICU"),
                Number(12),
                Number(12),
                Time(entered),
                Time(left),
                Measure(days),
            ])?;
            if spec.chart_events == ChartEvents::Written {
                self.bedside.write(subject, stay, admission)?;
            }
        }
        self.notes.write(subject, arrival, admission)
    }

    fn admission_row(&mut self, subject: u64, arrival: Arrival, admission: &Admission) -> Result<()> {
        let dead = admission.outcome.survival == Survival::Died && arrival == Arrival::Grown;
        let (death, place) = match dead {
            true => (Time(admission.discharged), "DEAD/EXPIRED"),
            false => (Empty, "HOME"),
        };
        let (kind, diagnosis) = match arrival {
            Arrival::Newborn => ("NEWBORN", "NEWBORN"),
            Arrival::Grown if admission.id.0.is_multiple_of(7) => ("ELECTIVE", "ELECTIVE CARE, \"PLANNED\""),
            Arrival::Grown => ("EMERGENCY", "ACUTE ILLNESS"),
        };
        self.admissions.row(&[
            Number(subject),
            Number(admission.id.0),
            Time(admission.admitted),
            Time(admission.discharged),
            death,
            Words(kind),
            Words("EMERGENCY ROOM ADMIT"),
            Words(place),
            Words("Medicare"),
            Empty,
            Empty,
            Empty,
            Words("UNKNOWN/NOT SPECIFIED"),
            Empty,
            Empty,
            Words(diagnosis),
            Number(u64::from(dead)),
            Number(1),
        ])
    }

    /// Ends the block.
    pub fn finish(self) -> Result<Vec<Part>> {
        let tables = [self.patients, self.admissions, self.stays, self.diagnoses, self.procedures];
        let mut parts = tables.into_iter().map(RawTable::finish).collect::<Result<Vec<Part>>>()?;
        parts.push(self.notes.finish()?);
        parts.extend(self.bedside.finish()?);
        Ok(parts)
    }
}

fn codes(
    table: &mut RawTable,
    groups: &[Group],
    subject: u64,
    admission: &mut Admission,
    ventilation: Ventilation,
) -> Result<()> {
    let mut drawn: Vec<&str> = Vec::new();
    for group in groups {
        let p = group.probability(&admission.facts, ventilation);
        if admission.rng.random_bool(p) {
            drawn.push(group.code);
        }
    }
    shuffle(&mut drawn, &mut admission.rng);
    for (place, code) in (1..).zip(&drawn) {
        let cells = [Number(subject), Number(admission.id.0), Number(place), Words(code)];
        table.row(&cells)?;
        // The same group twice, as real tables have it, and rows without a code.
        if admission.rng.random_bool(0.01) {
            table.row(&cells)?;
        }
        if admission.rng.random_bool(0.001) {
            table.row(&[cells[0], cells[1], Empty, Empty])?;
        }
    }
    Ok(())
}

/// The dictionaries of codes and items.
pub fn dictionaries() -> Result<Vec<Part>> {
    Ok(vec![
        dictionary("D_ICD_DIAGNOSES.csv.gz", &DIAGNOSES)?,
        dictionary("D_ICD_PROCEDURES.csv.gz", &PROCEDURES)?,
        bedside::items()?,
    ])
}

fn dictionary(name: &str, groups: &[Group]) -> Result<Part> {
    let columns = ["ICD9_CODE", "SHORT_TITLE", "LONG_TITLE"];
    let mut table = RawTable::create(0, name, &columns)?;
    for group in groups {
        let short: String = group.title.chars().take(24).collect();
        table.row(&[Words(group.code), Words(&short), Words(group.title)])?;
    }
    table.finish()
}
