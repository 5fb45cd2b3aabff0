//! What an interrupted run does when it goes on.

#![allow(clippy::unwrap_used, reason = "tests")]

mod tiny;

use clinpeft_nn::ForwardCtx;
use clinpeft_train::*;
use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tiny::*;

#[test]
fn stopped_and_resumed_equals_uninterrupted_to_the_bit() {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut once = language();
    train(&mut once, &plan(2, 2), settings(), whole.path(), None);
    for stop in [1, 3, 5] {
        let mut interrupted = language();
        assert!(!train(&mut interrupted, &plan(2, 2), settings(), parts.path(), Some(stop)).finished);
    }
    let mut resumed = language();
    assert!(train(&mut resumed, &plan(2, 2), settings(), parts.path(), None).finished);
    assert_eq!(values(&once), values(&resumed));
    assert_eq!(events(whole.path()), events(parts.path()));
}

#[test]
fn ranks_fall_in_training_and_an_interruption_changes_nothing() {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut once = with_falling_ranks();
    train(&mut once, &plan(3, 2), settings(), whole.path(), None);
    let singular = values(&once).into_iter().filter(|(name, _)| name.ends_with("lora_E"));
    let left: usize = singular.clone().map(|(_, v)| v.iter().filter(|x| **x != 0.0).count()).sum();
    assert_eq!(left, 2 * singular.count());
    for stop in [2, 4] {
        let mut interrupted = with_falling_ranks();
        train(&mut interrupted, &plan(3, 2), settings(), parts.path(), Some(stop));
    }
    let mut resumed = with_falling_ranks();
    train(&mut resumed, &plan(3, 2), settings(), parts.path(), None);
    assert_eq!(values(&once), values(&resumed));
}

/// Runs with a validation that gives these scores by epoch, from epoch `first` on; it is stopped in that of epoch `stop_in`.
fn scored<O: Objective>(o: &mut O, scores: &[f64], first: usize, stop_in: Option<usize>, dir: &Path) -> TrainReport {
    let stop = AtomicBool::new(false);
    let mut epoch = first;
    let mut validate = |_: &O| {
        if stop_in == Some(epoch) {
            stop.store(true, Ordering::Relaxed);
            return Err(Error::Stopped);
        }
        epoch += 1;
        Ok(Validation { score: scores[epoch - 2], metrics: [("auroc".to_string(), scores[epoch - 2])].into() })
    };
    let (checkpoint, events) = (dir.join("state.safetensors"), dir.join("events.jsonl"));
    let run = Trainer {
        batches: &plan(scores.len() as u64, 2),
        settings: Settings { selection: Selection::BestValidation, ..settings() },
        checkpoint: &checkpoint,
        events: &events,
        validate: Some(&mut validate),
        on_event: &mut |_, _| (),
        stop: &stop,
    };
    run.train(o).unwrap()
}

fn events(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("events.jsonl")).unwrap()
}

/// A run that is interrupted in any validation is the run that was not.
fn check_interrupted_validations(new: fn() -> LanguageModelling, scores: &[f64]) {
    let whole = tempfile::tempdir().unwrap();
    let mut once = new();
    let outcome = scored(&mut once, scores, 1, None, whole.path());
    for epoch in 1..=scores.len() {
        let parts = tempfile::tempdir().unwrap();
        assert!(!scored(&mut new(), scores, 1, Some(epoch), parts.path()).finished);
        let mut resumed = new();
        let again = scored(&mut resumed, scores, epoch, None, parts.path());
        assert_eq!(TrainReport { seconds: outcome.seconds, ..again }, outcome, "interrupted in epoch {epoch}");
        assert_eq!(events(parts.path()), events(whole.path()));
        assert_eq!(values(&once), values(&resumed));
        let keys = |o: &LanguageModelling| o.stack.entries()[0].adapter.saved().unwrap().keys;
        assert_eq!(keys(&once), keys(&resumed));
    }
}

#[test]
fn a_tie_is_a_tie_after_an_interruption() {
    // A parser that does not round exactly reads these decimals one unit in the last place less: the later epoch would win.
    for score in [14.0 / 15.0, 8.0 / 17.0] {
        for new in [language, with_falling_ranks] {
            check_interrupted_validations(new, &[0.1, score, 0.2, score]);
        }
    }
}

/// An objective that counts its micro-batches, and sets `stop` in one of them.
struct Counted {
    inner: LanguageModelling,
    stop: Arc<AtomicBool>,
    stop_in: Option<usize>,
    run: Cell<usize>,
}

impl Objective for Counted {
    fn denominator(&self, rows: &[usize]) -> f64 {
        self.inner.denominator(rows)
    }

    fn loss(&self, rows: &[usize], ctx: &ForwardCtx) -> Result<MicroBatchLoss> {
        self.run.set(self.run.get() + 1);
        if Some(self.run.get()) == self.stop_in {
            self.stop.store(true, Ordering::Relaxed);
        }
        self.inner.loss(rows, ctx)
    }

    fn parts(&self) -> Parts<'_> {
        self.inner.parts()
    }

    fn parts_mut(&mut self) -> PartsMut<'_> {
        self.inner.parts_mut()
    }
}

/// Runs two epochs of three steps of four micro-batches; `stop_in` 0 is before the first.
fn counted(dir: &Path, stop_in: Option<usize>) -> (Counted, TrainReport) {
    let stop = Arc::new(AtomicBool::new(stop_in == Some(0)));
    let mut o = Counted { inner: language(), stop: stop.clone(), stop_in, run: Cell::new(0) };
    let run = Trainer {
        batches: &plan(2, 4),
        settings: settings(),
        checkpoint: &dir.join("state.safetensors"),
        events: &dir.join("events.jsonl"),
        validate: None,
        on_event: &mut |_, _| (),
        stop: &stop,
    };
    let outcome = run.train(&mut o).unwrap();
    (o, outcome)
}

#[test]
fn a_stop_is_honoured_before_the_next_micro_batch() {
    let whole = tempfile::tempdir().unwrap();
    let (once, outcome) = counted(whole.path(), None);
    assert_eq!(once.run.get(), 24);
    let parts = tempfile::tempdir().unwrap();
    // Before the first, in the middle of steps, and in the last micro-batch of one; each time a whole process later.
    for stop_in in [0, 1, 4, 6, 3] {
        let (stopped, ended) = counted(parts.path(), Some(stop_in));
        assert!(!ended.finished);
        assert_eq!(stopped.run.get(), stop_in, "no micro-batch after the stop");
    }
    let (resumed, again) = counted(parts.path(), None);
    assert_eq!(TrainReport { seconds: outcome.seconds, ..again }, outcome, "tokens of an unfinished step do not count");
    assert_eq!(values(&once), values(&resumed));
    assert_eq!(events(whole.path()), events(parts.path()));
}

#[test]
fn a_stop_ends_an_evaluation() {
    let stop = AtomicBool::new(true);
    let (text, mut task) = (language(), classification());
    assert!(matches!(text.evaluate(&text.data, 40, &stop), Err(Error::Stopped)));
    assert!(matches!(task.evaluate(&task.data, 40, &stop), Err(Error::Stopped)));
    assert!(matches!(task.keep_training_features(40, &stop), Err(Error::Stopped)));
}

/// What `fit` says of the files of a run in `dir`.
fn said(o: &mut LanguageModelling, plan: &BatchSchedule, dir: &Path) -> Result<TrainReport> {
    let run = Trainer {
        batches: plan,
        settings: settings(),
        checkpoint: &dir.join("state.safetensors"),
        events: &dir.join("events.jsonl"),
        validate: None,
        on_event: &mut |_, _| (),
        stop: &AtomicBool::new(true),
    };
    run.train(o)
}

#[test]
fn a_damaged_checkpoint_is_told_from_every_other_error() {
    let dir = tempfile::tempdir().unwrap();
    train(&mut language(), &plan(2, 1), settings(), dir.path(), Some(4));
    let path = dir.path().join("state.safetensors");
    let whole = std::fs::read(&path).unwrap();
    let mut o = language();
    let mut damaged = |bytes: &[u8], place: usize| {
        std::fs::write(&path, bytes).unwrap();
        match said(&mut o, &plan(2, 1), dir.path()) {
            Err(Error::Damaged { path: named, .. }) => assert_eq!(named, path),
            other => panic!("byte {place}: {other:?}"),
        }
    };
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    for place in (0..header).chain((header..whole.len()).step_by(61)) {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        damaged(&bytes, place);
    }
    for length in [0, 5, header, whole.len() - 1] {
        damaged(&whole[..length], length);
    }
    std::fs::write(&path, &whole).unwrap();
    assert!(said(&mut language(), &plan(2, 1), dir.path()).is_ok());
    let other = said(&mut language(), &plan(1, 1), dir.path()).unwrap_err();
    assert!(matches!(other, Error::Checkpoint(_)), "{other}");
    std::fs::write(dir.path().join("events.jsonl"), "{}\n").unwrap();
    assert!(matches!(said(&mut language(), &plan(2, 1), dir.path()), Err(Error::Damaged { .. })));
}

#[test]
fn a_checkpoint_of_before_checksums_is_read() {
    use clinpeft_weights::{Checkpoint, Keep, save};
    let dir = tempfile::tempdir().unwrap();
    train(&mut language(), &plan(2, 1), settings(), dir.path(), Some(4));
    let path = dir.path().join("state.safetensors");
    let file = Checkpoint::open_file(&path).unwrap();
    let tensors = file.tensors().keys().map(|n| (n.clone(), file.any(n, Keep::Stored).unwrap())).collect();
    let lines = events(dir.path()).lines().count();
    let state = format!(
        r#"{{"step":4,"validated":1,"best":null,"epoch_loss":[2.5,1],"tokens":7,"lines":{lines},"seconds":1.5,"last_loss":2.5}}"#
    );
    save(&path, &tensors, &[("state".to_string(), state)].into()).unwrap();
    let outcome = said(&mut language(), &plan(2, 1), dir.path()).unwrap();
    assert_eq!((outcome.steps, outcome.tokens, outcome.last_loss), (4, 7, 2.5));
}

#[test]
fn a_score_that_is_no_number_ends_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let mut validate = |_: &LanguageModelling| Ok(Validation { score: f64::NAN, metrics: Default::default() });
    let run = Trainer {
        batches: &plan(1, 1),
        settings: settings(),
        checkpoint: &dir.path().join("s"),
        events: &dir.path().join("e"),
        validate: Some(&mut validate),
        on_event: &mut |_, _| (),
        stop: &AtomicBool::new(false),
    };
    let error = run.train(&mut language()).unwrap_err().to_string();
    assert!(error.contains("score of epoch 1 is not a number"), "{error}");
}
