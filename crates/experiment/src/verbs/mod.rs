//! The verbs of the program, one file each: its options, and a call into the library.

use clinpeft_experiment::Result;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

pub mod adapt;
pub mod compare;
pub mod convert;
pub mod device;
pub mod doctor;
pub mod evaluate;
pub mod finetune;
pub mod merge;
pub mod parity;
pub mod predict;
pub mod prepare;
pub mod report;
pub mod reproduce;
pub mod run;
pub mod search;
pub mod synth;

/// Set by a signal.
pub static STOP: AtomicBool = AtomicBool::new(false);

/// As many as asked for, or as this machine has.
pub fn threads(wanted: Option<usize>) -> usize {
    wanted.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1)
}

/// A number of threads from the command line.
pub fn count(text: &str) -> std::result::Result<usize, String> {
    text.parse().ok().filter(|n| (1..=1024).contains(n)).ok_or_else(|| "a number of threads is from 1 to 1024".into())
}

/// This program, to start runs with.
pub fn program() -> Result<PathBuf> {
    Ok(std::env::current_exe().map_err(clinpeft_files::at("find", Path::new("clinpeft")))?)
}

/// A place in `run.toml` and a TOML value; what is no number, list or table may stand without quotes.
pub fn setting(text: &str) -> std::result::Result<(String, toml::Value), String> {
    let (place, value) = text.split_once('=').ok_or("a setting is PLACE=VALUE, for example training.epochs=3")?;
    let read = |value: &str| -> Option<toml::Value> { format!("v = {value}").parse::<toml::Table>().ok()?.remove("v") };
    let value = read(value).or_else(|| read(&format!("{value:?}")));
    Ok((place.to_string(), value.ok_or("the value is not TOML")?))
}
