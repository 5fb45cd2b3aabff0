//! `clinpeft predict`: scores of a fine-tuned model.

use crate::args::DeviceArg;
use crate::args::STOP;
use crate::terminal::Terminal;
use clap::Args;
use clinpeft_experiment::models::predict;
use clinpeft_experiment::{Result, RunFolder};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Predict {
    /// Run folder made by `finetune` or `reproduce`
    #[arg(long)]
    run: PathBuf,
    /// CSV file with the columns id, text
    #[arg(long)]
    input: PathBuf,
    /// Output CSV file: id, then the probability of each class
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
