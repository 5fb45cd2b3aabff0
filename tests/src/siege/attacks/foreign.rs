//! Files and folders of other people stand where the program writes.

use super::kills::deed;
use crate::siege::child::{Call, said};
use crate::siege::deeds::{self, Deed};
use crate::siege::trial::Trial;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Files of somebody's project, with names that this program uses too.
const PROJECT: [(&str, &str); 6] = [
    ("manifest.json", "{\"name\": \"my-site\", \"short_name\": \"site\"}\n"),
    ("index.html", "<h1>mine</h1>\n"),
    ("result.json", "[1, 2, 3]\n"),
    ("src/app.js", "alert(1)\n"),
    ("thesis.tex", "\\begin{document}\n"),
    (".lock", "process 1\n"),
];

fn project(dir: &Path) -> io::Result<()> {
    for (name, content) in PROJECT {
        plant(&dir.join(name), content)?;
    }
    Ok(())
}

fn plant(path: &Path, content: &str) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    fs::write(path, content)
}

/// `--out` names something that is not the program's.
pub(super) fn output(trial: &mut Trial<'_>) -> io::Result<()> {
    let deed = deed(trial);
    let calm = deed.calm(trial.world, &trial.dir)?;
    deed.begin(trial.world, &trial.dir)?;
    let target = trial.path(deed.target());
    let case = trial.draw.below(5);
    match case {
        0 => project(&target)?,
        // A folder of the program itself, with a file that is not.
        1 => {
            trial.call(&deed.call(trial.world)?)?;
            if target.is_dir() {
                plant(&target.join("thesis.tex"), "mine\n")?;
            }
        }
        2 if !target.exists() => plant(&target, "a file\n")?,
        3 if !target.exists() => {
            project(&trial.path("foreign/project"))?;
            symlink(trial.path("foreign/project"), &target)?;
            trial.guard("foreign")?;
        }
        _ if !target.exists() && target.extension().is_none() => {
            trial.bring("store/runs", deed.target())?;
        }
        _ => plant(&target.join("runs/mine/run.toml"), "name = \"mine\"\n").unwrap_or_default(),
    }
    // In a store the program's own files may change; of a folder that appears as a whole, none.
    let store = deed.target() == "out";
    let planted = ["thesis.tex", "manifest.json", "index.html", "result.json", "src", "runs/mine"];
    for name in planted.iter().filter(|_| store) {
        trial.guard(&format!("{}/{name}", deed.target()))?;
    }
    let scored_before = deed.name == "predict" && case == 1;
    if !store && !scored_before {
        trial.guard(deed.target())?;
    }
    let ended = trial.call(&deed.call(trial.world)?)?;
    trial.expect_code(&ended, &[0, 1]);
    if store && ended.code == Some(0) {
        let found = crate::siege::tree::results(&trial.path("out"))?;
        let missing = calm.results.keys().find(|k| !found.contains_key(*k));
        trial.expect(missing.is_none(), || format!("beside foreign files, {missing:?} was not written"));
    }
    Ok(())
}

/// Neighbours of what is written, with names that a program might use for itself.
pub(super) fn beside(trial: &mut Trial<'_>) -> io::Result<()> {
    let deed = deed(trial);
    let calm = deed.calm(trial.world, &trial.dir)?;
    deed.begin(trial.world, &trial.dir)?;
    let target = trial.path(deed.target());
    let (parent, name) = (target.parent().unwrap_or(&target), target.file_name().unwrap_or_default().to_string_lossy());
    let neighbours = [
        format!("{name}.replaced"),
        format!("{name}.partial"),
        format!(".partial-{name}"),
        ".partial-mine".into(),
        ".clinpeft-partial-mine".into(),
        ".tmpmine".into(),
        format!("{name}~"),
    ];
    let place = parent.strip_prefix(&trial.dir).unwrap_or(parent).to_string_lossy().into_owned();
    for neighbour in &neighbours {
        plant(&parent.join(neighbour).join("thesis.tex"), "mine\n")?;
        trial.guard(&format!("{place}/{neighbour}"))?;
    }
    plant(&parent.join(".lock"), "mine\n")?;
    trial.guard(&format!("{place}/.lock"))?;
    let ended = trial.call(&deed.call(trial.world)?)?;
    trial.expect(ended.code == Some(0), || format!("foreign neighbours are in the way: {}", said(&ended)));
    let found = crate::siege::tree::results(&trial.path("out"))?;
    let wrong = calm.results.iter().find(|(k, v)| found.get(*k) != Some(v)).map(|(k, _)| k);
    trial.expect(wrong.is_none(), || format!("beside foreign neighbours, {wrong:?} comes out otherwise"));
    Ok(())
}

/// Files of a person inside of the folders of a store.
pub(super) fn inside(trial: &mut Trial<'_>) -> io::Result<()> {
    let stores: Vec<&'static Deed> =
        ["reproduce", "adapt", "finetune", "report", "run", "search"].into_iter().map(deeds::deed).collect();
    let deed = stores[trial.number as usize % stores.len()];
    deed.calm(trial.world, &trial.dir)?;
    deed.begin(trial.world, &trial.dir)?;
    let all = [
        "out/data/mine.txt",
        "out/data/mine/manifest.json",
        "out/runs/mine/notes.txt",
        "out/runs/mine.txt",
        "out/runs/.lock",
        "out/data/.lock",
        "out/tokens/mine.txt",
        "out/report/index.html",
        "out/report/tables.md",
        "out/report/mine.txt",
        "out/raw/mine.txt",
    ];
    for _ in 0..=trial.draw.below(3) {
        let name = *trial.draw.pick(&all);
        plant(&trial.path(name), "mine\n")?;
        trial.guard(name)?;
    }
    let ended = trial.call(&deed.call(trial.world)?)?;
    trial.expect_code(&ended, &[0, 1]);
    Ok(())
}

/// `predict --out` and `search --write` on files that are read, or somebody's, or no files.
pub(super) fn scores(trial: &mut Trial<'_>) -> io::Result<()> {
    let deed = deeds::deed("predict");
    deed.begin(trial.world, &trial.dir)?;
    let mut words = deed.call(trial.world)?.words;
    let input = trial.path("in/notes.csv");
    plant(&trial.path("foreign/table.csv"), "name,grade\nme,1\n")?;
    plant(&trial.path("foreign/empty.csv"), "")?;
    let case = trial.number % 9;
    let out = match case {
        0 => "in/notes.csv",
        1 => {
            fs::hard_link(&input, trial.path("out/link.csv"))?;
            "out/link.csv"
        }
        2 => {
            symlink(&input, trial.path("out/link.csv"))?;
            "out/link.csv"
        }
        3 => "foreign/table.csv",
        4 => "/dev/null",
        5 => "/dev/stdout",
        6 => "out",
        7 => "in/../in/notes.csv",
        _ => "/dev/full",
    };
    trial.guard("in")?;
    trial.guard("foreign/table.csv")?;
    if let Some(last) = words.last_mut() {
        *last = out.into();
    }
    let ended = trial.call(&Call::new(words))?;
    let good = matches!(case, 4 | 5);
    let how = |what: &str| format!("predict --out {out} {what}: {}", said(&ended));
    trial.expect(ended.code == Some(if good { 0 } else { 1 }), || how("ended otherwise than it should"));
    if case == 5 {
        trial.expect(ended.stdout.starts_with(b"id,"), || how("printed no scores"));
    }
    let device = fs::metadata("/dev/null").is_ok_and(|m| !m.is_file());
    trial.expect(device, || "/dev/null is a file now".into());
    Ok(())
}
