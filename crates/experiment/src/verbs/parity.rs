//! Agreement with transformers and peft.

use super::device::Where;
use crate::terminal::Terminal;
use clap::Args;
use clinpeft_experiment::{Result, parity};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub struct Parity {
    /// The folder of cases
    folder: PathBuf,
    /// One case
    #[arg(long)]
    case: Option<String>,
    #[command(flatten)]
    place: Where,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Exit code 1 if a quantity is outside of its tolerance, 2 if the folder cannot be read.
pub fn run(o: Parity, terminal: &Terminal) -> Result<ExitCode> {
    let outcomes = o.place.open().and_then(|device| parity::run(&o.folder, &parity::Options { case: o.case, device }));
    let printed =
        outcomes.and_then(|all| Ok((if o.json { parity::json_lines(&all)? } else { parity::table(&all) }, all)));
    match printed {
        Ok((text, all)) => {
            terminal.print(&text)?;
            Ok(if all.iter().all(parity::Outcome::passed) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Err(e) => {
            terminal.error(&e.to_string());
            Ok(ExitCode::from(2))
        }
    }
}
