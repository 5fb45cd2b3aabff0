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

/// Parameter-efficient fine-tuning of LLaMA for the clinical domain
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the paper's experiments and print its tables
    Reproduce(commands::reproduce::Reproduce),
    /// Search hyperparameters on the validation splits
    Search(commands::search::Search),
    /// Write a synthetic cohort in the file format of MIMIC-III and MIMIC-IV-Note
    Synth(commands::synth::Synth),
    /// Make a dataset folder from raw MIMIC files
    Prepare(commands::prepare::Prepare),
    /// Compare the manifests of two dataset folders; exit code 1 if the data differ
    Compare(commands::compare::Compare),
    /// Step 1: adapt a base model to clinical notes
    Adapt(commands::adapt::Adapt),
    /// Step 2: fine-tune a model for a task
    Finetune(commands::finetune::Finetune),
    /// Merge low-rank adapters into the weights of their base model
    Merge(commands::merge::Merge),
    /// Write the report again from finished runs
    Report(commands::report::Report),
    /// Show which models and devices this machine can run
    Doctor(commands::doctor::Doctor),
    /// Start or resume the run of a run folder
    Run(commands::run::Run),
    /// Score the notes of a CSV file (columns id, text) with a fine-tuned model
    Predict(commands::predict::Predict),
    /// Evaluate a fine-tuned model on the notes of a CSV file (columns id, text, label); prints JSON
    Evaluate(commands::evaluate::Evaluate),
    /// Convert a downloaded model (pytorch_model.bin, vocab.txt, tokenizer.model) to safetensors and tokenizer.json
    Convert(commands::convert::Convert),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let terminal = Terminal::new();
    if stop_on_signals().is_err() {
        terminal.say("signals cannot be caught here; an interrupted run continues from its last checkpoint");
    }
    // If it cannot be installed, a file that is cut short while it is mapped ends the program without a message.
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
