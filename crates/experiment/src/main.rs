//! The program `clinpeft`.

mod terminal;

use clap::{Args, Parser, Subcommand};
use clinpeft_clinical::Task;
use clinpeft_clinical::prepare::{
    Comparison, CorpusSource, Diff, Fidelity, Manifest, NearDuplicates, PrepareOptions, compare, prepare,
};
use clinpeft_clinical::synth::{CohortSpec, synth};
use clinpeft_experiment::convert::convert;
use clinpeft_experiment::launch::Launcher;
use clinpeft_experiment::parity;
use clinpeft_experiment::plan::Only;
use clinpeft_experiment::predict;
use clinpeft_experiment::{Control, Error, Result, RunFolder, Store, execute, reproduce, search};
use clinpeft_rng::Seed;
use clinpeft_tensor::Device;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use terminal::Terminal;

/// Two-step parameter-efficient fine-tuning of LLaMA on clinical notes, measured against the published tables.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the experiment matrix and print the tables
    Reproduce(Reproduce),
    /// Try settings for rows of the matrix and choose on the validation splits
    Search(Search),
    /// Write a synthetic cohort in the raw file form of MIMIC-III and MIMIC-IV-Note
    Synth(Synth),
    /// Turn raw MIMIC files into a dataset folder
    Prepare(Prepare),
    /// Tell from two manifests whether two sites hold the same prepared data; exit code 1 if not
    Compare(Compare),
    /// Run, or continue, what `run.toml` in a run folder says
    Run(Run),
    /// Score the notes of a CSV file (id,text) with what a run of a task has learned
    Predict(Predict),
    /// The metrics of a run of a task on the notes of a CSV file (id,text,label), as JSON
    Evaluate(Evaluate),
    /// Compare with what transformers and peft computed: every case of a folder, error beside tolerance
    Parity(Parity),
    /// Write a downloaded model folder (pytorch_model.bin, vocab.txt, tokenizer.model) as safetensors and tokenizer.json
    Convert(Convert),
}

#[derive(Debug, Args)]
struct Reproduce {
    /// What is run at which size: smoke (a minute), demo (minutes), or full (the demo with every row)
    #[arg(long, default_value = "demo")]
    profile: String,
    /// Folder for data, runs and report
    #[arg(long, default_value = "out")]
    out: PathBuf,
    /// First seed of the runs
    #[arg(long)]
    seed: Option<u64>,
    /// Number of seeds
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Parts of row names, or names of tasks, separated by commas
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Tables by number, with all their rows, separated by commas; those of the profile if absent
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u8).range(2..=4))]
    table: Vec<u8>,
    /// Rules: paper (corrected), code (as published), or both side by side: paper,code
    #[arg(long, default_value = "paper", value_delimiter = ',')]
    fidelity: Vec<Fidelity>,
    #[command(flatten)]
    on: On,
    /// Threads for everything; the results do not depend on it
    #[arg(long)]
    threads: Option<usize>,
    /// Print the runs and stop
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
struct Search {
    /// What is searched: demo or smoke
    #[arg(long, default_value = "demo")]
    profile: String,
    /// Folder for data and runs
    #[arg(long, default_value = "out")]
    out: PathBuf,
    /// Parts of row names, or names of tasks, separated by commas
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// File to write the choices to
    #[arg(long)]
    write: PathBuf,
    #[command(flatten)]
    on: On,
    /// Threads for everything; the results do not depend on it
    #[arg(long)]
    threads: Option<usize>,
}

#[derive(Debug, Args)]
struct Synth {
    /// Description of the cohort: smoke, demo, mimic, or a TOML file
    #[arg(long, default_value = "demo")]
    cohort: String,
    /// A cohort as large as MIMIC-III and MIMIC-IV-Note: the same as `--cohort mimic`
    #[arg(long, conflicts_with = "cohort")]
    like_mimic: bool,
    /// Size of everything, as a share of the description's
    #[arg(long, default_value_t = 1.0, value_parser = share)]
    scale: f64,
    /// Chart events, as a share of what there would be: MIMIC-III has 331 million of them
    #[arg(long, default_value_t = 1.0, value_parser = share)]
    chartevents_share: f64,
    /// Number of patients, in place of the description's
    #[arg(long)]
    patients: Option<u64>,
    /// Seed
    #[arg(long, default_value_t = 2023)]
    seed: u64,
    /// Folder to write to
    #[arg(long)]
    out: PathBuf,
}

#[derive(Debug, Args)]
struct Prepare {
    /// Folder with the tables of MIMIC-III v1.4
    #[arg(long)]
    mimic3: Option<PathBuf>,
    /// Folder with discharge.csv.gz and radiology.csv.gz of MIMIC-IV-Note 2.2
    #[arg(long)]
    mimic4_note: Option<PathBuf>,
    /// Dataset folder to make
    #[arg(long)]
    out: PathBuf,
    /// Rules: paper (corrected) or code (as published)
    #[arg(long, default_value = "paper")]
    fidelity: Fidelity,
    /// Folder with mimic_train.csv, mimic_val.csv, mimic_test.csv
    #[arg(long)]
    splits: Option<PathBuf>,
    /// The tasks, separated by commas: all of them where a MIMIC-III folder is given
    #[arg(long, value_delimiter = ',')]
    tasks: Option<Vec<Task>>,
    /// The adaptation corpus: none, mimic3, mimic4 or combined; what the folders allow, MIMIC-IV first, where none is named
    #[arg(long)]
    corpus: Option<CorpusSource>,
    /// Seed of splits that no list gives
    #[arg(long, default_value_t = 2023)]
    seed: u64,
    /// Labels of the ventilation task, in place of those made from CHARTEVENTS: a CSV file with the columns id, label, split
    ///
    /// `id` is the HADM_ID, `label` 0 or 1, `split` train, validation (or val, dev) or test. The published list is a pickle of
    /// {HADM_ID: (label, ..., split)}, which this program does not read; in Python:
    /// `import pickle, csv; d = pickle.load(open("pmv_labels.pkl", "rb")); csv.writer(open("pmv.csv", "w", newline="")).writerows([("id", "label", "split")] + [(k, v[0], v[-1]) for k, v in d.items()])`.
    /// Load pickles from people you trust only. The list names admissions with a nursing or respiratory note in the first 48
    /// hours of ventilation, so that rule is not applied again. Its splits are used with `--fidelity code`; `paper` splits
    /// by patient, as in every task.
    #[arg(long, value_name = "FILE", requires = "mimic3")]
    pmv_labels: Option<PathBuf>,
    /// Drop training samples and corpus notes whose like is in a validation or test split; without it they are counted
    #[arg(long)]
    exclude_near_duplicates: bool,
    /// Write diff.json and diff.md: what each rule changes on the way from code to paper
    #[arg(long, requires = "mimic3")]
    diff: bool,
}

#[derive(Debug, Args)]
struct Compare {
    /// manifest.json of a dataset folder
    first: PathBuf,
    /// manifest.json of another one
    second: PathBuf,
}

#[derive(Debug, Args)]
struct Run {
    /// The run folder
    folder: PathBuf,
    /// Threads; the results do not depend on it
    #[arg(long)]
    threads: Option<usize>,
    /// Stop with a checkpoint when standard input ends
    #[arg(long, hide = true)]
    stop_at_end_of_input: bool,
    /// Seconds between two checkpoints
    #[arg(long, default_value_t = 20.0)]
    checkpoint_every: f64,
    #[command(flatten)]
    on: On,
}

/// Where the model runs.
#[derive(Debug, Args)]
struct On {
    /// Device: cpu, vulkan or cuda; with a number where there are several, as in cuda:1
    #[arg(long, default_value = "cpu")]
    device: String,
}

impl On {
    /// Opens and tries the device.
    fn open(&self) -> Result<Device> {
        clinpeft_kernels::open(&self.device).map_err(|e| Error::Model(e.into()))
    }
}

#[derive(Debug, Args)]
struct Predict {
    /// The run folder
    #[arg(long)]
    run: PathBuf,
    /// The notes
    #[arg(long)]
    input: PathBuf,
    /// CSV file to write: id, then the probability of each class
    #[arg(long)]
    out: PathBuf,
    #[command(flatten)]
    on: On,
}

#[derive(Debug, Args)]
struct Evaluate {
    /// The run folder
    #[arg(long)]
    run: PathBuf,
    /// The notes with their labels
    #[arg(long)]
    input: PathBuf,
    #[command(flatten)]
    on: On,
}

#[derive(Debug, Args)]
struct Parity {
    /// The folder of cases
    folder: PathBuf,
    /// One case
    #[arg(long)]
    case: Option<String>,
    #[command(flatten)]
    on: On,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

fn share(text: &str) -> std::result::Result<f64, String> {
    text.parse()
        .ok()
        .filter(|share| *share > 0.0 && *share <= 1.0)
        .ok_or_else(|| "a share is above 0 and at most 1".into())
}

#[derive(Debug, Args)]
struct Convert {
    /// The model folder: config.json, weights, tokenizer
    folder: PathBuf,
    /// Folder to make
    #[arg(long)]
    out: PathBuf,
    /// Largest file of weights, in MiB
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..1 << 40))]
    shard_mib: u64,
}

static STOP: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let cli = Cli::parse();
    // A second signal ends the process at once; nothing is half-written then either.
    let handler = ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
    let terminal = Terminal::new();
    if handler.is_err() {
        terminal.say("signals cannot be caught here; an interrupted run continues from its last checkpoint");
    }
    let ended = match cli.command {
        Command::Reproduce(o) => run_reproduce(o, &terminal),
        Command::Search(o) => run_search(o, &terminal),
        Command::Synth(o) => run_synth(o, &terminal),
        Command::Prepare(o) => run_prepare(o, &terminal),
        Command::Compare(o) => return run_compare(&o, &terminal),
        Command::Run(o) => run_one(o, &terminal),
        Command::Predict(o) => run_predict(&o, &terminal),
        Command::Evaluate(o) => run_evaluate(&o, &terminal),
        Command::Parity(o) => return run_parity(o, &terminal),
        Command::Convert(o) => run_convert(o, &terminal),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            terminal.error(&e.to_string());
            ExitCode::from(if matches!(e, Error::Stopped) { 130 } else { 1 })
        }
    }
}

fn run_reproduce(o: Reproduce, terminal: &Terminal) -> Result<()> {
    let store = Store::new(&o.out);
    let seeds = match (o.seed, o.seeds) {
        (None, 1) => vec![],
        (first, n) => (0..n.max(1)).map(|i| first.unwrap_or(1234) + i).collect(),
    };
    let options = reproduce::Options {
        profile: &o.profile,
        seeds,
        only: Only { words: o.only, tables: o.table },
        fidelities: o.fidelity,
        threads: threads(o.threads),
        device: &o.on.device,
    };
    let mut watch = terminal.watch();
    let mut hear = |h: reproduce::Heard<'_>| watch.hear(&h);
    if o.dry_run {
        let runs = reproduce::dry_run(&store, &options, &mut hear)?;
        let lines: Vec<String> = runs.iter().map(|r| r.name.clone()).collect();
        terminal.print(&format!("{}\n{} runs\n", lines.join("\n"), runs.len()));
        return Ok(());
    }
    // What a run could not open is said before the first one.
    o.on.open()?;
    let program = std::env::current_exe().map_err(clinpeft_files::at("find", Path::new("clinpeft")))?;
    let ended = reproduce::reproduce(&store, &options, &program, &STOP, &mut hear);
    drop(watch);
    let summary = ended?;
    terminal.print(summary.terminal());
    terminal.say(&format!("written to {}", summary.folder.display()));
    Ok(())
}

fn run_search(o: Search, terminal: &Terminal) -> Result<()> {
    let program = std::env::current_exe().map_err(clinpeft_files::at("find", Path::new("clinpeft")))?;
    let launcher = Launcher { program: &program, threads: threads(o.threads), device: &o.on.device, stop: &STOP };
    let search = search::Search::named(&o.profile)?;
    let mut watch = terminal.watch();
    let mut hear = |h: reproduce::Heard<'_>| watch.hear(&h);
    let only = Only { words: o.only, ..Only::default() };
    let choices = search::search(&Store::new(&o.out), (&o.profile, &search), &only, &launcher, &mut hear);
    drop(watch);
    let text = choices?.text(&format!("cargo xtask search --profile {}", o.profile))?;
    clinpeft_files::write_atomic(&o.write, &text)?;
    terminal.print(&text);
    Ok(())
}

fn run_synth(o: Synth, terminal: &Terminal) -> Result<()> {
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
    let summary = synth(&spec, Seed(o.seed).part("cohort"), &o.out, &|p| watch.tick(p))?;
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

fn run_prepare(o: Prepare, terminal: &Terminal) -> Result<()> {
    let options = PrepareOptions {
        tasks: o.tasks.unwrap_or_else(|| if o.mimic3.is_some() { Task::ALL.to_vec() } else { vec![] }),
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

/// Exit code 1 if the prepared data differ, 2 if a manifest cannot be read.
fn run_compare(o: &Compare, terminal: &Terminal) -> ExitCode {
    let read = |path: &PathBuf| clinpeft_files::read_json::<Manifest>(path);
    let (first, second) = match (read(&o.first), read(&o.second)) {
        (Ok(first), Ok(second)) => (first, second),
        (Err(e), _) | (_, Err(e)) => {
            terminal
                .error(&format!("{e}\nhint: give two files manifest.json that `prepare` wrote, of the same version"));
            return ExitCode::from(2);
        }
    };
    match compare(&first, &second) {
        Comparison::Equal(aside) => {
            terminal.print(&format!("equal: cohort hash {}\n", first.cohort.blake3));
            if let Some(aside) = aside {
                terminal.print(&format!("without effect: {aside}\n"));
            }
            ExitCode::SUCCESS
        }
        Comparison::Different(what) => {
            terminal.print(&format!("different: {what}\n"));
            ExitCode::FAILURE
        }
    }
}

fn run_one(o: Run, terminal: &Terminal) -> Result<()> {
    let threads = threads(o.threads);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    pool.map_err(|e| Error::Options(format!("threads cannot be started: {e}")))?;
    if o.stop_at_end_of_input {
        std::thread::spawn(|| {
            // Whatever ends the input: the parent closed it, or is gone.
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            STOP.store(true, Ordering::Relaxed);
        });
    }
    let folder = RunFolder::at(&o.folder);
    let mut steps = terminal.steps();
    let mut observe = |e: &clinpeft_train::Event, total: u64| steps.hear(e, total);
    let checkpoint_every = Duration::try_from_secs_f64(o.checkpoint_every)
        .map_err(|_| Error::Options("`--checkpoint-every` is a number of seconds".into()))?;
    let device = clinpeft_kernels::open_with_choices(&o.on.device, &folder.store()?.devices());
    let device = device.map_err(|e| Error::Model(e.into()))?;
    execute(&folder, Control { stop: &STOP, observe: &mut observe, checkpoint_every, device })?;
    drop(steps);
    terminal.say(&format!("done: {}", folder.path().display()));
    Ok(())
}

fn run_predict(o: &Predict, terminal: &Terminal) -> Result<()> {
    let notes = predict::predict(&RunFolder::at(&o.run), &o.input, &o.out, &o.on.open()?)?;
    terminal.say(&format!("{notes} notes scored in {}", o.out.display()));
    Ok(())
}

fn run_evaluate(o: &Evaluate, terminal: &Terminal) -> Result<()> {
    let metrics = predict::evaluate(&RunFolder::at(&o.run), &o.input, &o.on.open()?)?;
    let text = serde_json::to_string_pretty(&metrics);
    terminal.print(&(text.map_err(|e| Error::Options(e.to_string()))? + "\n"));
    Ok(())
}

fn run_convert(o: Convert, terminal: &Terminal) -> Result<()> {
    terminal.say(&convert(&o.folder, &o.out, o.shard_mib << 20)?.to_string());
    terminal.say(&format!("written to {}", o.out.display()));
    Ok(())
}

/// Exit code 1 if a quantity is outside of its tolerance, 2 if the folder cannot be read.
fn run_parity(o: Parity, terminal: &Terminal) -> ExitCode {
    let outcomes = o.on.open().and_then(|device| parity::run(&o.folder, &parity::Options { case: o.case, device }));
    let printed =
        outcomes.and_then(|all| Ok((if o.json { parity::json_lines(&all)? } else { parity::table(&all) }, all)));
    match printed {
        Ok((text, all)) => {
            terminal.print(&text);
            if all.iter().all(parity::Outcome::passed) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(e) => {
            terminal.error(&e.to_string());
            ExitCode::from(2)
        }
    }
}

/// As many as asked for, or as this machine has.
fn threads(wanted: Option<usize>) -> usize {
    wanted.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1)
}
