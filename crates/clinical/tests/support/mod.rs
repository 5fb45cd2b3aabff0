//! What several test files need.
#![allow(dead_code, reason = "each test file uses a part")]

use clinpeft_clinical::Task;
use clinpeft_clinical::prepare::{CorpusSource, Diff, Fidelity, IdSource, NearDuplicates, PrepareOptions};
use clinpeft_clinical::synth::{ChartEvents, CohortSpec, NoteLength, synth};
use clinpeft_rng::Seed;
use std::path::Path;

pub fn options(mimic3: &Path, out: &Path, fidelity: Fidelity) -> PrepareOptions {
    PrepareOptions {
        mimic3: Some(mimic3.into()),
        mimic4_note: None,
        out: out.into(),
        fidelity,
        splits: None,
        seed: Seed(1),
        tasks: Task::PUBLISHED.to_vec(),
        corpus: CorpusSource::None,
        pmv_labels: None,
        near_duplicates: NearDuplicates::Keep,
        diff: Diff::None,
        ids: IdSource::Kept,
        threads: 2,
        stop: None,
    }
}

pub fn spec(patients: u64) -> CohortSpec {
    CohortSpec {
        patients,
        mimic4_notes: patients,
        mimic4_radiology: 2 * patients,
        mimic4_overlap: 0.1,
        authors: 8,
        newborns: 0.05,
        note_length: NoteLength::Short,
        chart_events: ChartEvents::Written,
        beside: None,
    }
}

/// A cohort in `<dir>/{mimic3,mimic4-note,truth}`.
pub fn cohort(dir: &Path, patients: u64) {
    synth(&spec(patients), Seed(7), dir, &|_| {}).unwrap();
}

/// Area under the receiver operating characteristic, ties at half.
pub fn auroc(scored: &[(f64, bool)]) -> f64 {
    let mut sorted = scored.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let positives = sorted.iter().filter(|s| s.1).count() as f64;
    let negatives = sorted.len() as f64 - positives;
    let mut ranks = 0.0;
    let mut before = 0.0;
    for equal in sorted.chunk_by(|a, b| a.0 == b.0) {
        let mean_rank = before + (equal.len() as f64 + 1.0) / 2.0;
        ranks += mean_rank * equal.iter().filter(|s| s.1).count() as f64;
        before += equal.len() as f64;
    }
    (ranks - positives * (positives + 1.0) / 2.0) / (positives * negatives)
}
