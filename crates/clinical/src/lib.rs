//! From raw MIMIC tables to datasets of admission notes, and a synthetic cohort to try it on.
//!
//! - **Streaming**: tables are read and written row by row; memory does not grow with note text.
//! - **Two presets of rules**: [`Fidelity::Code`](prepare::Fidelity::Code) repeats the published task scripts to the byte,
//!   [`Fidelity::Paper`](prepare::Fidelity::Paper) repairs their losses. The manifest names every difference.
//! - **Known truth**: a synthetic cohort comes with the probability of every outcome given the note, so the best
//!   reachable score is known.
//! - **Silent**: no error, manifest or `Debug` shows a word of a note or the value of a cell.
//! - **Whole or not at all**: folders appear when they are complete.
//!
//! | module | what it does |
//! |---|---|
//! | [`synth`] | writes a cohort in the raw form of MIMIC-III v1.4 and MIMIC-IV-Note 2.2 |
//! | [`prepare`] | makes the tasks and the adaptation corpus from raw tables |
//! | [`sections`] | cuts the admission note out of a discharge summary |
//! | [`truth`] | reads the true probabilities of a synthetic cohort |
//!
//! [`Dataset`] and [`load_corpus`] read what `prepare` wrote, and nothing else: files are compared with the manifest.
//! [`OwnNotes`] reads notes that a person wrote.
//!
//! ```
//! use clinpeft_clinical::prepare::{CorpusSource, Diff, Fidelity, IdSource, NearDuplicates, PrepareOptions, prepare};
//! use clinpeft_clinical::synth::{ChartEvents, CohortSpec, NoteLength, synth};
//! use clinpeft_clinical::{Dataset, Task};
//! use clinpeft_rng::Seed;
//!
//! let dir = tempfile::tempdir()?;
//! let spec = CohortSpec {
//!     patients: 100,
//!     mimic4_notes: 20,
//!     mimic4_radiology: 40,
//!     mimic4_overlap: 0.0,
//!     authors: 4,
//!     newborns: 0.02,
//!     note_length: NoteLength::Short,
//!     chart_events: ChartEvents::HeaderOnly,
//!     beside: None,
//! };
//! synth(&spec, Seed(1), dir.path(), &|_| {})?;
//! let options = PrepareOptions {
//!     mimic3: Some(dir.path().join("mimic3")),
//!     mimic4_note: Some(dir.path().join("mimic4-note")),
//!     out: dir.path().join("data"),
//!     fidelity: Fidelity::Paper,
//!     splits: None,
//!     seed: Seed(1),
//!     tasks: vec![Task::Mortality],
//!     corpus: CorpusSource::Mimic4,
//!     pmv_labels: None,
//!     near_duplicates: NearDuplicates::Keep,
//!     diff: Diff::None,
//!     ids: IdSource::Kept,
//!     threads: 2,
//!     stop: None,
//! };
//! prepare(&options, &|progress| eprintln!("{}: {}", progress.table, progress.rows))?;
//! let dataset = Dataset::load(&options.out, Task::Mortality)?;
//! assert_eq!(dataset.labels, ["NOT_DIE", "DIE"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod dataset;
mod error;
mod id_key;
mod ids;
mod ordered;
mod output;
mod outputs;
mod own_notes;
pub mod prepare;
mod progress;
pub mod sections;
pub mod synth;
mod table;
mod task;
pub mod truth;

pub use dataset::{CorpusSplit, Dataset, Example, Label, load_corpus};
pub use error::{Error, Result};
pub use id_key::IdKey;
pub use ids::{DAY, HOUR, HadmId, IcuStayId, Moment, NoteText, SubjectId};
pub use own_notes::{OwnNote, OwnNotes};
pub use progress::Progress;
pub use table::InputFile;
pub use task::{Split, Task, TaskKind};
