//! `clinpeft merge`: adapters merged into the weights.

use crate::terminal::Terminal;
use clap::Args;
use clinpeft_experiment::Result;
use clinpeft_experiment::models::merge::merge;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Merge {
    /// Base model: folder with config.json, weights and tokenizer
    #[arg(long)]
    base: PathBuf,
    /// Adapter: the folder `adapter` of a run, or any folder with adapter_config.json
    #[arg(long)]
    adapter: PathBuf,
    /// Output folder of the merged model
    #[arg(long)]
    out: PathBuf,
}

pub fn run(o: &Merge, terminal: &Terminal) -> Result<()> {
    let names = merge(&o.base, &o.adapter, &o.out)?;
    terminal.say(&format!("{} merged, written to {}", names.join(", "), o.out.display()));
    Ok(())
}
