//! `cargo xtask`: the checks and the front door of the workspace.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use std::env;
use std::process::ExitCode;

mod bench;
mod program;
mod siege;
mod test;

const USAGE: &str = "usage: cargo xtask COMMAND

  reproduce [OPTIONS]   build the program, run the experiment matrix, print the tables
  doctor                what this machine can run
  adapt, finetune, merge, report, search, run, synth, prepare, compare, predict, evaluate, convert
                        the program's other commands; `cargo xtask COMMAND --help` shows their options
  parity DIR [OPTIONS]  compare with what transformers and peft computed
  test                  every test: layers, crates, the whole program, Vulkan where a driver is
  lint                  rustfmt, clippy and documentation without a warning
  bench [OPTIONS]       figures of this machine, beside torch and peft with `--baseline PYTHON`
  siege [OPTIONS]       hostile trials of the program and its readers: --minutes N, --seed S, --only WORD, --write
  tidy                  layers, import cycles, ops, manifests, lines of code: CONTRIBUTING.md lists every check";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["test"] => test::test(),
        ["lint"] => test::lint(),
        ["tidy"] => program::tidy(),
        ["bench", options @ ..] => bench::run(options),
        ["siege", options @ ..] => siege::run(options),
        ["parity", ..] => program::run("clinpeft-tests", "parity", &arguments[1..]),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        [] => Err(format!("no command\nhint: choose one\n\n{USAGE}")),
        // The program knows its commands, and says so of unknown ones.
        _ => program::run("clinpeft-cli", "clinpeft", &arguments),
    };
    outcome.unwrap_or_else(|message| {
        eprintln!("error: {message}");
        ExitCode::from(2)
    })
}
