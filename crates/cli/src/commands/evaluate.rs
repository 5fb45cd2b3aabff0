//! `clinpeft evaluate`: metrics of a fine-tuned model.

use crate::args::DeviceArg;
use crate::args::STOP;
use crate::terminal::Terminal;
use clap::Args;
use clinpeft_experiment::models::predict;
use clinpeft_experiment::{Error, Result, RunFolder};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Evaluate {
    /// Run folder made by `finetune` or `reproduce`
    #[arg(long)]
    run: PathBuf,
    /// CSV file with the columns id, text, label
    #[arg(long)]
    input: PathBuf,
    #[command(flatten)]
    place: DeviceArg,
}

pub fn run(o: &Evaluate, terminal: &Terminal) -> Result<()> {
    let metrics = predict::evaluate(&RunFolder::at(&o.run), &o.input, &o.place.open()?, &STOP)?;
    let text = serde_json::to_string_pretty(&metrics);
    terminal.print(&(text.map_err(|e| Error::Options(e.to_string()))? + "\n"))
}
