//! `clinpeft convert`: a downloaded model folder to safetensors.

use crate::terminal::Terminal;
use clap::Args;
use clinpeft_experiment::Result;
use clinpeft_experiment::models::convert::convert;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Convert {
    /// Model folder with config.json, weights and tokenizer
    folder: PathBuf,
    /// Output folder
    #[arg(long)]
    out: PathBuf,
    /// Largest size of a weight file, in MiB
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..1 << 40))]
    shard_mib: u64,
}

pub fn run(o: Convert, terminal: &Terminal) -> Result<()> {
    terminal.say(&convert(&o.folder, &o.out, o.shard_mib << 20)?.to_string());
    terminal.say(&format!("written to {}", o.out.display()));
    Ok(())
}
