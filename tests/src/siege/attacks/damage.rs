//! Files of a finished store, of a dataset or of an input are damaged; the program says which, and the rest goes on.

use crate::siege::child::{Call, Ended, Sent, said};
use crate::siege::deeds::{self, Deed};
use crate::siege::tree;
use crate::siege::trial::Trial;
use rustix::process::Signal;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How a file can be damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    Truncated,
    Flipped,
    Emptied,
    Folder,
    Exchanged,
    Removed,
}

const DAMAGES: [Damage; 6] =
    [Damage::Truncated, Damage::Flipped, Damage::Emptied, Damage::Folder, Damage::Exchanged, Damage::Removed];

/// Damages `path`; `others` are files that may take its place.
fn damage(trial: &mut Trial<'_>, path: &Path, others: &[PathBuf]) -> io::Result<Damage> {
    let how = *trial.draw.pick(&DAMAGES);
    let mut bytes = fs::read(path)?;
    match how {
        Damage::Truncated => bytes.truncate(trial.draw.below(bytes.len())),
        Damage::Flipped if !bytes.is_empty() => {
            let at = trial.draw.below(bytes.len());
            bytes[at] ^= 1 << trial.draw.below(8);
        }
        Damage::Emptied | Damage::Flipped => bytes.clear(),
        Damage::Exchanged => bytes = fs::read(trial.draw.pick(others))?,
        Damage::Folder | Damage::Removed => {}
    }
    fs::remove_file(path)?;
    match how {
        Damage::Folder => fs::create_dir(path)?,
        Damage::Removed => {}
        _ => fs::write(path, bytes)?,
    }
    let inside = path.strip_prefix(&trial.dir).unwrap_or(path);
    trial.calls.push(format!("# {}: {how:?}", inside.display()));
    Ok(how)
}

/// Files of a store whose damage a command must see, since it reads them.
fn read_by(command: &str, name: &str, path: &str) -> bool {
    match command {
        // Base models stand in no table, and of adaptations a report shows the result alone.
        "report" if path.contains("/base-") => false,
        "report" if name == "predictions.safetensors" => path.contains("-mortality-"),
        "report" => ["status.json", "result.json", "run.toml"].contains(&name),
        "predict" => {
            let its_own = path.contains("trainable-downstream");
            path.contains("/model/")
                || its_own && (path.contains("/adapter/") || ["status.json", "run.toml"].contains(&name))
        }
        "run" => path.contains("mortality/") && name.ends_with(".csv") || path.contains("/model/"),
        _ => ["status.json", "run.toml"].contains(&name),
    }
}

/// One file of a finished store, then a command that reads it.
pub(super) fn store(trial: &mut Trial<'_>) -> io::Result<()> {
    let command = ["reproduce", "report", "run", "predict"][trial.number as usize % 4];
    let deed = deeds::deed(command);
    deed.begin(trial.world, &trial.dir)?;
    let root = if command == "predict" { "in/store" } else { "out" };
    if command == "reproduce" {
        fs::remove_dir_all(trial.path(root))?;
        trial.bring("store", root)?;
    }
    if command == "report" {
        fs::remove_dir_all(trial.path("out/report"))?;
    }
    let all = tree::files(&trial.path(root))?;
    let named =
        |p: &PathBuf| p.file_name().is_some_and(|n| n != ".lock" && n != "log.txt" && n != clinpeft_files::SEAL);
    // Raw files and reports are not read again.
    let read = |p: &PathBuf| !p.components().any(|c| c.as_os_str() == "raw" || c.as_os_str() == "report");
    let files: Vec<PathBuf> = all.into_iter().filter(|p| named(p) && read(p)).collect();
    let victim = trial.draw.pick(&files).clone();
    // No note is put where notes must not be.
    let private = |p: &PathBuf| p.components().any(|c| c.as_os_str() == "data" || c.as_os_str() == "tokens");
    let others: Vec<PathBuf> = files.iter().filter(|p| !private(p)).cloned().collect();
    let how = damage(trial, &victim, &others)?;
    let before = tree::snapshot(&victim)?;
    let ended = trial.call(&deed.call(trial.world)?)?;
    trial.expect_code(&ended, &[0, 1]);
    let name = victim.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let must = read_by(command, &name, &victim.to_string_lossy());
    let visible = !matches!(how, Damage::Flipped | Damage::Removed);
    if must && visible {
        noticed(trial, &ended, &victim, before == tree::snapshot(&victim)?);
    }
    if command == "report" {
        let written = ["index.html", "tables.md"].iter().all(|n| trial.path("out/report").join(n).is_file());
        trial.expect(written, || format!("a damaged file leaves no report: {}", said(&ended)));
    }
    trial.expect_whole("out")
}

/// What was damaged is made again or named, by itself or by the run that it belongs to.
fn noticed(trial: &mut Trial<'_>, ended: &Ended, victim: &Path, as_it_was: bool) {
    let text = [&ended.stdout[..], &ended.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let name = victim.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let named = text.contains(&name)
        || victim.components().rev().skip(1).take(3).any(|c| {
            let c = c.as_os_str().to_string_lossy();
            c.contains("-seed") && text.contains(&*c)
        });
    trial.expect(named || (ended.code == Some(0) && !as_it_was), || {
        format!("the damage of {} goes unnoticed (code {:?}): {}", victim.display(), ended.code, said(ended))
    });
}

/// The checkpoint of a run that was stopped.
pub(super) fn checkpoint(trial: &mut Trial<'_>) -> io::Result<()> {
    let deed = deeds::deed(["run", "run-adaptation"][trial.draw.below(2)]);
    let calm = deed.calm(trial.world, &trial.dir)?;
    deed.begin(trial.world, &trial.dir)?;
    let call = deed.call(trial.world)?;
    for _ in 0..6 {
        let after = trial.draw.moment(calm.seconds);
        trial.call_sent(&call, Some(Sent { signal: Signal::KILL, after }))?;
        let files = tree::files(&trial.path("out/runs"))?;
        let Some(state) = files.iter().find(|p| p.file_name().is_some_and(|n| n == "state.safetensors")) else {
            continue;
        };
        let others: Vec<PathBuf> =
            files.iter().filter(|p| p.extension().is_some_and(|e| e != "csv")).cloned().collect();
        damage(trial, state, &others)?;
        let ended = trial.call(&call)?;
        let text = String::from_utf8_lossy(&ended.stderr);
        let named = ended.code == Some(1) && (text.contains("checkpoint") || text.contains("state.safetensors"));
        trial.expect(named || ended.code == Some(0), || {
            format!("a damaged checkpoint ends with {:?} and is not named: {}", ended.code, said(&ended))
        });
        if ended.code == Some(0) {
            trial.expect_results(&calm.results, "out")?;
        }
        return Ok(());
    }
    Ok(())
}

/// Raw tables before `prepare`, files of one's own before `adapt` and `finetune`, a dataset before `run`.
pub(super) fn data(trial: &mut Trial<'_>) -> io::Result<()> {
    let deeds: [(&str, &str); 5] = [
        ("prepare", "in/raw"),
        ("adapt", "in/notes.csv"),
        ("finetune", "in/labelled.csv"),
        ("run", "out/data"),
        ("predict", "in/notes.csv"),
    ];
    let (name, place) = deeds[trial.number as usize % deeds.len()];
    let deed: &'static Deed = deeds::deed(name);
    deed.begin(trial.world, &trial.dir)?;
    let mut files = tree::files(&trial.path(place))?;
    files.retain(|p| p.extension().is_some_and(|e| ["csv", "gz", "json", "txt"].iter().any(|known| e == *known)));
    let victim = trial.draw.pick(&files).clone();
    let how = damage(trial, &victim, &files)?;
    let call: Call = deed.call(trial.world)?;
    let ended = trial.call(&call)?;
    trial.expect_code(&ended, &[0, 1]);
    // A file of rows is as good with fewer of them; the others are no files any more.
    if matches!(how, Damage::Folder) && name != "run" {
        let file = victim.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let table = file.split('.').next().unwrap_or_default().to_string();
        let text = String::from_utf8_lossy(&ended.stderr).into_owned();
        trial.expect(ended.code == Some(0) || text.contains(&table), || {
            format!("{file} is not named: {}", said(&ended))
        });
    }
    trial.expect_whole("out")
}
