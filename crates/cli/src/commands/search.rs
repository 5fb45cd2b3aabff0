//! `clinpeft search`: hyperparameters chosen on the validation splits.

use crate::args::DeviceArg;
use crate::args::{STOP, program, threads};
use crate::terminal::Terminal;
use clap::Args;
use clinpeft_experiment::data::inputs_dir::Inputs;
use clinpeft_experiment::events::ProgressEvent;
use clinpeft_experiment::launch::Launcher;
use clinpeft_experiment::plan::filter::RowFilter;
use clinpeft_experiment::profiles::choices::BEGINNING;
use clinpeft_experiment::profiles::search_named;
use clinpeft_experiment::{Result, Store, sweep};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Search {
    /// Search spaces and sizes: smoke, demo or paper
    #[arg(long, default_value = "demo")]
    profile: String,
    /// Output folder for data and runs
    #[arg(long, default_value = "out")]
    out: PathBuf,
    /// Input folder with models and raw MIMIC files, for the profile `paper`
    #[arg(long, default_value = "inputs")]
    inputs: PathBuf,
    /// Search only these rows (by a part of their name) and tasks, separated by commas
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Search only the tables with these numbers, separated by commas
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u8).range(2..=4))]
    table: Vec<u8>,
    /// File to write the chosen settings to
    #[arg(long)]
    write: PathBuf,
    #[command(flatten)]
    place: DeviceArg,
    /// Number of threads; results do not depend on it
    #[arg(long, value_parser = crate::args::count)]
    threads: Option<usize>,
}

pub fn run(o: Search, terminal: &Terminal) -> Result<()> {
    let program = program()?;
    let launcher = Launcher { program: &program, threads: threads(o.threads), device: &o.place.device, stop: &STOP };
    clinpeft_files::refuse_foreign_file(&o.write, BEGINNING.as_bytes())?;
    o.place.open()?;
    let store = Store::new(&o.out);
    terminal.warn_of_open_folders(&store);
    let search = search_named(&o.profile)?;
    let mut watch = terminal.watch();
    let mut on_event = |event: ProgressEvent<'_>| watch.on_event(&event);
    let only = RowFilter { words: o.only, tables: o.table };
    let inputs = Inputs::at(&o.inputs)?;
    let choices = sweep::search(&store, (&o.profile, &search), (&inputs, &only), &launcher, &mut on_event);
    drop(watch);
    let text = choices?.text(&format!("cargo xtask search --profile {}", o.profile))?;
    clinpeft_files::write_atomic(&o.write, &text)?;
    terminal.print(&text)
}
