//! Writes the notes for adaptation in the form of MIMIC-IV-Note.

use super::cohort::Cohort;
use super::conditions::CONDITIONS;
use super::patient::{Admission, Collection, VISIBLE};
use super::raw::Cell::{Bare, Number, Time, Words};
use super::raw::{Part, RawTable};
use super::spec::{CohortSpec, NoteLength, share};
use super::style::Author;
use super::words;
use crate::error::Result;
use crate::ids::{HOUR, SubjectId};
use clinpeft_rng::RngExt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

const COLUMNS: [&str; 8] =
    ["note_id", "subject_id", "hadm_id", "note_type", "note_seq", "charttime", "storetime", "text"];

/// One block of `discharge.csv.gz` and `radiology.csv.gz`.
pub fn draw(cohort: &Cohort<'_>, block: u64, numbers: Range<u64>, drawn: &AtomicU64) -> Result<Vec<Part>> {
    let Cohort { spec, authors, .. } = cohort;
    let mut discharge = RawTable::create_bare(block, "discharge.csv.gz", &COLUMNS)?;
    let mut radiology = RawTable::create_bare(block, "radiology.csv.gz", &COLUMNS)?;
    for number in numbers {
        let mut patient = cohort.patient(Collection::Mimic4, number);
        let subject = patient.subject;
        if let Some(admission) = patient.admissions.first_mut() {
            if admission.rng.random_bool(spec.mimic4_overlap) {
                // The same stay under another number: only the text tells.
                let twin = cohort.patient(Collection::Mimic3, number % spec.patients);
                if let Some(same) = twin.admissions.into_iter().next() {
                    admission.summary = same.summary;
                    admission.facts = same.facts;
                }
            }
            let text = unmask(&admission.summary);
            note(&mut discharge, subject, admission, "DS", 1, &text)?;
            for sequence in 1..=reports_of(spec, number + 1) - reports_of(spec, number) {
                let mut text = report(admission, &authors[number as usize % authors.len()]);
                if spec.note_length == NoteLength::Real {
                    words::put(&mut text, words::length(1000.0, 0.5, &mut admission.rng), &mut admission.rng);
                }
                note(&mut radiology, subject, admission, "RR", sequence, &text)?;
            }
        }
        drawn.fetch_add(1, Ordering::Relaxed);
    }
    Ok(vec![discharge.finish()?, radiology.finish()?])
}

/// How many radiology reports the first `patients` patients have together.
pub fn reports_of(spec: &CohortSpec, patients: u64) -> u64 {
    share(spec.mimic4_radiology, patients, spec.mimic4_notes)
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
