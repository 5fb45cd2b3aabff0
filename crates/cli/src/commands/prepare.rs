//! `clinpeft prepare`: raw files to a dataset folder.

use crate::args::{STOP, threads};
use crate::terminal::Terminal;
use clap::Args;
use clinpeft_clinical::Task;
use clinpeft_clinical::prepare::{
    CorpusSource, Diff, Fidelity, IdSource, Manifest, NearDuplicates, PrepareOptions, prepare,
};
use clinpeft_experiment::Result;
use clinpeft_rng::Seed;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Prepare {
    /// Folder with the CSV files of MIMIC-III v1.4
    #[arg(long)]
    mimic3: Option<PathBuf>,
    /// Folder with discharge.csv.gz and radiology.csv.gz of MIMIC-IV-Note 2.2
    #[arg(long)]
    mimic4_note: Option<PathBuf>,
    /// Dataset folder to write
    #[arg(long)]
    out: PathBuf,
    /// Rules: paper (corrected) or code (as published)
    #[arg(long, default_value = "paper")]
    fidelity: Fidelity,
    /// Folder with the published split lists mimic_train.csv, mimic_val.csv and mimic_test.csv
    #[arg(long)]
    splits: Option<PathBuf>,
    /// Tasks, separated by commas [default: the five of the paper if --mimic3 is given]
    #[arg(long, value_delimiter = ',')]
    tasks: Option<Vec<Task>>,
    /// Notes for step 1: none, mimic3, mimic4 or combined [default: mimic4 if given, else mimic3]
    #[arg(long)]
    corpus: Option<CorpusSource>,
    /// Seed of the splits, unless --splits gives them
    #[arg(long, default_value_t = 2023)]
    seed: u64,
    /// Labels of the ventilation task in place of those made from CHARTEVENTS: CSV file with the columns id, label, split
    ///
    /// `id` is the HADM_ID, `label` 0 or 1, `split` train, validation (or val, dev) or test. The published list is a pickle of
    /// {HADM_ID: (label, ..., split)}, which this program does not read; in Python:
    /// `import pickle, csv; d = pickle.load(open("pmv_labels.pkl", "rb")); csv.writer(open("pmv.csv", "w", newline="")).writerows([("id", "label", "split")] + [(k, v[0], v[-1]) for k, v in d.items()])`.
    /// Load pickles from people you trust only. The list names admissions with a nursing or respiratory note in the first 48
    /// hours of ventilation, so that rule is not applied again. Its splits are used with `--fidelity code`; `paper` splits
    /// by patient, as in every task.
    #[arg(long, value_name = "FILE", requires = "mimic3")]
    pmv_labels: Option<PathBuf>,
    /// Drop training samples and corpus notes that nearly equal a validation or test sample [default: only count them]
    #[arg(long)]
    exclude_near_duplicates: bool,
    /// Write diff.json and diff.md: what each rule changes between the published code and the paper
    #[arg(long)]
    diff: bool,
    /// Number of threads; results do not depend on it
    #[arg(long, value_parser = crate::args::count)]
    threads: Option<usize>,
}

pub fn run(o: Prepare, terminal: &Terminal) -> Result<()> {
    let options = PrepareOptions {
        tasks: o.tasks.unwrap_or_else(|| if o.mimic3.is_some() { Task::PUBLISHED.to_vec() } else { vec![] }),
        corpus: o.corpus.unwrap_or(match (&o.mimic3, &o.mimic4_note) {
            (_, Some(_)) => CorpusSource::Mimic4,
            (Some(_), None) => CorpusSource::Mimic3,
            (None, None) => CorpusSource::None,
        }),
        mimic3: o.mimic3,
        mimic4_note: o.mimic4_note,
        out: o.out.clone(),
        fidelity: o.fidelity,
        splits: o.splits,
        seed: Seed(o.seed),
        pmv_labels: o.pmv_labels,
        near_duplicates: if o.exclude_near_duplicates { NearDuplicates::Exclude } else { NearDuplicates::Keep },
        diff: if o.diff { Diff::CodeToPaper } else { Diff::None },
        ids: IdSource::Kept,
        threads: threads(o.threads),
        stop: Some(&STOP),
    };
    let watch = terminal.rows();
    let manifest = prepare(&options, &|p| watch.tick(p))?;
    drop(watch);
    for c in &manifest.counts {
        terminal.say(&format!("{:<16} {:<12} {:>9}", c.task, c.split, c.samples));
    }
    say_checks(&manifest, terminal);
    terminal.say(&format!("written to {}", o.out.display()));
    Ok(())
}

/// What a person should know before the data are used.
fn say_checks(manifest: &Manifest, terminal: &Terminal) {
    let release = &manifest.release;
    match &release.first_deviation {
        None => terminal.say(&format!("source: {}", release.release)),
        Some(d) => terminal.say(&format!(
            "source: {}; first deviation from MIMIC-III v1.4: {}: expected {}, found {}",
            release.release, d.place, d.expected, d.found
        )),
    }
    for leak in manifest.leaks.splits.iter().filter(|l| l.patients_shared + l.near_duplicates > 0) {
        terminal.say(&format!(
            "leak: {}, {} and {}: {} patients shared, {} near-duplicates ({})",
            leak.task, leak.first, leak.second, leak.patients_shared, leak.near_duplicates, leak.near_duplicates_were
        ));
    }
    if let Some(leak) = &manifest.leaks.corpus {
        terminal.say(&format!(
            "corpus: {} of {} notes hold a validation or test sample ({})",
            leak.matching_notes, leak.corpus_notes, leak.matching_notes_were
        ));
    }
    terminal.say(&format!("cohort hash {}", manifest.cohort.blake3));
}
