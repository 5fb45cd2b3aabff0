//! Scores of a trained stack.

use crate::args::DeviceArg;
use crate::args::STOP;
use crate::terminal::Terminal;
use clap::Args;
use clinpeft_experiment::models::predict;
use clinpeft_experiment::{Result, RunFolder};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Predict {
    /// The run folder
    #[arg(long)]
    run: PathBuf,
    /// The notes
    #[arg(long)]
    input: PathBuf,
    /// CSV file to write: id, then the probability of each class
    #[arg(long)]
    out: PathBuf,
    #[command(flatten)]
    place: DeviceArg,
}

pub fn run(o: &Predict, terminal: &Terminal) -> Result<()> {
    let notes = predict::predict(&RunFolder::at(&o.run), &o.input, &o.out, &o.place.open()?, &STOP)?;
    terminal.say(&format!("{notes} notes scored in {}", o.out.display()));
    Ok(())
}
