//! What every measurement needs: the precision to ask for and the timer.

use clinpeft_tensor::{Precision, gemm};
use std::error::Error;

/// How exact products with frozen weights are.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum Exactness {
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

/// Computes all products with the kernels of one instruction set; `gemm` is the `gemm` crate.
pub fn use_isa(isa: Option<&String>) -> Result<(), Box<dyn Error>> {
    match isa {
        Some(isa) if !gemm::force_isa(isa) => Err(format!("this machine has no GEMM kernel `{isa}`").into()),
        _ => Ok(()),
    }
}

/// Seconds of each call: at most `repeats`, in about `seconds`, but three at least if so many are asked for.
pub fn timed(
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
