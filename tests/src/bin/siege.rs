//! `cargo xtask siege` builds this and the program, and starts this.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use clap::Parser;
use clinpeft_tests::siege::record::{Record, page};
use clinpeft_tests::siege::world::World;
use clinpeft_tests::siege::{Options, program, readers};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// Attacks the program and its readers on two cores, and tells what broke.
#[derive(Debug, Parser)]
struct Cli {
    /// The program
    #[arg(long)]
    program: PathBuf,
    /// How long
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Seed of every choice; the same seed gives the same trials
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A part of an attack's name, or one trial: `kill/any#3`
    #[arg(long)]
    only: Option<String>,
    /// Folder for trials and failures; its content is replaced
    #[arg(long)]
    folder: Option<PathBuf>,
    /// File to write the page with the table to
    #[arg(long)]
    write: Option<PathBuf>,
    /// Call readers only, from this input on: the harness calls itself so
    #[arg(long, hide = true)]
    reader: Option<u64>,
    /// Make the corpus anew in this folder, and nothing else
    #[arg(long, hide = true)]
    corpus: Option<PathBuf>,
}

fn main() -> ExitCode {
    match siege(Cli::parse()) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::from(2)
        }
    }
}

fn siege(cli: Cli) -> io::Result<ExitCode> {
    let folder = cli.folder.clone().unwrap_or_else(|| std::env::temp_dir().join("clinpeft-siege"));
    std::fs::create_dir_all(&folder)?;
    let folder = folder.canonicalize()?;
    let Cli { program: built, minutes, seed, only, .. } = cli;
    let options = Options { program: built, folder, minutes, seed, only };
    if let Some(first) = cli.reader {
        return readers::work(&options, first).map(|()| ExitCode::SUCCESS);
    }
    for old in ["world", "failures", "trial", "readers"] {
        let old = options.folder.join(old);
        if old.exists() {
            std::fs::remove_dir_all(old)?;
        }
    }
    if let Some(to) = cli.corpus {
        let world = World::make(&options.program, &options.folder.join("world"))?;
        return readers::corpus::make(&world, &to)
            .map(|()| ExitCode::SUCCESS)
            .map_err(|e| io::Error::other(e.to_string()));
    }
    println!("siege: seed {seed}, {minutes} minutes, in {}", options.folder.display());
    let beside = options.clone();
    let reading = std::thread::spawn(move || {
        let mut record = Record::default();
        readers::attack(&beside, &mut record, &mut |failure| println!("{failure}")).map(|()| record)
    });
    let mut record = Record::default();
    let ended = program(&options, &mut record, &mut |failure| println!("{failure}"));
    let read = reading.join().map_err(|_| io::Error::other("the thread of the readers is gone"))??;
    ended?;
    record.counts.extend(read.counts);
    record.reading = read.reading;
    println!("\n{}\n{} failures", record.table(), record.failed());
    if let Some(path) = cli.write {
        let said = format!("`cargo xtask siege --minutes {minutes} --seed {seed}` on this machine:");
        clinpeft_files::write_atomic(&path, page(&record.table(), &said)).map_err(io::Error::other)?;
    }
    Ok(if record.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
