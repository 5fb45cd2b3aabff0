//! `cargo xtask parity` builds this and starts it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use clap::Parser;
use clinpeft_experiment::{Error, Result};
use clinpeft_tests::parity::{Options, Outcome, json_lines, run, table};
use std::path::PathBuf;
use std::process::ExitCode;

/// Compare with what transformers and peft computed: every case of a folder, error beside tolerance
#[derive(Debug, Parser)]
#[command(name = "parity")]
struct Cli {
    /// The folder of cases
    folder: PathBuf,
    /// One case
    #[arg(long)]
    case: Option<String>,
    /// Device: cpu, vulkan or cuda; with a number where there are several, as in cuda:1
    #[arg(long, default_value = "cpu")]
    device: String,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Exit code 1 if a quantity is outside of its tolerance, 2 if the folder cannot be read.
fn main() -> ExitCode {
    match compare(Cli::parse()) {
        Ok((text, passed)) => {
            print!("{text}");
            if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::from(2)
        }
    }
}

fn compare(cli: Cli) -> Result<(String, bool)> {
    let device = clinpeft_kernels::open(&cli.device).map_err(|e| Error::Model(e.into()))?;
    let outcomes = run(&cli.folder, &Options { case: cli.case, device })?;
    let text = if cli.json { json_lines(&outcomes)? } else { table(&outcomes) };
    Ok((text, outcomes.iter().all(Outcome::passed)))
}
