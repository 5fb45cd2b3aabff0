//! A synthetic cohort in the raw file form of MIMIC-III v1.4 and MIMIC-IV-Note 2.2, with a known truth.
//!
//! # The process
//! 1. A **person** has a frailty u ~ N(0, 1), an age around 64 + 3u years, and chronic conditions, each drawn with
//!    log-odds `base + slope * u + age effect`.
//! 2. An **admission** has a severity from 0 to 4, cut from 0.6u + 0.8e with e ~ N(0, 1), and acute conditions with
//!    log-odds `base + slope * severity + age effect`. Chronic conditions of the person and acute ones of the admission are
//!    its 32 *facts* beside the severity ([`conditions`]).
//! 3. **Outcomes** depend on the facts alone ([`facts`]): death, ventilation of two days or more, and its being prolonged by
//!    additive logits; the class of the length of stay by an ordinal logit whose thresholds depend on the ventilation
//!    that happened. Codes are noisy ors of conditions, severity and ventilation ([`groups`]).
//! 4. An **author** with habits writes the note. The admission part reveals the facts completely: each condition in one
//!    of five forms or by its medicine, the severity by phrases and vital signs. Negations and relatives' diseases are
//!    decoys. The rest of the note tells the outcome, so that a leak would show.
//!
//! The probability of every outcome given the facts is computed, not estimated (ventilation is summed out), and written to
//! `truth/`. No model that reads admission notes can rank better than these probabilities do.
//!
//! # Properties
//! - Written in blocks of patients: memory does not grow with the size. Bytes do not depend on the number of threads.
//! - Patient i is the same whatever the size of the cohort, and the same seed gives the same bytes.
//! - The traps of the real tables are there: addenda, exact duplicates, newborns, notes without admission or text, notes
//!   marked as errors, header variants, last sections without an end, numbered lists, mentions of death, masks, quotes,
//!   V and E codes, leading zeros, and stays on the edge of a class.

mod bedside;
mod blocks;
mod cohort;
mod columns;
pub mod conditions;
pub mod facts;
mod filler;
pub mod groups;
mod mimic4;
mod note;
mod notes;
mod patient;
pub mod prose;
mod raw;
mod readmission;
mod spec;
mod style;
mod tables;
mod truth;
mod words;

pub use note::CANARY;
pub use spec::{Beside, ChartEvents, CohortSpec, NoteLength};

use crate::error::Result;
use crate::progress::Progress;
use clinpeft_rng::Seed;
use cohort::Cohort;
use patient::{Arrival, Collection};
use raw::Part;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use style::Author;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Summary {
    /// Patients of the MIMIC-III-like tables.
    pub patients: u64,
    /// Their admissions.
    pub admissions: u64,
    /// Rows of NOTEEVENTS.
    pub notes: u64,
    /// Rows of CHARTEVENTS.
    pub chart_events: u64,
    /// Discharge summaries of the MIMIC-IV-like notes.
    pub mimic4_notes: u64,
    /// Radiology reports of the MIMIC-IV-like notes.
    pub mimic4_radiology: u64,
}

/// What `truth/cohort.json` says.
#[derive(serde::Serialize)]
struct Description<'a> {
    spec: &'a CohortSpec,
    seed: u64,
    written: Summary,
}

/// Writes `<out>/mimic3`, `<out>/mimic4-note` and `<out>/truth`, each whole or not at all.
///
/// An older synthetic cohort is replaced; folders of these names that are not one (raw files, say) are refused.
pub fn synth(spec: &CohortSpec, seed: Seed, out: &Path, progress: &dyn Fn(Progress)) -> Result<Summary> {
    spec.check()?;
    let authors: Vec<Author> = (0..spec.authors).map(|n| Author::new(seed, n)).collect();
    let begin = |name: &str| clinpeft_files::commit_dir(&out.join(name), clinpeft_files::Access::Private);
    let (mimic3, mimic4, truth) = (begin("mimic3")?, begin("mimic4-note")?, begin("truth")?);
    let cohort = Cohort { spec, seed, authors: &authors };
    let mut written = Summary { patients: spec.patients, ..Summary::default() };
    let first = spec.notes_of_patients(spec.patients);
    let total = first + spec.mimic4_notes + spec.mimic4_radiology;
    blocks::append(mimic3.path(), tables::dictionaries()?)?;
    let threads = crate::ordered::cores();
    blocks::in_order(
        threads,
        spec.patients,
        |block, numbers, drawn| draw_block(&cohort, block, numbers, drawn),
        |block| {
            written.admissions += block.admissions;
            written.notes += block.notes;
            written.chart_events += block.chart_events;
            blocks::append(mimic3.path(), block.tables)?;
            blocks::append(truth.path(), block.truth)
        },
        &|drawn| {
            let done = spec.notes_of_patients(drawn);
            progress(Progress { table: "MIMIC-III", rows: done, done, total });
        },
    )?;
    blocks::in_order(
        threads,
        spec.mimic4_notes,
        |block, numbers, drawn| mimic4::draw(&cohort, block, numbers, drawn),
        |parts| blocks::append(mimic4.path(), parts),
        &|drawn| {
            let rows = drawn + mimic4::reports_of(spec, drawn);
            progress(Progress { table: "MIMIC-IV-Note", rows, done: first + rows, total });
        },
    )?;
    written.mimic4_notes = spec.mimic4_notes;
    written.mimic4_radiology = spec.mimic4_radiology;
    let description = Description { spec, seed: seed.0, written };
    clinpeft_files::write_json(&truth.path().join("cohort.json"), &description)?;
    for folder in [truth, mimic3, mimic4] {
        folder.commit()?;
    }
    Ok(written)
}

/// One block of patients.
struct Block {
    tables: Vec<Part>,
    truth: Vec<Part>,
    admissions: u64,
    notes: u64,
    chart_events: u64,
}

/// Draws the tables and the truth of one block of patients.
fn draw_block(cohort: &Cohort<'_>, block: u64, numbers: Range<u64>, drawn: &AtomicU64) -> Result<Block> {
    let mut tables = tables::Tables::create(block)?;
    let mut probabilities = truth::TruthTables::create(block, cohort.spec.stays())?;
    let mut admissions = 0;
    for number in numbers {
        let mut patient = cohort.patient(Collection::Mimic3, number);
        admissions += patient.admissions.len() as u64;
        tables.write(&mut patient, number, cohort.spec)?;
        if patient.arrival == Arrival::Grown {
            for admission in &patient.admissions {
                probabilities.write(admission)?;
            }
        }
        drawn.fetch_add(1, Ordering::Relaxed);
    }
    let [notes, chart_events] = tables.rows();
    Ok(Block { tables: tables.finish()?, truth: probabilities.finish()?, admissions, notes, chart_events })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sections::corrected;
    use conditions::{CONDITIONS, COUNT, SEVERITY_EXAM, SEVERITY_HISTORY};

    fn spec(note_length: NoteLength) -> CohortSpec {
        CohortSpec {
            patients: 1,
            mimic4_notes: 0,
            mimic4_radiology: 0,
            mimic4_overlap: 0.0,
            authors: 40,
            newborns: 0.0,
            note_length,
            chart_events: ChartEvents::HeaderOnly,
            beside: None,
        }
    }

    fn notes(length: NoteLength) -> Vec<(facts::Facts, String)> {
        let spec = spec(length);
        let authors: Vec<Author> = (0..40).map(|n| Author::new(Seed(1), n)).collect();
        (0..300)
            .flat_map(|n| patient::draw(Seed(1), &spec, &authors, Collection::Mimic3, n).admissions)
            .map(|a| (a.facts, corrected(&a.summary).assemble()))
            .collect()
    }

    #[test]
    fn admission_notes_name_every_present_condition_and_the_severity() {
        for length in [NoteLength::Short, NoteLength::Real] {
            for (facts, note) in notes(length) {
                let note = note.to_lowercase();
                for condition in (0..COUNT).filter(|i| facts.has[*i]).map(|i| &CONDITIONS[i]) {
                    let mut names = condition.forms.iter().chain(&condition.medicine);
                    assert!(names.any(|n| note.contains(n)), "{}", condition.forms[0]);
                }
                let level = usize::from(facts.severity);
                assert!(SEVERITY_HISTORY[level].iter().any(|w| note.contains(w)));
                assert!(SEVERITY_EXAM[level].iter().any(|w| note.contains(w)));
            }
        }
    }

    #[test]
    fn notes_have_the_length_that_was_asked_for() {
        let median = |length| {
            let mut words: Vec<usize> = notes(length).iter().map(|(_, note)| note.split_whitespace().count()).collect();
            words.sort_unstable();
            words[words.len() / 2]
        };
        assert!((60..120).contains(&median(NoteLength::Short)));
        assert!((500..700).contains(&median(NoteLength::Real)));
    }

    #[test]
    fn prepared_labels_equal_what_was_drawn() {
        use crate::prepare::{CorpusSource, Fidelity, PrepareOptions, prepare};
        use crate::{Dataset, Label, Task};
        let dir = tempfile::tempdir().unwrap();
        let mut spec = spec(NoteLength::Short);
        spec.patients = 400;
        spec.chart_events = ChartEvents::Written;
        synth(&spec, Seed(5), dir.path(), &|_| {}).unwrap();
        let options = PrepareOptions {
            mimic3: Some(dir.path().join("mimic3")),
            mimic4_note: None,
            out: dir.path().join("data"),
            fidelity: Fidelity::Paper,
            splits: None,
            seed: Seed(5),
            tasks: vec![Task::Mortality, Task::LengthOfStay, Task::Ventilation],
            corpus: CorpusSource::None,
            pmv_labels: None,
            near_duplicates: crate::prepare::NearDuplicates::Keep,
            diff: crate::prepare::Diff::None,
            ids: crate::prepare::IdSource::Kept,
            threads: 1,
            stop: None,
        };
        prepare(&options, &|_| {}).unwrap();
        let authors: Vec<Author> = (0..40).map(|n| Author::new(Seed(5), n)).collect();
        let drawn: std::collections::BTreeMap<_, _> = (0..400)
            .flat_map(|n| patient::draw(Seed(5), &spec, &authors, Collection::Mimic3, n).admissions)
            .map(|a| (a.id, a.outcome))
            .collect();
        for task in options.tasks {
            let dataset = Dataset::load(&options.out, task).unwrap();
            for example in crate::Split::ALL.iter().flat_map(|s| dataset.split(*s)) {
                let outcome = drawn[&example.id];
                let class = match task {
                    Task::Mortality => u32::from(outcome.survival == facts::Survival::Died),
                    Task::Ventilation => {
                        assert!(outcome.ventilated.two_days_or_more());
                        u32::from(outcome.ventilated == facts::Ventilated::Weeks)
                    }
                    _ => outcome.stay as u32,
                };
                assert_eq!(example.label, Label::Class(class), "{task} {}", example.id);
            }
        }
    }
}
