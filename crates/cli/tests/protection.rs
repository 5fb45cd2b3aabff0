//! What the program promises about files: nothing of others is lost, nothing of patients can be read, damage is told.

#![allow(clippy::unwrap_used, reason = "tests")]
#![cfg(unix)]

use assert_cmd::cargo::cargo_bin;
use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn clinpeft(arguments: &[&str]) -> Output {
    Command::new(cargo_bin("clinpeft")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Through a shell, which knows what this process does not: the umask, closed streams.
fn shell(line: &str, arguments: &[&str]) -> Output {
    Command::new("sh").args(["-c", line, "sh"]).arg(cargo_bin("clinpeft")).args(arguments).output().unwrap()
}

fn text(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = clinpeft_files::walk(dir).unwrap().into_iter();
    files.map(|path| (path.clone(), std::fs::read(&path).unwrap_or_default())).collect()
}

/// One cell without adapters of step 1: the smallest run of a task.
const PART: &[&str] = &["reproduce", "--profile", "smoke", "--only", "LLaMA + LoRA,mortality", "--table", "3"];

fn reproduce(out: &Path) -> Output {
    clinpeft(&[PART, &["--out", name(out)]].concat())
}

fn run_folder(out: &Path) -> PathBuf {
    let mut runs = std::fs::read_dir(out.join("runs")).unwrap().map(|d| d.unwrap().path());
    runs.find(|p| name(p).contains("/llama-lora-mortality")).unwrap()
}

#[test]
fn no_command_replaces_what_it_did_not_make() {
    let dir = tempfile::tempdir().unwrap();
    let at = |place: &str| dir.path().join(place);
    let synth = |out: &Path| clinpeft(&["synth", "--cohort", "smoke", "--patients", "60", "--out", name(out)]);
    assert!(synth(&at("raw")).status.success());
    let (mimic3, notes) = (at("raw/mimic3"), at("raw/mimic4-note"));
    let prepare = |out: &Path| {
        clinpeft(&["prepare", "--mimic3", name(&mimic3), "--mimic4-note", name(&notes), "--out", name(out)])
    };
    // Neighbours with names that a program might use for itself.
    for neighbour in ["data.replaced", ".partial-data-x"] {
        std::fs::create_dir(at(neighbour)).unwrap();
        std::fs::write(at(neighbour).join("thesis.tex"), "years").unwrap();
    }
    std::fs::create_dir(at("web")).unwrap();
    std::fs::write(at("web/manifest.json"), "{}").unwrap();
    symlink("far", at("data")).unwrap();
    for _ in 0..2 {
        let made = prepare(&at("data"));
        assert!(made.status.success(), "{}", text(&made));
    }
    assert!(at("data").is_symlink() && at("far/manifest.json").is_file());
    assert_eq!(std::fs::read_to_string(at("data.replaced/thesis.tex")).unwrap(), "years");
    assert_eq!(std::fs::read_to_string(at(".partial-data-x/thesis.tex")).unwrap(), "years");
    std::fs::write(at("far/my notes.txt"), "mine").unwrap();
    for (out, what) in [("web", "was not made by this program"), ("far", "`my notes.txt`"), ("raw", "`mimic3")] {
        let before = contents(&at(out));
        let refused = prepare(&at(out));
        assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
        assert!(text(&refused).contains(what) || out == "raw", "{}", text(&refused));
        assert!(text(&refused).contains("hint:"));
        assert_eq!(before, contents(&at(out)), "{out}");
    }
    // Real tables under the names of synthetic ones.
    std::fs::create_dir_all(at("real/mimic3")).unwrap();
    std::fs::write(at("real/mimic3/NOTEEVENTS.csv"), "x").unwrap();
    assert_eq!(synth(&at("real")).status.code(), Some(1));
    assert_eq!(std::fs::read_to_string(at("real/mimic3/NOTEEVENTS.csv")).unwrap(), "x");
    // A report of somebody else.
    std::fs::create_dir_all(at("site/report")).unwrap();
    std::fs::write(at("site/report/index.html"), "<p>mine").unwrap();
    assert_eq!(reproduce(&at("site")).status.code(), Some(1));
    assert_eq!(std::fs::read_to_string(at("site/report/index.html")).unwrap(), "<p>mine");
}

#[test]
fn scores_go_where_they_are_sent_and_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let made = reproduce(&out);
    assert!(made.status.success(), "{}", text(&made));
    let run = run_folder(&out);
    let notes = dir.path().join("notes.csv");
    std::fs::write(&notes, "id,text\n=cmd|x,a note\n2,another\n").unwrap();
    let again = dir.path().join("same.csv");
    std::fs::hard_link(&notes, &again).unwrap();
    let scores = dir.path().join("scores.csv");
    let predict = ["predict", "--run", name(&run), "--input", name(&notes), "--out"];
    for target in [&notes, &again] {
        let refused = clinpeft(&[&predict[..], &[name(target)]].concat());
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused).contains("is also what is read"), "{}", text(&refused));
    }
    let foreign = dir.path().join("other.csv");
    std::fs::write(&foreign, "id,text,label\n").unwrap();
    assert!(text(&clinpeft(&[&predict[..], &[name(&foreign)]].concat())).contains("is not what this command writes"));
    assert_eq!(std::fs::read_to_string(&foreign).unwrap(), "id,text,label\n");
    for _ in 0..2 {
        assert!(shell("umask 000; exec \"$@\"", &[&predict[..], &[name(&scores)]].concat()).status.success());
    }
    assert_eq!(scores.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let written = std::fs::read_to_string(&scores).unwrap();
    assert!(written.lines().nth(1).unwrap().starts_with("'=cmd|x,"), "{written}");
    let streamed = shell("exec \"$@\"", &[&predict[..], &["/dev/stdout"]].concat());
    assert_eq!(String::from_utf8(streamed.stdout).unwrap(), written);
    assert!(clinpeft(&[&predict[..], &["/dev/null"]].concat()).status.success());
    assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    // From inside of the run folder, and with nobody who listens.
    let mut inside = Command::new(cargo_bin("clinpeft"));
    inside.current_dir(&run).args(["predict", "--run", ".", "--out", "/dev/null", "--input"]).arg(&notes);
    let inside = inside.output().unwrap();
    assert!(inside.status.success(), "{}", text(&inside));
    for (line, code) in [("\"$@\" >&-", 0), ("\"$@\" >/dev/full", 1), ("\"$@\" 2>/dev/full", 0), ("\"$@\" >&- 2>&-", 0)]
    {
        let ended = shell(line, &["report", "--out", name(&out)]);
        assert_eq!(ended.status.code(), Some(code), "{line}: {}", text(&ended));
    }
    let piped = shell("(\"$@\"; echo $? >&2) | true", &["report", "--out", name(&out)]);
    let codes = ["0", "141"];
    assert!(codes.iter().any(|code| text(&piped).lines().last() == Some(code)), "{}", text(&piped));
}

#[test]
fn only_the_owner_reads_notes_and_ids_whatever_the_umask() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let made = shell("umask 000; exec \"$@\"", &[PART, &["--out", name(&out)]].concat());
    assert!(made.status.success(), "{}", text(&made));
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    for part in ["data", "tokens"] {
        assert_eq!(mode(&out.join(part)), 0o700, "{part}");
    }
    let closed = |path: &Path| {
        let names = ["data", "raw", "tokens"].map(|part| out.join(part));
        names.iter().any(|part| path.starts_with(part)) || name(path).ends_with("/predictions.safetensors")
    };
    let mut seen = 0;
    for path in clinpeft_files::walk(&out).unwrap().iter().filter(|path| closed(path) && !path.ends_with(".lock")) {
        assert_eq!(mode(path), 0o600, "{}", path.display());
        seen += 1;
    }
    assert!(seen > 20);
    assert_eq!(mode(&out.join("report/index.html")), 0o666, "what is shared follows the umask");
    // A folder that somebody opened is named.
    std::fs::set_permissions(out.join("data"), PermissionsExt::from_mode(0o755)).unwrap();
    let warned = reproduce(&out);
    assert!(text(&warned).contains("warning: ") && text(&warned).contains("chmod -R go-rwx"), "{}", text(&warned));
    // Nobody outside of the dataset folder has its key, or ids that are numbers of patients or simple hashes of them.
    let data = std::fs::read_dir(out.join("data")).unwrap().map(|d| d.unwrap().path()).find(|p| p.is_dir()).unwrap();
    let key = std::fs::read_to_string(data.join("id-key")).unwrap();
    for part in ["runs", "report"] {
        for (path, bytes) in contents(&out.join(part)) {
            let holds = |what: &[u8]| bytes.windows(what.len()).any(|w| w == what);
            assert!(!holds(key.trim().as_bytes()), "{}", path.display());
        }
    }
}

#[test]
fn damaged_files_are_named_and_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    assert!(reproduce(&out).status.success());
    let run = run_folder(&out);
    let results = |run: &Path| {
        let mut files = contents(run);
        files.retain(|path, _| path.extension().is_some_and(|e| e == "safetensors" || e == "jsonl"));
        files
    };
    let expected = results(&run);
    let damage = |path: &Path| {
        let mut bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x20;
        std::fs::write(path, bytes).unwrap();
    };
    // Truncated, as a full disk of another program may leave it.
    std::fs::write(run.join("status.json"), "{\"sta").unwrap();
    let other = out.join("runs/a-foreign-folder");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("run.toml"), "row = [").unwrap();
    let report = clinpeft(&["report", "--out", name(&out)]);
    assert!(report.status.success(), "{}", text(&report));
    let tables = std::fs::read_to_string(out.join("report/tables.md")).unwrap();
    assert!(tables.contains("a-foreign-folder") && tables.contains("run.toml cannot be read"), "{tables}");
    assert!(reproduce(&out).status.success());
    assert_eq!(results(&run), expected);
    for file in ["adapter/downstream/adapter_model.safetensors", "adapter/stack.json", "result.json", "run.toml"] {
        match file {
            "result.json" => std::fs::write(run.join(file), "{").unwrap(),
            "run.toml" => std::fs::write(run.join(file), "").unwrap(),
            _ => damage(&run.join(file)),
        }
        let mended = reproduce(&out);
        assert!(mended.status.success(), "{}", text(&mended));
        assert!(text(&mended).contains("the run is made again"), "{file}: {}", text(&mended));
        assert!(expected.iter().all(|(path, bytes)| std::fs::read(path).unwrap() == *bytes), "{file}");
    }
    assert_eq!(std::fs::read_to_string(run.join("run.toml.damaged-1")).unwrap(), "", "what stood there is kept");
    std::fs::read_dir(out.join("tokens")).unwrap().for_each(|file| damage(&file.unwrap().path()));
    std::fs::remove_dir_all(&run).unwrap();
    let mended = reproduce(&out);
    let log = std::fs::read_to_string(run.join("log.txt")).unwrap();
    assert!(mended.status.success() && log.contains("the notes are encoded again"), "{}{log}", text(&mended));
    assert_eq!(results(&run), expected);
    let data = std::fs::read_dir(out.join("data")).unwrap().map(|d| d.unwrap().path()).find(|p| p.is_dir()).unwrap();
    damage(&data.join("mortality/test.csv"));
    let mended = reproduce(&out);
    assert!(mended.status.success(), "{}", text(&mended));
    assert!(text(&mended).contains("test.csv` is damaged"), "{}", text(&mended));
    assert!(data.with_file_name(format!("{}.damaged-1", data.file_name().unwrap().display())).is_dir());
}

#[test]
fn a_second_process_is_told_that_the_folder_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let start =
        || Command::new(cargo_bin("clinpeft")).args(PART).args(["--out", name(&out)]).stdin(Stdio::null()).output();
    let ended =
        std::thread::scope(|scope| [scope.spawn(start), scope.spawn(start)].map(|t| t.join().unwrap().unwrap()));
    let (good, refused): (Vec<_>, Vec<_>) = ended.iter().partition(|out| out.status.success());
    assert!(!good.is_empty(), "{}", text(refused[0]));
    assert!(
        refused.iter().all(|out| text(out).contains("another process works in this folder")),
        "{}",
        text(refused[0])
    );
}

#[test]
fn signals_of_schedulers_stop_a_run_with_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let endless = [PART, &["--set", "training.epochs=100000", "--out", name(&out)]].concat();
    let planned = clinpeft(&[&endless[..], &["--dry-run"]].concat());
    assert!(planned.status.success(), "{}", text(&planned));
    for signal in ["USR1", "USR2", "TERM", "XCPU", "HUP", "INT"] {
        let since = std::time::SystemTime::now();
        let mut command = Command::new(cargo_bin("clinpeft"));
        let mut child = command.args(&endless).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // A line of its own in the event log says that the run has begun, or goes on.
        let begun = |folder: PathBuf| {
            let written = folder.join("events.jsonl").metadata().and_then(|m| m.modified());
            name(&folder).contains("/llama-lora-mortality") && written.is_ok_and(|at| at > since)
        };
        let runs = out.join("runs");
        while !std::fs::read_dir(&runs).is_ok_and(|mut d| d.any(|d| begun(d.unwrap().path()))) {
            assert!(child.try_wait().unwrap().is_none(), "{signal}: it ended by itself");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let kill = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        assert_eq!(child.wait().unwrap().code(), Some(130), "{signal}");
        assert!(run_folder(&out).join("checkpoint/state.safetensors").is_file(), "{signal}");
    }
}
