//! Writes the notes for adaptation in the form of MIMIC-IV-Note.

use super::conditions::CONDITIONS;
use super::patient::{self, Admission, Collection, VISIBLE};
use super::raw::Cell::{Bare, Number, Time, Words};
use super::raw::RawTable;
use super::spec::CohortSpec;
use super::style::Author;
use crate::error::Result;
use crate::ids::{HOUR, SubjectId};
use clinpeft_rng::{RngExt, Seed};
use std::path::Path;

const COLUMNS: [&str; 8] =
    ["note_id", "subject_id", "hadm_id", "note_type", "note_seq", "charttime", "storetime", "text"];

/// Writes `discharge.csv.gz` and `radiology.csv.gz`; tells how many notes of each.
pub fn write(folder: &Path, seed: Seed, spec: &CohortSpec, authors: &[Author], progress: &dyn Fn(u64)) -> Result<()> {
    let mut discharge = RawTable::create_bare(folder, "discharge.csv.gz", &COLUMNS)?;
    let mut radiology = RawTable::create_bare(folder, "radiology.csv.gz", &COLUMNS)?;
    for number in 0..spec.mimic4_notes {
        let mut patient = patient::draw(seed, spec, authors, Collection::Mimic4, number);
        let subject = patient.subject;
        if let Some(admission) = patient.admissions.first_mut() {
            if admission.rng.random_bool(spec.mimic4_overlap) {
                // The same stay under another number: only the text tells.
                let twin = patient::draw(seed, spec, authors, Collection::Mimic3, number % spec.patients);
                if let Some(same) = twin.admissions.into_iter().next() {
                    admission.summary = same.summary;
                    admission.facts = same.facts;
                }
            }
            let text = unmask(&admission.summary);
            note(&mut discharge, subject, admission, "DS", 1, &text)?;
            let reports = share(spec, number + 1) - share(spec, number);
            for sequence in 1..=reports {
                let text = report(admission, &authors[number as usize % authors.len()]);
                note(&mut radiology, subject, admission, "RR", sequence, &text)?;
            }
        }
        if number % 1000 == 0 {
            progress(number);
        }
    }
    discharge.finish()?;
    radiology.finish()
}

/// How many radiology reports the first `patients` patients have together.
fn share(spec: &CohortSpec, patients: u64) -> u64 {
    let total = u128::from(spec.mimic4_radiology) * u128::from(patients);
    (total / u128::from(spec.mimic4_notes.max(1))) as u64
}

fn note(
    table: &mut RawTable,
    subject: SubjectId,
    admission: &Admission,
    kind: &str,
    sequence: u64,
    text: &str,
) -> Result<()> {
    let id = format!("{subject}-{kind}-{sequence}");
    let charted = admission.discharged.plus(-HOUR * sequence as i64);
    table.row(&[
        Bare(&id),
        Number(subject.0),
        Number(admission.id.0),
        Bare(kind),
        Number(sequence),
        Time(charted),
        Time(charted.plus(HOUR)),
        Words(text),
    ])
}

/// MIMIC-IV writes three underscores where MIMIC-III writes a mask in brackets.
fn unmask(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("[**") {
        let end = rest[start..].find("**]").map_or(rest.len(), |e| start + e + 3);
        out.push_str(&rest[..start]);
        out.push_str("___");
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

fn report(admission: &mut Admission, author: &Author) -> String {
    let rng = &mut admission.rng;
    let has = admission.facts.has;
    let present: Vec<usize> = (0..has.len()).filter(|i| has[*i]).collect();
    let known = match present.len() {
        0 => "weakness",
        n => {
            let i = present[rng.random_range(0..n)];
            CONDITIONS[i].forms[author.form(i, rng)]
        }
    };
    let seen: Vec<&str> =
        VISIBLE.into_iter().filter(|i| has[*i]).map(|i| CONDITIONS[i].forms[author.form(i, rng)]).collect();
    let impression = match seen.len() {
        0 => "No acute cardiopulmonary process.".to_string(),
        _ => format!("Findings consistent with {}.", seen.join(" and ")),
    };
    let film = ["CHEST (PORTABLE AP)", "CHEST (PA AND LAT)", "CT CHEST W/CONTRAST"][rng.random_range(0..3)];
    let finding = [
        "The cardiac silhouette is unchanged.",
        "Low lung volumes.",
        "Lines and tubes in standard position.",
        "No pneumothorax.",
    ][rng.random_range(0..4)];
    format!(
        "EXAMINATION:  {film}\n\nINDICATION:  ___ year old patient {} {known} // please evaluate\n\nCOMPARISON:  ___\n\nFINDINGS:\n\n{finding}\n\nIMPRESSION:\n\n{impression}\n",
        author.known
    )
}
