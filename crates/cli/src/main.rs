//! The program `clinpeft`.

mod args;
mod commands;
mod terminal;

use args::STOP;
use clap::{Parser, Subcommand};
use clinpeft_experiment::{Error, Result};
use std::io::ErrorKind;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use terminal::Terminal;

/// Two-step parameter-efficient fine-tuning of LLaMA on clinical notes, measured against the published tables.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the experiment matrix and print the tables
    Reproduce(commands::reproduce::Reproduce),
    /// Try settings for rows of the matrix and choose on the validation splits
    Search(commands::search::Search),
    /// Write a synthetic cohort in the raw file form of MIMIC-III and MIMIC-IV-Note
    Synth(commands::synth::Synth),
    /// Turn raw MIMIC files into a dataset folder
    Prepare(commands::prepare::Prepare),
    /// Tell from two manifests whether two sites hold the same prepared data; exit code 1 if not
    Compare(commands::compare::Compare),
    /// Step 1 on your own folders: adapt a base model to notes
    Adapt(commands::adapt::Adapt),
    /// Step 2 on your own folders: fine-tune for a task
    Finetune(commands::finetune::Finetune),
    /// Put low-rank adapters into the weights of their base model
    Merge(commands::merge::Merge),
    /// Write the report again, from run folders alone
    Report(commands::report::Report),
    /// Say what this machine can run
    Doctor(commands::doctor::Doctor),
    /// Run, or continue, what `run.toml` in a run folder says
    Run(commands::run::Run),
    /// Score the notes of a CSV file (id,text) with what a run of a task has learned
    Predict(commands::predict::Predict),
    /// The metrics of a run of a task on the notes of a CSV file (id,text,label), as JSON
    Evaluate(commands::evaluate::Evaluate),
    /// Write a downloaded model folder (pytorch_model.bin, vocab.txt, tokenizer.model) as safetensors and tokenizer.json
    Convert(commands::convert::Convert),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let terminal = Terminal::new();
    if stop_on_signals().is_err() {
        terminal.say("signals cannot be caught here; an interrupted run continues from its last checkpoint");
    }
    // DeviceArg it is refused, a file that is cut short while it is read ends the program without this message.
    let _ = clinpeft_weights::report_lost_pages();
    match dispatch(cli.command, &terminal) {
        Ok(code) => code,
        // Whoever read the output has seen enough: the code of a process that SIGPIPE ends.
        Err(Error::Output(e)) if e.kind() == ErrorKind::BrokenPipe => ExitCode::from(128 + 13),
        Err(e) => {
            terminal.error(&e.to_string());
            ExitCode::from(if matches!(e, Error::Stopped) { 130 } else { 1 })
        }
    }
}

/// Every signal by which people and schedulers end a program stops it with a checkpoint. A second Ctrl-C ends it at once;
/// nothing is half-written then either. Schedulers send theirs more than once, which changes nothing.
#[cfg(unix)]
fn stop_on_signals() -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU};
    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU])?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            if STOP.swap(true, Ordering::Relaxed) && signal == SIGINT {
                std::process::exit(130);
            }
        }
    })?;
    Ok(())
}

#[cfg(not(unix))]
fn stop_on_signals() -> std::io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

/// Commands that answer a question have exit codes of their own.
fn dispatch(command: Command, terminal: &Terminal) -> Result<ExitCode> {
    match command {
        Command::Reproduce(o) => commands::reproduce::run(o, terminal)?,
        Command::Search(o) => commands::search::run(o, terminal)?,
        Command::Synth(o) => commands::synth::run(o, terminal)?,
        Command::Prepare(o) => commands::prepare::run(o, terminal)?,
        Command::Compare(o) => return commands::compare::run(&o, terminal),
        Command::Adapt(o) => commands::adapt::run(&o, terminal)?,
        Command::Finetune(o) => commands::finetune::run(&o, terminal)?,
        Command::Merge(o) => commands::merge::run(&o, terminal)?,
        Command::Report(o) => commands::report::run(&o, terminal)?,
        Command::Doctor(o) => commands::doctor::run(&o, terminal)?,
        Command::Run(o) => commands::run::run(o, terminal)?,
        Command::Predict(o) => commands::predict::run(&o, terminal)?,
        Command::Evaluate(o) => commands::evaluate::run(&o, terminal)?,
        Command::Convert(o) => commands::convert::run(o, terminal)?,
    }
    Ok(ExitCode::SUCCESS)
}
