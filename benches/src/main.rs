//! `clinpeft-bench`: what `cargo xtask bench` runs, one process for each figure. One JSON line on stdout.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod measure;
mod model;
mod products;
mod step;

use clap::{Parser, Subcommand};
use std::error::Error;
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Model folders with random weights, whole training steps, matrix products")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Writes a LLaMA folder with random weights, one shard for each layer.
    Model(model::Options),
    /// Times LoRA steps and evaluations of a model folder.
    Step(step::Options),
    /// Times matrix products y = x W^T.
    Products(products::Options),
}

fn main() -> ExitCode {
    // As a thread of the pool, as the program itself runs.
    match rayon::scope(|_| run().map_err(|e| e.to_string())) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<serde_json::Value, Box<dyn Error>> {
    match Arguments::parse().what {
        What::Model(options) => model::write(&options),
        What::Step(options) => step::time(&options),
        What::Products(options) => products::time(&options),
    }
}
