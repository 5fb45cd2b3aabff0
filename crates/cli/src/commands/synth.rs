//! `clinpeft synth`: a synthetic cohort.

use crate::args::STOP;
use crate::terminal::Terminal;
use clap::Args;
use clinpeft_clinical::synth::{CohortSpec, synth};
use clinpeft_experiment::{Error, Result};
use clinpeft_rng::Seed;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

#[derive(Debug, Args)]
pub struct Synth {
    /// Cohort: smoke, demo, mimic, or a TOML file
    #[arg(long, default_value = "demo")]
    cohort: String,
    /// As large as MIMIC-III and MIMIC-IV-Note; the same as `--cohort mimic`
    #[arg(long, conflicts_with = "cohort")]
    like_mimic: bool,
    /// Factor on the size of everything, above 0 and at most 1
    #[arg(long, default_value_t = 1.0, value_parser = share)]
    scale: f64,
    /// Factor on the number of chart events (MIMIC-III has 331 million)
    #[arg(long, default_value_t = 1.0, value_parser = share)]
    chartevents_share: f64,
    /// Number of patients [default: the cohort's]
    #[arg(long)]
    patients: Option<u64>,
    /// Random seed
    #[arg(long, default_value_t = 2023)]
    seed: u64,
    /// Output folder
    #[arg(long)]
    out: PathBuf,
}

fn share(text: &str) -> std::result::Result<f64, String> {
    text.parse()
        .ok()
        .filter(|share| *share > 0.0 && *share <= 1.0)
        .ok_or_else(|| "a share is above 0 and at most 1".into())
}

pub fn run(o: Synth, terminal: &Terminal) -> Result<()> {
    let cohort: &str = if o.like_mimic { "mimic" } else { &o.cohort };
    let mut spec: CohortSpec = if Path::new(cohort).extension().is_some() {
        let path = PathBuf::from(cohort);
        let text = clinpeft_files::read_text(&path)?;
        toml::from_str(&text).map_err(|e| Error::Config { path, what: e.to_string() })?
    } else {
        clinpeft_experiment::cohort_named(cohort)?
    };
    spec.patients = o.patients.unwrap_or(spec.patients);
    spec = spec.scaled(o.scale);
    if let Some(beside) = &mut spec.beside {
        beside.chart_events = (beside.chart_events as f64 * o.chartevents_share) as u64;
    }
    let watch = terminal.rows();
    let on_progress = |progress| {
        watch.tick(progress);
        if STOP.load(Ordering::Relaxed) {
            // What is half-written is generated, hidden, and removed by the next attempt.
            std::process::exit(130);
        }
    };
    let summary = synth(&spec, Seed(o.seed).part("cohort"), &o.out, &on_progress)?;
    drop(watch);
    terminal.say(&format!(
        "{} patients, {} admissions, {} notes, {} chart events, {} + {} MIMIC-IV notes in {}",
        summary.patients,
        summary.admissions,
        summary.notes,
        summary.chart_events,
        summary.mimic4_notes,
        summary.mimic4_radiology,
        o.out.display()
    ));
    Ok(())
}
