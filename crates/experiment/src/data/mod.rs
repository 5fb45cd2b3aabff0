//! Dataset folders and what they are made from.

pub mod dataset;
pub mod inputs_dir;
pub mod user_csv;
