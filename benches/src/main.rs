//! `clinpeft-bench`: what `cargo xtask bench` runs, one process for each figure. One JSON line on stdout.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod model;
mod products;
mod step;

use clap::{Parser, Subcommand};
use clinpeft_tensor::Precision;
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

/// How exact products with frozen weights are.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Exactness {
    /// Every product of two f32 rounded once.
    StrictF32,
    /// Errors of the size of f32.
    F32,
    /// Operands rounded to bf16.
    Bf16,
}

impl From<Exactness> for Precision {
    fn from(e: Exactness) -> Precision {
        match e {
            Exactness::StrictF32 => Precision::StrictF32,
            Exactness::F32 => Precision::F32,
            Exactness::Bf16 => Precision::Bf16,
        }
    }
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

/// Seconds of each call: at most `repeats`, in about `seconds`, but three at least if so many are asked for.
fn timed(
    repeats: usize,
    seconds: f64,
    mut body: impl FnMut() -> Result<(), Box<dyn Error>>,
) -> Result<Vec<f64>, Box<dyn Error>> {
    let begin = std::time::Instant::now();
    let mut times = Vec::new();
    while times.len() < repeats.min(3) || (times.len() < repeats && begin.elapsed().as_secs_f64() < seconds) {
        let start = std::time::Instant::now();
        body()?;
        times.push(start.elapsed().as_secs_f64());
    }
    Ok(times)
}
