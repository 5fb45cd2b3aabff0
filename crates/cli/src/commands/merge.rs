//! Adapters put into the weights.

use crate::terminal::Terminal;
use clap::Args;
use clinpeft_experiment::Result;
use clinpeft_experiment::models::merge::merge;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Merge {
    /// The base model: config.json, weights, tokenizer
    #[arg(long)]
    base: PathBuf,
    /// A run's `adapter` folder, or a folder with adapter_config.json
    #[arg(long)]
    adapter: PathBuf,
    /// Model folder to make
    #[arg(long)]
    out: PathBuf,
}

pub fn run(o: &Merge, terminal: &Terminal) -> Result<()> {
    let names = merge(&o.base, &o.adapter, &o.out)?;
    terminal.say(&format!("{} merged, written to {}", names.join(", "), o.out.display()));
    Ok(())
}
