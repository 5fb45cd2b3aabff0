//! `clinpeft report`: the report from finished runs.

use crate::terminal::Terminal;
use clap::Args;
use clinpeft_experiment::{Result, RunSpec, Store, report};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Report {
    /// Output folder of `reproduce`, `adapt` or `finetune`
    #[arg(long, default_value = "out")]
    out: PathBuf,
}

pub fn run(o: &Report, terminal: &Terminal) -> Result<()> {
    let store = Store::new(&o.out);
    let runs = report::found(&store)?;
    let summary = report::report(&store, &runs.iter().collect::<Vec<&RunSpec>>())?;
    terminal.summary(&summary)
}
