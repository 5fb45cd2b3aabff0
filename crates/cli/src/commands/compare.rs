//! `clinpeft compare`: whether two sites hold the same data.

use crate::terminal::Terminal;
use clap::Args;
use clinpeft_clinical::prepare::{Comparison, Manifest, compare};
use clinpeft_experiment::Result;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub struct Compare {
    /// manifest.json of a dataset folder
    first: PathBuf,
    /// manifest.json of another dataset folder
    second: PathBuf,
}

/// Exit code 1 if the prepared data differ, 2 if a manifest cannot be read.
pub fn run(o: &Compare, terminal: &Terminal) -> Result<ExitCode> {
    let read = |path: &PathBuf| clinpeft_files::read_json::<Manifest>(path);
    let (first, second) = match (read(&o.first), read(&o.second)) {
        (Ok(first), Ok(second)) => (first, second),
        (Err(e), _) | (_, Err(e)) => {
            let hint = "\nhint: give two files manifest.json that `prepare` wrote, of the same version";
            let said = e.to_string();
            terminal.error(&if said.contains("\nhint: ") { said } else { said + hint });
            return Ok(ExitCode::from(2));
        }
    };
    match compare(&first, &second) {
        Comparison::Equal(aside) => {
            terminal.print(&format!("equal: cohort hash {}\n", first.cohort.blake3))?;
            if let Some(aside) = aside {
                terminal.print(&format!("without effect: {aside}\n"))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Comparison::Different(what) => {
            terminal.print(&format!("different: {what}\n"))?;
            Ok(ExitCode::FAILURE)
        }
    }
}
