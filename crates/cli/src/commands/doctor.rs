//! `clinpeft doctor`: what this machine can run.

use crate::terminal::Terminal;
use clap::Args;
use clinpeft_experiment::Result;
use clinpeft_experiment::doctor::diagnose;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Doctor {
    /// Output folder whose disk is checked
    #[arg(long, default_value = "out")]
    out: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(o: &Doctor, terminal: &Terminal) -> Result<()> {
    let found = diagnose(&o.out)?;
    terminal.print(&if o.json { found.json()? } else { found.to_string() })
}
