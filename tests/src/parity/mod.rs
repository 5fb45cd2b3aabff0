//! `cargo xtask parity`: what clinpeft computes against what transformers and peft computed.
//!
//! A folder of cases holds tiny models, adapters as PEFT saved them, padded batches, and for each case the logits, losses,
//! gradients and parameters after some steps that the reference found. Every case runs through the ordinary loaders,
//! models, losses and optimizer. Padded batches are run without their padding; where the reference pools or predicts from
//! a pad token, that token is run as a pad probe ([`clinpeft_nn::PadProbe`]).
//!
//! A case that is not supported is a failure that says so.

mod batch;
mod case;
mod manifest;
mod record;
mod world;

pub use record::Outcome;

use clinpeft_experiment::{Error, Result};
use clinpeft_tensor::Device;
use record::Record;
use std::fmt::Write;
use std::path::Path;

/// What to run and where.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// One case; all if `None`.
    pub case: Option<String>,
    /// Where it runs.
    pub device: Device,
}

/// Runs the cases of a folder. Errors only if the folder, or the one case that is asked for, cannot be read; what fails
/// in a case is an [`Outcome`].
pub fn run(dir: &Path, options: &Options) -> Result<Vec<Outcome>> {
    let path = dir.join("manifest.json");
    let manifest: manifest::Manifest = clinpeft_files::read_json(&path)?;
    if manifest.format != 1 {
        return Err(Error::Options(format!(
            "`{}`: format {} is not known\nhint: format 1 is",
            path.display(),
            manifest.format
        )));
    }
    if let Some(name) = options.case.as_ref().filter(|c| !manifest.cases.contains_key(*c)) {
        let near = clinpeft_weights::nearest(name, manifest.cases.keys().map(String::as_str)).unwrap_or_default();
        return Err(Error::Options(format!(
            "`{}` has no case `{name}`\nhint: the nearest is `{near}`",
            path.display()
        )));
    }
    let mut outcomes = Vec::new();
    for (name, case) in &manifest.cases {
        if options.case.as_ref().is_some_and(|c| c != name) {
            continue;
        }
        let measured = case::Measured::open(dir, &manifest, name, case, &options.device)?;
        measured.run(&mut Record { case: name, outcomes: &mut outcomes });
    }
    Ok(outcomes)
}

/// One line for each outcome, and a last one with the numbers.
pub fn table(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    let number = |x: Option<f64>| x.map_or("-".to_string(), |x| format!("{x:.3e}"));
    for o in outcomes {
        let verdict = if o.passed() { "pass" } else { "FAIL" };
        let why = o.failure.as_deref().unwrap_or_default().replace('\n', "; ");
        let line = format!(
            "{verdict}  {:<26} {:<38} {:>10} {:>10}  {why}",
            o.case,
            o.quantity,
            number(o.error),
            number(o.tolerance),
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let failed = outcomes.iter().filter(|o| !o.passed()).count();
    let _ = writeln!(text, "{} quantities, {failed} failed", outcomes.len());
    text
}

/// The same as JSON, one object a line.
pub fn json_lines(outcomes: &[Outcome]) -> Result<String> {
    let mut text = String::new();
    for o in outcomes {
        let mut value =
            serde_json::to_value(o).map_err(|e| Error::Options(format!("cannot be written as JSON: {e}")))?;
        value["passed"] = o.passed().into();
        let _ = writeln!(text, "{value}");
    }
    Ok(text)
}
