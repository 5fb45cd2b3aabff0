//! `clinpeft reproduce`: the paper's experiment matrix.

use crate::args::DeviceArg;
use crate::args::{STOP, program, setting, threads};
use crate::terminal::Terminal;
use clap::Args;
use clinpeft_clinical::prepare::Fidelity;
use clinpeft_experiment::data::inputs_dir::Inputs;
use clinpeft_experiment::events::ProgressEvent;
use clinpeft_experiment::plan::cost;
use clinpeft_experiment::plan::filter::RowFilter;
use clinpeft_experiment::resources::device_specs::Device;
use clinpeft_experiment::{Result, Store, reproduce};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Reproduce {
    /// Profile: smoke (seconds), llama (Table 2 and the LLaMA rows), demo (every row and column, minutes) or paper (the real
    /// models on MIMIC)
    #[arg(long, default_value = "demo")]
    profile: String,
    /// Output folder for data, runs and report
    #[arg(long, default_value = "out")]
    out: PathBuf,
    /// Input folder with models and raw MIMIC files, for the profile `paper`
    #[arg(long, default_value = "inputs")]
    inputs: PathBuf,
    /// First random seed
    #[arg(long)]
    seed: Option<u64>,
    /// Number of seeds
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// Run only these rows (by a part of their name) and tasks, separated by commas
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Run only the tables with these numbers, separated by commas
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u8).range(2..=4))]
    table: Vec<u8>,
    /// Rules: paper (corrected), code (as published), or paper,code for both side by side [default: those of the profile]
    #[arg(long, value_delimiter = ',')]
    fidelity: Vec<Fidelity>,
    /// Override a setting of every run.toml, for example training.micro_tokens=1024
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    set: Vec<(String, toml::Value)>,
    #[command(flatten)]
    place: DeviceArg,
    /// Number of threads; results do not depend on it
    #[arg(long, value_parser = crate::args::count)]
    threads: Option<usize>,
    /// Print the planned runs, their cost and missing inputs, and stop
    #[arg(long)]
    dry_run: bool,
    /// Hardware assumed for the time estimate: a100-80gb, h100 or cpu-2
    #[arg(long, default_value = "a100-80gb", requires = "dry_run")]
    on: Device,
    /// Print the plan as JSON
    #[arg(long, requires = "dry_run")]
    json: bool,
}

pub fn run(o: Reproduce, terminal: &Terminal) -> Result<()> {
    let store = Store::new(&o.out);
    terminal.warn_of_open_folders(&store);
    let seeds = match (o.seed, o.seeds) {
        (None, 1) => vec![],
        (first, n) => (0..n).map(|i| first.unwrap_or(1234).wrapping_add(i)).collect(),
    };
    let options = reproduce::Options {
        profile: &o.profile,
        seeds,
        only: RowFilter { words: o.only, tables: o.table },
        fidelities: o.fidelity,
        inputs: Inputs::at(&o.inputs)?,
        set: o.set.into_iter().collect(),
        threads: threads(o.threads),
        device: &o.place.device,
    };
    let mut watch = terminal.watch();
    let mut on_event = |event: ProgressEvent<'_>| watch.on_event(&event);
    if o.dry_run {
        let (profile, runs) = reproduce::dry_run(&store, &options, &mut on_event)?;
        drop(watch);
        let plan = cost::plan(&store, &profile, &options.inputs, &runs, o.on)?;
        return terminal.print(&if o.json { plan.json()? } else { plan.to_string() });
    }
    // A device that cannot be opened is an error before the first run starts.
    o.place.open()?;
    let program = program()?;
    let ended = reproduce::reproduce(&store, &options, &program, &STOP, &mut on_event);
    drop(watch);
    terminal.summary(&ended?)
}
