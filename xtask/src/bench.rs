//! `cargo xtask bench`: figures of this machine, each beside the baseline's from the same run where one is given.
//!
//! Every figure is a process of its own, so that its memory and its start are its own. Figures are medians.

use crate::program::{cargo, target_folder};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{SystemTime, UNIX_EPOCH};

pub const USAGE: &str =
    "usage: cargo xtask bench [--baseline PYTHON] [--peers] [--only WORD] [--without WORD] [--seconds N] [--ops]

  --baseline PYTHON   a Python that has torch, transformers and peft; it runs after each figure of ours
  --peers             burn and candle as well, at the one case that they have; they are built first, which takes minutes
  --only WORD         cases whose name holds the word, for example `small`, `bf16`, `kernels`, `products`; nothing is written
  --without WORD      leaves out cases whose name holds the word, and says so in the file
  --seconds N         time for the steps of one case (60)
  --ops               the criterion benches of single ops as well

Models with random weights are kept below the target folder, 20 GB of them; `--without 7b` saves 13 of these.";

struct Options {
    baseline: Option<PathBuf>,
    peers: bool,
    only: Option<String>,
    without: Option<String>,
    seconds: String,
    ops: bool,
    /// Threads of others that wanted to run at the start, by the average over a minute.
    load: String,
}

/// One shape of a step.
struct Case {
    size: &'static str,
    task: &'static str,
    lengths: &'static str,
    precision: &'static str,
    checkpointing: bool,
    /// Whether the baseline also runs compiled.
    compiled: bool,
    /// Whether it is run without a baseline and as few times as possible, for what it needs.
    alone: bool,
}

const FOUR: &str = "128,128,128,128";
const TWO: &str = "512,512";
const ONE: &str = "512";
/// 53 % of the tokens of the padded batch.
const RAGGED: &str = "128,32,48,64";

impl Case {
    const fn new(size: &'static str, task: &'static str, lengths: &'static str, precision: &'static str) -> Case {
        Case { size, task, lengths, precision, checkpointing: false, compiled: false, alone: false }
    }

    fn name(&self) -> String {
        let memory = if self.checkpointing { ", checkpointing" } else { "" };
        let lengths = match self.lengths {
            FOUR => "4x128",
            TWO => "2x512",
            ONE => "1x512",
            _ => "4 sequences, 53 % real tokens",
        };
        format!("{} {} {lengths} {}{memory}", self.size, self.task, self.precision)
    }

    /// The type in which the weights are stored.
    fn stored(&self) -> &'static str {
        if self.precision == "bf16" { "bf16" } else { "f32" }
    }
}

fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for precision in ["f32", "bf16"] {
        for (task, lengths) in [("causal", FOUR), ("causal", TWO), ("classification", FOUR)] {
            all.push(Case::new("tiny", task, lengths, precision));
            all.push(Case::new("small", task, lengths, precision));
        }
        all.push(Case::new("small", "classification", TWO, precision));
        all.push(Case::new("small", "classification", RAGGED, precision));
        all.push(Case { checkpointing: true, ..Case::new("small", "causal", FOUR, precision) });
        all.push(Case { checkpointing: true, ..Case::new("small", "causal", TWO, precision) });
        all.push(Case::new("1b", "causal", FOUR, precision));
        all.push(Case { checkpointing: true, ..Case::new("1b", "causal", FOUR, precision) });
        all.push(Case::new("1b", "causal", TWO, precision));
        all.push(Case::new("1b", "classification", FOUR, precision));
    }
    all.push(Case { compiled: true, ..Case::new("small", "causal", FOUR, "bf16") });
    all.push(Case::new("small", "causal", FOUR, "strict-f32"));
    all.push(Case { alone: true, ..Case::new("7b", "causal", ONE, "bf16") });
    all
}

const SHAPES: &str = "512x768x768,512x768x2048,512x2048x768,512x2048x2048,512x2048x5632,512x5632x2048,512x4096x4096,\
    512x4096x11008,512x2048x16,512x16x2048,1024x2048x2048,1024x2048x5632,1024x5632x2048";

/// Runs all cases, or some, and writes `benches/RESULTS.md` if all.
pub fn run(words: &[&str]) -> Result<ExitCode, String> {
    let options = parse(words)?;
    let built = cargo().args(["build", "--release", "--package", "clinpeft-benches", "--bins"]).status();
    if !built.is_ok_and(|s| s.success()) {
        return Err("the benches could not be built".into());
    }
    let target = target_folder()?;
    let program = target.join("release").join("clinpeft-bench");
    let holds = |name: &str, word: &Option<String>| word.as_ref().map(|word| name.contains(word.as_str()));
    let chosen =
        |name: &str| holds(name, &options.only).unwrap_or(true) && !holds(name, &options.without).unwrap_or(false);
    let mut steps = Table::new(STEP_COLUMNS);
    let mut versions = None;
    for case in cases().iter().filter(|c| chosen(&c.name())) {
        let model = model(&program, &target, case)?;
        let row = step(&program, &model, case, &options, &mut versions)?;
        steps.add(&row);
    }
    let peers = if options.peers { peers(&program, &target, &options)? } else { String::new() };
    let mut kernels = Table::new(KERNEL_COLUMNS);
    if chosen("kernels") {
        kernel_rows(&program, &target, &options, &mut kernels)?;
    }
    let mut products = Table::new(PRODUCT_COLUMNS);
    for precision in ["f32", "bf16"] {
        if chosen(&format!("products {precision}")) {
            for row in product_rows(&program, precision, &options)? {
                products.add(&row);
            }
        }
    }
    if options.ops
        && !cargo()
            .args(["bench", "--package", "clinpeft-benches", "--bench", "ops"])
            .status()
            .is_ok_and(|s| s.success())
    {
        return Err("the benches of single ops failed".into());
    }
    if options.only.is_none() {
        let text = report(&options, [&steps.0, &peers, &kernels.0, &products.0], versions.as_deref());
        std::fs::write("benches/RESULTS.md", text).map_err(|e| format!("benches/RESULTS.md cannot be written: {e}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn parse(words: &[&str]) -> Result<Options, String> {
    let mut options = Options {
        baseline: None,
        peers: false,
        only: None,
        without: None,
        seconds: "60".into(),
        ops: false,
        load: busy(),
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().map(|w| (*w).to_string()).ok_or(format!("`{word}` needs a value\n\n{USAGE}"));
        match *word {
            "--baseline" => options.baseline = Some(value()?.into()),
            "--peers" => options.peers = true,
            "--only" => options.only = Some(value()?),
            "--without" => options.without = Some(value()?),
            "--seconds" => options.seconds = value()?,
            "--ops" => options.ops = true,
            _ => return Err(format!("unknown option `{word}`\n\n{USAGE}")),
        }
    }
    Ok(options)
}

/// The folder of a model with random weights, made at its first use.
fn model(program: &Path, target: &Path, case: &Case) -> Result<PathBuf, String> {
    let folder = target.join("bench-models").join(format!("{}-{}", case.size, case.stored()));
    if !folder.join("config.json").exists() {
        json(
            Command::new(program).args(["model", "--size", case.size, "--stored", case.stored(), "--out"]).arg(&folder),
        )?;
    }
    Ok(folder)
}

const STEP_COLUMNS: &str = "| case | isa | step ms | tokens/s | evaluation tokens/s | peak MiB | first step s \
    | baseline step ms | baseline peak MiB | baseline first step s | step | evaluation | memory | start |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|";

fn step(
    program: &Path,
    model: &Path,
    case: &Case,
    options: &Options,
    versions: &mut Option<String>,
) -> Result<String, String> {
    let mut common = vec!["step", "--task", case.task, "--lengths", case.lengths, "--seconds", &options.seconds];
    if case.alone {
        common.extend(["--steps", "1"]);
    }
    if case.checkpointing {
        common.push("--checkpointing");
    }
    let ours = json(
        Command::new(program)
            .args(&common)
            .args(["--precision", case.precision, "--started", &now()])
            .arg("--model")
            .arg(model),
    )?;
    let ours = Figures::read(&ours);
    let theirs = match &options.baseline {
        None => None,
        Some(_) if case.alone => None,
        Some(python) => {
            let mut command = Command::new(python);
            command
                .arg("benches/baseline.py")
                .args(&common)
                .args(["--precision", case.stored()])
                .arg("--model")
                .arg(model);
            if case.compiled {
                command.arg("--compile");
            }
            let found = json(command.env("BENCH_START", now()))?;
            *versions = Some(found["versions"].to_string());
            Some(Figures::read(&found))
        }
    };
    let compiled = if case.compiled { ", baseline compiled" } else { "" };
    let mut row = format!(
        "| {}{compiled} | {} | {:.1} | {:.0} | {:.0} | {:.0} | {:.2} |",
        case.name(),
        ours.isa,
        ours.step * 1e3,
        ours.tokens / ours.step,
        ours.tokens / ours.evaluation,
        ours.peak_mib,
        ours.first
    );
    let _ = match theirs {
        None => write!(row, " - | - | - | - | - | - | - |"),
        Some(t) => write!(
            row,
            " {:.1} | {:.0} | {:.2} | {:.2} x | {:.2} x | {:.2} x | {:.2} x |",
            t.step * 1e3,
            t.peak_mib,
            t.first,
            t.step / ours.step,
            t.evaluation / ours.evaluation,
            ours.peak_mib / t.peak_mib,
            ours.first / t.first
        ),
    };
    Ok(row)
}

/// What both sides say of a step.
struct Figures {
    isa: String,
    tokens: f64,
    step: f64,
    evaluation: f64,
    peak_mib: f64,
    first: f64,
}

impl Figures {
    fn read(json: &Value) -> Figures {
        Figures {
            isa: json["isa"].as_str().unwrap_or("").to_string(),
            tokens: json["tokens"].as_f64().unwrap_or(f64::NAN),
            step: median(&json["step_seconds"]),
            evaluation: median(&json["evaluation_seconds"]),
            peak_mib: json["peak_bytes"].as_f64().unwrap_or(f64::NAN) / 1048576.0,
            first: json["first_step_after_seconds"].as_f64().unwrap_or(f64::NAN),
        }
    }
}

fn median(times: &Value) -> f64 {
    let mut times: Vec<f64> = times.as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

const KERNEL_COLUMNS: &str = "| small causal 4x128 | isa | step ms | step ms by the gemm crate | faster by |
|---|---|---|---|---|";

/// The step with the micro-kernels of this crate and with the `gemm` crate, by precision and stored type of the weights.
fn kernel_rows(program: &Path, target: &Path, options: &Options, table: &mut Table) -> Result<(), String> {
    for (name, precision, stored) in
        [("f32", "f32", "f32"), ("f32, weights in bf16", "f32", "bf16"), ("bf16", "bf16", "bf16")]
    {
        let weights = model(program, target, &Case::new("small", "causal", FOUR, stored))?;
        let figures = |more: &[&str]| -> Result<Figures, String> {
            let arguments = ["step", "--precision", precision, "--seconds", &options.seconds];
            let found = json(Command::new(program).args(arguments).args(more).arg("--model").arg(&weights))?;
            Ok(Figures::read(&found))
        };
        let (own, plain) = (figures(&[])?, figures(&["--isa", "gemm"])?);
        let ratio = plain.step / own.step;
        table.add(&format!(
            "| {name} | {} | {:.1} | {:.1} | {ratio:.2} x |",
            own.isa,
            own.step * 1e3,
            plain.step * 1e3
        ));
    }
    Ok(())
}

const PEER_COLUMNS: &str =
    "| small causal 4x128 f32 | step ms | tokens/s | evaluation tokens/s | peak MiB | first step s | we are faster by |
|---|---|---|---|---|---|---|";

/// The step beside other Rust libraries, which are a package of their own; with a heading.
fn peers(program: &Path, target: &Path, options: &Options) -> Result<String, String> {
    let folder = target.join("peers");
    let manifest = "benches/peers/Cargo.toml";
    let built = cargo()
        .args(["build", "--release", "--locked", "--manifest-path", manifest, "--target-dir"])
        .arg(&folder)
        .status();
    if !built.is_ok_and(|s| s.success()) {
        return Err("the other libraries could not be built".into());
    }
    let case = Case::new("small", "causal", FOUR, "f32");
    let arguments = ["step", "--seconds", &options.seconds, "--started", &now(), "--model"];
    let ours = json(Command::new(program).args(arguments).arg(model(program, target, &case)?))?;
    let ours = Figures::read(&ours);
    let mut table = Table::new(PEER_COLUMNS);
    table.add(&peer_row("clinpeft", &ours, &ours));
    for name in ["burn", "candle"] {
        let peer = folder.join("release").join(name);
        let found = json(Command::new(peer).arg(&options.seconds).env("BENCH_START", now()))?;
        table.add(&peer_row(name, &Figures::read(&found), &ours));
    }
    Ok(format!("\n## Other Rust libraries\n\nVersions: `{manifest}`.\n\n{}", table.0))
}

fn peer_row(name: &str, its: &Figures, ours: &Figures) -> String {
    format!(
        "| {name} | {:.1} | {:.0} | {:.0} | {:.0} | {:.2} | {:.2} x |",
        its.step * 1e3,
        its.tokens / its.step,
        its.tokens / its.evaluation,
        its.peak_mib,
        its.first,
        its.step / ours.step
    )
}

const PRODUCT_COLUMNS: &str =
    "| y = x W^T, rows x inner x columns | precision | isa | prepack | GFLOP/s | gemm crate GFLOP/s | ratio | baseline GFLOP/s | ratio |
|---|---|---|---|---|---|---|---|---|";

fn product_rows(program: &Path, precision: &str, options: &Options) -> Result<Vec<String>, String> {
    let common = ["products", "--precision", precision, "--shapes", SHAPES];
    let ours = json(Command::new(program).args(common))?;
    let plain = json(Command::new(program).args(common).args(["--isa", "gemm"]))?;
    let theirs = match &options.baseline {
        None => None,
        Some(python) => Some(json(Command::new(python).arg("benches/baseline.py").args(common).args([
            "--seconds",
            "3",
            "--steps",
            "15",
        ]))?),
    };
    let isa = ours["isa"].as_str().unwrap_or("");
    let row = |shape: &str| {
        let own = ours["gflops"][shape].as_f64().unwrap_or(f64::NAN);
        let rest = match &theirs {
            None => "- | -".to_string(),
            Some(t) => {
                let other = t["gflops"][shape].as_f64().unwrap_or(f64::NAN);
                format!("{other:.0} | {:.2} x", own / other)
            }
        };
        let gemm = plain["gflops"][shape].as_f64().unwrap_or(f64::NAN);
        let prepack = ours["prepack"][shape].as_str().unwrap_or("");
        format!("| {shape} | {precision} | {isa} | {prepack} | {own:.0} | {gemm:.0} | {:.2} x | {rest} |", own / gemm)
    };
    Ok(SHAPES.split(',').map(row).collect())
}

/// A table that is also printed line by line while it grows.
struct Table(String);

impl Table {
    fn new(head: &str) -> Table {
        println!("{head}");
        Table(format!("{head}\n"))
    }
    fn add(&mut self, row: &str) {
        println!("{row}");
        self.0.push_str(row);
        self.0.push('\n');
    }
}

fn report(options: &Options, [steps, peers, kernels, products]: [&str; 4], versions: Option<&str>) -> String {
    let baseline = match (&options.baseline, versions) {
        (Some(_), Some(versions)) => format!("Baseline: `benches/baseline.py`, {versions}."),
        _ => "Without a baseline.".to_string(),
    };
    let left_out = options.without.as_ref().map(|word| format!(" Left out: cases named `{word}`.")).unwrap_or_default();
    format!(
        "# Figures of one machine\n\n\
        `cargo xtask bench --baseline PYTHON` writes this file. Both sides run one after the other, each figure in a process of \
        its own with two threads; times are medians. Ratios above 1 in `step` and `evaluation` mean that we are faster, \
        below 1 in `memory` and `start` that we need less. Only real tokens are counted; the baseline pads.{left_out}\n\n\
        Machine: {}; others kept {} threads busy when it began. Date: {}. {}. {baseline}\n\n## LoRA steps (r 16 on q and v, AdamW)\n\n{steps}{peers}\n## Own micro-kernels beside the `gemm` crate\n\n{kernels}\n## Matrix products\n\n{products}",
        processor(),
        options.load,
        line(Command::new("date").args(["-u", "+%Y-%m-%d"])),
        line(Command::new("rustc").arg("--version")),
    )
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let found = text.lines().find(|l| l.starts_with(name)).and_then(|l| l.split(':').nth(1));
        found.unwrap_or("unknown").trim().to_string()
    };
    let flags = field("flags");
    let sets = ["avx2", "avx512f", "avx512_bf16", "amx_bf16"];
    let sets: Vec<&str> = sets.into_iter().filter(|set| flags.split(' ').any(|f| f == *set)).collect();
    let threads = std::thread::available_parallelism().map_or(0, |n| n.get());
    format!(
        "{} (family {}, model {}; {}), {threads} threads",
        field("model name"),
        field("cpu family"),
        field("model\t"),
        sets.join(", ")
    )
}

fn busy() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("an unknown number of").to_string()
}

fn line(command: &mut Command) -> String {
    let out = command.output().map(|o| String::from_utf8_lossy(&o.stdout).trim().to_string());
    out.unwrap_or_else(|_| "unknown".into())
}

fn now() -> String {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |t| t.as_secs_f64()).to_string()
}

/// The last line that a command prints, as JSON.
fn json(command: &mut Command) -> Result<Value, String> {
    let out = command.output().map_err(|e| format!("{command:?} cannot be started: {e}"))?;
    let text = String::from_utf8_lossy(&out.stdout);
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).map_err(|_| {
        let said = String::from_utf8_lossy(&out.stderr);
        let end: Vec<&str> = said.lines().rev().take(5).collect();
        format!("{command:?} failed:\n{}", end.into_iter().rev().collect::<Vec<_>>().join("\n"))
    })
}
