//! What this machine can run.

use crate::terminal::Terminal;
use clap::Args;
use clinpeft_experiment::Result;
use clinpeft_experiment::doctor::diagnose;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Doctor {
    /// The output folder whose disk is looked at
    #[arg(long, default_value = "out")]
    out: PathBuf,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub fn run(o: &Doctor, terminal: &Terminal) -> Result<()> {
    let found = diagnose(&o.out)?;
    terminal.print(&if o.json { found.json()? } else { found.to_string() })
}
