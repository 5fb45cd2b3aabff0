//! The experiment matrix, profiles, run store, launcher, and the program `clinpeft`.
//!
//! - A [`RunSpec`] holds every switch of one run, resolved; its text is `run.toml`, whose hash names the run folder. A
//!   finished run is never run twice, an interrupted one continues.
//! - A profile and the matrix (TOML below `datasets/`) give the list of runs ([`plan`]); each runs in a process of its own
//!   ([`launch`]), so that one that fails takes nothing with it and its peak memory is its own.
//! - Nothing below this crate reads a configuration.

mod base;
pub mod cohort;
pub mod convert;
pub mod doctor;
mod downstream;
mod error;
pub mod estimate;
mod family;
mod inputs;
mod language;
pub mod launch;
mod limits;
pub mod merge;
pub mod own;
pub mod parity;
pub mod plan;
pub mod predict;
mod predictions;
mod profile;
pub mod reproduce;
mod run;
pub mod search;
mod spec;
mod store;
pub mod switches;

pub use error::{Error, Result};
pub use family::Family;
pub use profile::{Matrix, Profile, cohort_named};
pub use run::{Control, Number, execute};
pub use spec::{AdapterSpec, Base, FurtherBase, Kind, NewBase, RunSpec, StackEntry, Tokens, Training};
pub use store::{RunFolder, RunState, Store};
