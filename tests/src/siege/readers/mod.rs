//! Readers in a process of their own, with mutated input: a million inputs an hour on one core.
//!
//! A process is needed because a stack that overflows, or an allocation that fails, ends it. The input that it had then lies in its
//! folder, and another process goes on with the next one.

use super::Options;
use super::draw::Draw;
use super::record::{Failure, Record};
use super::tree;
use forms::{FORMS, Form, Verdict};
use std::fs;
use std::io::{self, BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub mod corpus;
pub mod forms;
pub mod mutate;
pub mod tiny;

/// Every input is read within so many seconds.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What an input may add to the resident memory of the process, in MiB.
pub const MOST_MEMORY_MIB: u64 = 512;

/// What panics said since it was last taken.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Panics are collected from now on, not printed.
pub fn collect_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(|l| format!("{}:{}", l.file(), l.line())).unwrap_or_default();
        let said = info.payload_as_str().unwrap_or("something").to_string();
        if let Ok(mut all) = PANICS.lock() {
            all.push(format!("panic at {place}: {said}"));
        }
    }));
}

/// Reads the folder `dir` as `form` does; `work` is emptied before.
pub fn read(form: &Form, dir: &Path, work: &Path) -> Verdict {
    let failed = |e: io::Error| format!("the folder of the trial cannot be made: {e}");
    if work.exists() {
        fs::remove_dir_all(work).map_err(failed)?;
    }
    fs::create_dir_all(work).map_err(failed)?;
    let read = catch_unwind(AssertUnwindSafe(|| (form.read)(dir, work)));
    // A panic that was caught on the way is one too.
    let panics = PANICS.lock().map(|mut all| std::mem::take(&mut *all)).unwrap_or_default();
    match (panics.first(), read) {
        (Some(panic), _) => Err(panic.clone()),
        (None, Ok(verdict)) => verdict,
        (None, Err(_)) => Err("a panic without a word".into()),
    }
}

/// One sample with the bytes of its files.
struct Sample {
    name: String,
    files: Vec<(PathBuf, Vec<u8>)>,
}

fn samples(form: &Form) -> io::Result<Vec<Sample>> {
    let mut all = Vec::new();
    for dir in corpus::samples(form.name)?.into_iter().filter(|dir| !corpus::once_failed(dir)) {
        let paths = tree::files(&dir)?;
        let inside = |p: PathBuf| Ok((p.strip_prefix(&dir).unwrap_or(&p).to_path_buf(), fs::read(&p)?));
        let files: Vec<_> = paths.into_iter().map(inside).collect::<io::Result<_>>()?;
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        all.push(Sample { name, files });
    }
    Ok(all)
}

/// The form of input `n`: forms take turns by their shares.
fn form_of(n: u64, forms: &[Form]) -> (usize, u64) {
    let round: u64 = forms.iter().map(|f| f.share).sum();
    let (turn, mut place) = (n / round, n % round);
    for (i, form) in forms.iter().enumerate() {
        if place < form.share {
            return (i, turn * form.share + place);
        }
        place -= form.share;
    }
    (0, turn)
}

/// The forms that a siege reads.
fn chosen(only: Option<&str>) -> Vec<Form> {
    let word = only.unwrap_or("").split('#').next().unwrap_or("");
    FORMS.iter().copied().filter(|f| format!("read/{}", f.name).contains(word)).collect()
}

/// Names the sample that a folder holds.
const MARK: &str = ".sample";

/// Writes input `number` of a form into `dir` and says what was changed.
fn input(seed: u64, form: &Form, samples: &[Sample], number: u64, dir: &Path) -> io::Result<String> {
    let mut draw = Draw::of(seed, form.name, number);
    let sample = draw.pick(samples);
    let (path, bytes) = draw.pick(&sample.files);
    let other = &draw.pick(&draw.clone().pick(samples).files).1;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let changed = mutate::mutate(&name, bytes, other, &mut draw);
    // Only what differs from the last input is written.
    let mark = dir.join(MARK);
    if fs::read_to_string(&mark).is_ok_and(|m| m == sample.name) {
        for (path, bytes) in &sample.files {
            if fs::read(dir.join(path)).is_ok_and(|there| there != *bytes) {
                fs::write(dir.join(path), bytes)?;
            }
        }
    } else {
        if dir.exists() {
            fs::remove_dir_all(dir)?;
        }
        for (path, bytes) in &sample.files {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().unwrap_or(dir))?;
            fs::write(path, bytes)?;
        }
        fs::write(mark, &sample.name)?;
    }
    fs::write(dir.join(path), changed)?;
    Ok(format!("{}/{}", sample.name, path.display()))
}

/// Milliseconds since the start at which the input at work was begun; 0 between inputs.
static BEGUN: AtomicU64 = AtomicU64::new(0);

/// Ends the process when an input takes too long.
fn watch(started: Instant) {
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(100));
            let begun = BEGUN.load(Ordering::Relaxed);
            if begun != 0 && started.elapsed().as_millis() as u64 > begun + PATIENCE.as_millis() as u64 {
                std::process::exit(LATE);
            }
        }
    });
}

/// Exit code of a process whose input took too long.
const LATE: i32 = 99;

/// Where inputs are written: into memory, where the system has a folder for it, since a disk would be most of the time.
fn place(options: &Options) -> PathBuf {
    let memory = Path::new("/dev/shm");
    let name = options.folder.to_string_lossy().replace('/', "-");
    if memory.is_dir() { memory.join(format!("clinpeft{name}")) } else { options.folder.join("readers") }
}

/// The process that reads, from input `first` on, until the time is over. It prints `FAILED form number file what`, and now and then
/// how many of each form it has read and accepted.
///
/// # Errors
/// The corpus or the folder cannot be read or written.
pub fn work(options: &Options, first: u64) -> io::Result<()> {
    let (forms, one) = (chosen(options.only.as_deref()), one_of(options));
    let (folder, started) = (place(options), Instant::now());
    let all: Vec<Vec<Sample>> = forms.iter().map(samples).collect::<io::Result<_>>()?;
    let mut counts = vec![(0u64, 0u64); forms.len()];
    let until = Duration::from_secs_f64(options.minutes * 60.0);
    collect_panics();
    watch(started);
    let mut highest = resident()?;
    for n in first.. {
        if started.elapsed() > until || forms.is_empty() {
            break;
        }
        let (i, number) = if let Some(one) = one { (0, one) } else { form_of(n, &forms) };
        let dir = folder.join(forms[i].name);
        fs::write(folder.join("state"), format!("{n} {} {number}", forms[i].name))?;
        let place = input(options.seed, &forms[i], &all[i], number, &dir)?;
        BEGUN.store(1 + started.elapsed().as_millis() as u64, Ordering::Relaxed);
        let mut verdict = read(&forms[i], &dir, &folder.join("work"));
        BEGUN.store(0, Ordering::Relaxed);
        let now = resident()?;
        if now > highest + (MOST_MEMORY_MIB << 10) {
            verdict = Err(format!("resident memory rises from {} to {} MiB", highest >> 10, now >> 10));
            fs::write("/proc/self/clear_refs", "5")?;
        }
        highest = highest.max(now.min(highest + (32 << 10)));
        counts[i].0 += 1;
        counts[i].1 += u64::from(matches!(verdict, Ok(Ok(()))));
        let last = one.is_some();
        match verdict {
            Err(what) => say(&format!("FAILED {} {number} {place} {}", forms[i].name, what.replace('\n', " / ")))?,
            Ok(Err(refusal)) if last => say(&format!("REFUSED {refusal}"))?,
            Ok(_) => {}
        }
        if n % 64 == 63 || last {
            tell(&forms, &counts)?;
        }
        if last {
            return Ok(());
        }
    }
    tell(&forms, &counts)
}

fn one_of(options: &Options) -> Option<u64> {
    options.only.as_deref()?.split_once('#')?.1.parse().ok()
}

fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

fn tell(forms: &[Form], counts: &[(u64, u64)]) -> io::Result<()> {
    let counted = forms.iter().zip(counts).map(|(form, (read, accepted))| format!(" {} {read} {accepted}", form.name));
    say(&format!("COUNTS{}", counted.collect::<String>()))
}

/// Highest resident memory of this process, in KiB.
fn resident() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
    Ok(line.trim().trim_end_matches(" kB").parse().unwrap_or(0))
}

/// Attacks the readers until the time is over; a process that ends is followed by another one.
///
/// # Errors
/// The harness cannot call itself.
pub fn attack(options: &Options, record: &mut Record, tell: &mut dyn FnMut(&Failure)) -> io::Result<()> {
    let begun = Instant::now();
    let folder = place(options);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let mut first = 0;
    while begun.elapsed().as_secs_f64() < options.minutes * 60.0 && !chosen(options.only.as_deref()).is_empty() {
        let left = options.minutes - begun.elapsed().as_secs_f64() / 60.0;
        let Some(fault) = process(options, left, first, record, tell)? else { break };
        let state = fs::read_to_string(folder.join("state"))?;
        let parts: Vec<&str> = state.split(' ').collect();
        let [n, form, number] = parts[..] else { break };
        fail(options, record, (form, number), fault, tell)?;
        if one_of(options).is_some() {
            break;
        }
        first = n.parse::<u64>().map_err(io::Error::other)? + 1;
    }
    record.reading = begun.elapsed().as_secs_f64();
    fs::remove_dir_all(folder)
}

/// One process that reads; how it ended, if not by itself.
fn process(
    options: &Options,
    minutes: f64,
    first: u64,
    record: &mut Record,
    tell: &mut dyn FnMut(&Failure),
) -> io::Result<Option<String>> {
    let mut command = Command::new("sh");
    let script = "ulimit -v 8388608; exec \"$@\"";
    command.args(["-c", script, "sh"]).arg(std::env::current_exe()?).arg("--program").arg(&options.program);
    command.args([
        "--reader",
        &first.to_string(),
        "--minutes",
        &minutes.to_string(),
        "--seed",
        &options.seed.to_string(),
    ]);
    command.arg("--folder").arg(&options.folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(only) = &options.only {
        command.args(["--only", only]);
    }
    let mut child = command.env("RAYON_NUM_THREADS", "1").spawn()?;
    let mut counts: Vec<(String, u64, u64)> = Vec::new();
    for line in io::BufReader::new(child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?).lines() {
        let line = line?;
        if let Some(rest) = line.strip_prefix("COUNTS ") {
            let words: Vec<&str> = rest.split(' ').collect();
            let of = |w: &str| w.parse().unwrap_or(0);
            counts = words.chunks_exact(3).map(|w| (w[0].to_string(), of(w[1]), of(w[2]))).collect();
        } else if let Some(rest) = line.strip_prefix("FAILED ") {
            let mut parts = rest.splitn(3, ' ');
            let (form, number) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            fail(options, record, (form, number), parts.next().unwrap_or_default().into(), tell)?;
        }
    }
    for (form, read, accepted) in counts {
        let counts = record.counts.entry(format!("read/{form}")).or_default();
        counts.trials += read;
        counts.calls += accepted;
    }
    let mut said = String::new();
    io::Read::read_to_string(&mut child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?, &mut said)?;
    let status = child.wait()?;
    Ok(match status.code() {
        Some(0) => None,
        Some(LATE) => Some(format!("takes longer than {} s", PATIENCE.as_secs())),
        _ => Some(format!("ends the process ({status}): {}", said.lines().take(2).collect::<Vec<_>>().join(" / "))),
    })
}

/// Keeps the input and tells of it.
fn fail(
    options: &Options,
    record: &mut Record,
    (form, number): (&str, &str),
    fault: String,
    tell: &mut dyn FnMut(&Failure),
) -> io::Result<()> {
    let attack = format!("read/{form}");
    let number: u64 = number.parse().unwrap_or(0);
    let kept = options.folder.join("failures").join(format!("read-{form}-{number}"));
    if let Some(form) = FORMS.iter().find(|f| f.name == form) {
        let _ = fs::remove_dir_all(&kept);
        input(options.seed, form, &samples(form)?, number, &kept)?;
        fs::remove_file(kept.join(MARK))?;
    }
    let failure = Failure { attack, number, seed: options.seed, calls: vec![], faults: vec![fault], folder: kept };
    record.fail(failure, tell);
    Ok(())
}
