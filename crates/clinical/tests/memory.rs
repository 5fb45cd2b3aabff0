//! Memory of `prepare` does not grow with the number of notes. The allocator counts, so this file has one test.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

mod support;

use clinpeft_clinical::prepare::{CorpusSource, Fidelity, prepare};
use clinpeft_clinical::synth::{Beside, synth};
use clinpeft_rng::Seed;
use peak_alloc::PeakAlloc;
use std::path::Path;
use support::{options, spec};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// Megabytes allocated at the worst moment beyond what was there before.
fn peak(raw: &Path, fidelity: Fidelity) -> f32 {
    let mut options = options(&raw.join("mimic3"), &raw.join(fidelity.name()), fidelity);
    options.mimic4_note = Some(raw.join("mimic4-note"));
    options.corpus = CorpusSource::Combined;
    ALLOCATED.reset_peak_usage();
    let before = ALLOCATED.current_usage_as_mb();
    prepare(&options, &|_| {}).unwrap();
    ALLOCATED.peak_usage_as_mb() - before
}

#[test]
fn memory_does_not_grow_with_the_number_of_notes_and_events() {
    let dir = tempfile::tempdir().unwrap();
    let [few, many] = [1, 20].map(|times| {
        let mut spec = spec(300);
        spec.mimic4_radiology = times * 600;
        spec.beside = Some(Beside { notes: times * 1_000, chart_events: times * 10_000, stays: [72, 16] });
        let raw = dir.path().join(times.to_string());
        let written = synth(&spec, Seed(7), &raw, &|_| {}).unwrap();
        assert!(written.notes >= times * 1_000 && written.chart_events >= times * 10_000);
        raw
    });
    for fidelity in [Fidelity::Paper, Fidelity::Code] {
        let (few, many) = (peak(&few, fidelity), peak(&many, fidelity));
        // Buffers come and go with the reader's thread; twenty times the texts are some forty megabytes more.
        assert!(many < few + 4.0, "{}: {few} MB for few notes, {many} MB for many", fidelity.name());
    }
}
