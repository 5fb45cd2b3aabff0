//! Runs, plans and profiles: what the program `clinpeft` does, as a library.
//!
//! - A [`spec::RunSpec`] holds every switch of one run, resolved; its text is `run.toml`, whose hash names the run folder. A
//!   finished run is never run twice, an interrupted one continues.
//! - A profile and the matrix (TOML below `datasets/`) give the list of runs ([`plan`]); each runs in a process of its own
//!   ([`launch`]), so that one that fails takes nothing with it and its peak memory is its own.
//! - Nothing below this crate reads a configuration.
//!
//! Bottom up: [`spec`], [`profiles`], [`models`], [`resources`], [`data`], [`plan`], [`run`], then [`reproduce`], [`sweep`],
//! [`user_runs`] and [`report`].

pub mod data;
pub mod doctor;
mod error;
pub mod events;
pub mod launch;
pub mod models;
pub mod plan;
pub mod profiles;
pub mod report;
pub mod reproduce;
pub mod resources;
pub mod run;
pub mod spec;
mod store;
pub mod sweep;
pub mod user_runs;

pub use error::{Error, Result};
pub use models::family::{ConfigSizes, ModelFamily, Pretraining, TinySizes};
pub use models::registry::Family;
pub use profiles::{Matrix, Profile, cohort_named};
pub use run::context::Control;
pub use run::execute;
pub use run::record::Number;
pub use spec::{AdapterSpec, BagOfWords, Base, FurtherBase, Kind, NewBase, RunSpec, StackEntry, Tokens, Training};
pub use store::{RunFolder, RunState, Store};
