//! `clinpeft adapt`: step 1 on a user's folders.

use super::run::carry_out;
use crate::args::DeviceArg;
use crate::args::setting;
use crate::terminal::Terminal;
use clap::Args;
use clap::builder::PossibleValuesParser;
use clinpeft_experiment::user_runs::{Options, adapt, methods};
use clinpeft_experiment::{Result, Store};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Own {
    /// Base model: folder with config.json, weights and tokenizer
    #[arg(long, required = true)]
    base: Option<PathBuf>,
    /// Dataset: a folder made by `prepare`, or a CSV file with the columns id, text, label (for a task) and optionally subject, split
    #[arg(long)]
    data: PathBuf,
    /// Output folder
    #[arg(long, default_value = "out")]
    pub out: PathBuf,
    /// Name of the row in the report's tables
    #[arg(long)]
    name: Option<String>,
    /// Random seed
    #[arg(long, default_value_t = 1234)]
    seed: u64,
    /// Override a setting of run.toml, for example training.epochs=3 or stack.clinical.adapter.r=8
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    set: Vec<(String, toml::Value)>,
    /// Number of threads; results do not depend on it
    #[arg(long, value_parser = crate::args::count)]
    pub threads: Option<usize>,
    #[command(flatten)]
    pub place: DeviceArg,
}

impl Own {
    pub fn options(&self) -> Options {
        Options {
            base: self.base.clone(),
            data: self.data.clone(),
            name: self.name.clone(),
            seed: self.seed,
            set: self.set.iter().cloned().collect(),
        }
    }
}

#[derive(Debug, Args)]
pub struct Adapt {
    #[command(flatten)]
    own: Own,
    /// Adapter to train
    #[arg(long, default_value = "lora", value_parser = PossibleValuesParser::new(methods()))]
    method: String,
}

pub fn run(o: &Adapt, terminal: &Terminal) -> Result<()> {
    let store = Store::new(&o.own.out);
    terminal.warn_of_open_folders(&store);
    let folder = adapt(&store, &o.own.options(), &o.method)?;
    carry_out(&folder, o.own.threads, &o.own.place, terminal)
}
