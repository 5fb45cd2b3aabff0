//! What both programs share: the shape of the model, the tokens, the clock, the line that is printed.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// LLaMA of the size `small` of `cargo xtask bench`.
pub const WIDTH: usize = 768;
pub const LAYERS: usize = 12;
pub const HEADS: usize = 12;
pub const HEAD: usize = WIDTH / HEADS;
pub const INNER: usize = 2048;
pub const VOCABULARY: usize = 32_000;
pub const EPS: f64 = 1e-5;
/// LoRA on the projections of queries and values.
pub const RANK: usize = 16;
pub const SCALE: f64 = 2.0;
pub const LEARNING_RATE: f64 = 1e-4;
pub const WEIGHT_DECAY: f64 = 0.01;
/// Standard deviation of all weights.
pub const SPREAD: f64 = 0.02;

/// Sequences and tokens of each.
pub const BATCH: usize = 4;
pub const LENGTH: usize = 128;

pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Tokens of all sequences.
pub fn tokens() -> Vec<u32> {
    (0..BATCH * LENGTH).map(|i| ((i * 7919 + 13) % VOCABULARY) as u32).collect()
}

/// Cosines and sines of the rotary embedding, `[LENGTH, HEAD / 2]`.
pub fn angles() -> (Vec<f32>, Vec<f32>) {
    let angle = |at: usize| {
        let (position, pair) = (at / (HEAD / 2), at % (HEAD / 2));
        position as f64 / 10_000f64.powf(2.0 * pair as f64 / HEAD as f64)
    };
    (0..LENGTH * HEAD / 2).map(|at| (angle(at).cos() as f32, angle(at).sin() as f32)).unzip()
}

/// Runs steps and evaluations of a ready model and prints the line that `cargo xtask bench` reads.
pub fn measure<M>(
    model: &mut M,
    mut step: impl FnMut(&mut M) -> Outcome<f32>,
    mut evaluate: impl FnMut(&mut M) -> Outcome<()>,
) -> Outcome<()> {
    let started = std::env::var("BENCH_START").ok().and_then(|s| s.parse::<f64>().ok());
    let seconds = std::env::args().nth(1).and_then(|s| s.parse().ok()).unwrap_or(60.0);
    let loss = step(model)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
    let steps = timed(seconds, || step(model).map(drop))?;
    let peak = peak_bytes();
    let evaluations = timed(seconds / 2.0, || evaluate(model))?;
    let line = serde_json::json!({
        "loss": loss,
        "tokens": BATCH * LENGTH,
        "step_seconds": steps,
        "evaluation_seconds": evaluations,
        "first_step_after_seconds": started.map(|s| now - s),
        "peak_bytes": peak,
    });
    println!("{line}");
    Ok(())
}

/// Seconds of each call after one that is not counted: at least three, at most seven, in about `seconds`.
fn timed(seconds: f64, mut body: impl FnMut() -> Outcome<()>) -> Outcome<Vec<f64>> {
    body()?;
    let begin = Instant::now();
    let mut times = Vec::new();
    while times.len() < 3 || (times.len() < 7 && begin.elapsed().as_secs_f64() < seconds) {
        let start = Instant::now();
        body()?;
        times.push(start.elapsed().as_secs_f64());
    }
    Ok(times)
}

fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}
