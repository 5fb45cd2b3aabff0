//! MIMIC readers, cohorts, labels, splits, attrition and the synthetic cohort.

mod dataset;
mod error;
mod ids;
pub mod prepare;
pub mod sections;
pub mod synth;
mod table;
mod task;
pub mod truth;

pub use dataset::{CorpusSplit, Dataset, Example, Label, load_corpus};
pub use error::{Error, Result};
pub use ids::{DAY, HOUR, HadmId, IcuStayId, Moment, NoteText, SubjectId};
pub use table::InputFile;
pub use task::{Split, Task, TaskKind};
