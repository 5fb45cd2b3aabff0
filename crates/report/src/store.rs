//! Run folders.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::Value;

use crate::error::Result;
use crate::format::first_line;

/// All runs below one folder.
#[derive(Debug, Default)]
pub(crate) struct Store {
    /// By name of the folder.
    pub(crate) runs: Vec<Run>,
    /// Folders that do not say what they are: name and reason.
    pub(crate) unplaced: Vec<(String, String)>,
}

/// One run folder.
#[derive(Debug)]
pub(crate) struct Run {
    /// Name of the folder below `runs`.
    pub(crate) folder: String,
    /// The folder itself.
    pub(crate) path: PathBuf,
    /// Name of the dataset folder below `<out>/data`.
    pub(crate) data: Option<String>,
    /// What learned.
    pub(crate) learning: Trained,
    /// `model_type` of the base model's `config.json`, if that is still there.
    pub(crate) model_type: Option<String>,
    pub(crate) key: Key,
    pub(crate) state: State,
    /// Empty unless done.
    pub(crate) result: RunResult,
    /// When the folder's state was last written; the newest run of a key is shown.
    modified: SystemTime,
}

/// What a run measures.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) fidelity: String,
    pub(crate) row: String,
    /// `None`: domain adaptation.
    pub(crate) task: Option<String>,
    pub(crate) seed: u64,
}

/// How far a run came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Done,
    /// With the first line of the error.
    Failed(String),
    /// A folder without result and without end: running or interrupted.
    Unfinished,
}

impl State {
    /// One word.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed(_) => "failed",
            Self::Unfinished => "unfinished",
        }
    }
}

/// `result.json`; unknown fields are ignored.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RunResult {
    pub(crate) metrics: BTreeMap<String, Metric>,
    pub(crate) ceiling: Option<f64>,
    pub(crate) trainable_parameters: Option<f64>,
    pub(crate) total_parameters: Option<f64>,
    pub(crate) seconds: Option<f64>,
    pub(crate) tokens: Option<f64>,
    pub(crate) peak_memory_mib: Option<f64>,
}

/// A metric: a bare number, or a number with its interval; `null` if undefined.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(from = "Value")]
pub(crate) struct Metric {
    pub(crate) value: Option<f64>,
    pub(crate) interval: Option<(f64, f64)>,
}

impl From<Value> for Metric {
    fn from(json: Value) -> Self {
        Self { value: json.as_f64().or(json["value"].as_f64()), interval: json["lo"].as_f64().zip(json["hi"].as_f64()) }
    }
}

/// What learned in a run, as far as its cost depends on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Trained {
    #[default]
    Unknown,
    Head,
    Adapters,
    /// No language model: TF-IDF and logistic regression.
    BagOfWords,
}

/// The switches that are shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Switches {
    #[serde(flatten)]
    identity: Identity,
    data: Option<String>,
    kind: Option<String>,
    base: BaseModel,
    stack: Vec<StackEntry>,
}

/// Where the base model is: in another run's folder, or in a folder of its own.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct BaseModel {
    source: Option<String>,
    run: Option<String>,
    folder: Option<PathBuf>,
}

/// An adapter in `run.toml`.
#[derive(Debug, Deserialize)]
struct StackEntry {
    #[serde(default = "yes")]
    trainable: bool,
    #[serde(default = "yes")]
    active: bool,
}

fn yes() -> bool {
    true
}

impl Switches {
    fn learning(&self) -> Trained {
        match self.kind {
            None => Trained::Unknown,
            Some(_) if self.base.source.as_deref() == Some("bag_of_words") => Trained::BagOfWords,
            Some(_) if self.stack.iter().any(|e| e.trainable && e.active) => Trained::Adapters,
            Some(_) => Trained::Head,
        }
    }

    fn model_type(&self, runs: Option<&Path>) -> Option<String> {
        let of_run = || Some(runs?.join(self.base.run.as_ref()?).join("model"));
        let folder = self.base.folder.clone().or_else(of_run)?;
        let config: Value = clinpeft_files::read_json(&folder.join("config.json")).ok()?;
        Some(config["model_type"].as_str()?.to_owned())
    }
}

/// The fields that place a run; `result.json`, `status.json` and `run.toml` are asked in this order.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Identity {
    row: Option<String>,
    task: Option<String>,
    seed: Option<u64>,
    fidelity: Option<String>,
}

impl Identity {
    fn or(self, other: Self) -> Self {
        Self {
            row: self.row.or(other.row),
            task: self.task.or(other.task),
            seed: self.seed.or(other.seed),
            fidelity: self.fidelity.or(other.fidelity),
        }
    }
}

/// `status.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    state: Option<String>,
    error: Option<String>,
}

impl Store {
    /// Forgets every run that is not `wanted`. Folders that do not say what they are stay: they may be wanted.
    pub(crate) fn keep(&mut self, wanted: impl Fn(&str) -> bool) {
        self.runs.retain(|run| wanted(&run.folder));
    }

    /// Reads every folder below `runs`; a missing folder holds no runs.
    pub(crate) fn read(runs: &Path) -> Result<Self> {
        let mut store = Self::default();
        if !runs.exists() {
            return Ok(store);
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(runs).map_err(clinpeft_files::at("list", runs))? {
            let entry = entry.map_err(clinpeft_files::at("list", runs))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // Hidden folders are being filled.
            if entry.path().is_dir() && !name.starts_with('.') {
                names.push((name, entry.path()));
            }
        }
        names.sort();
        for (name, path) in names {
            match read_run(name.clone(), &path) {
                Ok(run) => store.runs.push(run),
                Err(reason) => store.unplaced.push((name, reason)),
            }
        }
        Ok(store)
    }

    /// The newest run of `key`; of runs equally old the last by name.
    pub(crate) fn find(&self, key: &Key) -> Option<&Run> {
        let runs = self.runs.iter().filter(|run| run.key == *key);
        runs.max_by_key(|run| run.modified)
    }
}

/// The fidelity of a run that names none.
const PAPER: &str = "paper";

fn read_run(folder: String, path: &Path) -> Result<Run, String> {
    let (result_path, status_path) = (path.join("result.json"), path.join("status.json"));
    let result: Option<Result<RunResult, String>> = read_json(&result_path);
    let status: Option<Result<Status, String>> = read_json(&status_path);
    let switches = read_switches(&path.join("run.toml"))?;
    let (data, learning, model_type) = (switches.data.clone(), switches.learning(), switches.model_type(path.parent()));
    let identity = [&result_path, &status_path]
        .into_iter()
        .filter_map(|path| read_json(path)?.ok())
        .fold(Identity::default(), Identity::or)
        .or(switches.identity);
    let row = identity.row.ok_or("names no row")?;
    let seed = identity.seed.ok_or("names no seed")?;
    let (state, result) = state(result, status);
    let modified = [&status_path, &result_path, &path.join("run.toml")]
        .into_iter()
        .find_map(|file| fs::metadata(file).and_then(|m| m.modified()).ok())
        .unwrap_or(SystemTime::UNIX_EPOCH);
    Ok(Run {
        folder,
        path: path.into(),
        data,
        learning,
        model_type,
        key: Key { fidelity: identity.fidelity.unwrap_or_else(|| PAPER.into()), row, task: identity.task, seed },
        state,
        result,
        modified,
    })
}

fn state(result: Option<Result<RunResult, String>>, status: Option<Result<Status, String>>) -> (State, RunResult) {
    let nothing = RunResult::default();
    let status = match status {
        Some(Ok(status)) => status,
        Some(Err(what)) => return (State::Failed(format!("{what}; `clinpeft run` on its folder mends it")), nothing),
        None => Status::default(),
    };
    match (status.state.as_deref(), result) {
        (Some("failed"), _) => {
            let error = status.error.as_deref().map(first_line);
            let error = error.filter(|e| !e.is_empty());
            let error = error.unwrap_or_else(|| "no reason given".into());
            (State::Failed(error), nothing)
        }
        (_, Some(Err(what))) => (State::Failed(what), nothing),
        (Some("done") | None, Some(Ok(result))) => (State::Done, result),
        (Some("done"), None) => (State::Failed("done without a result.json".into()), nothing),
        // Whatever else a state is called, it is not the end.
        (Some(_) | None, _) => (State::Unfinished, nothing),
    }
}

/// `None` if there is no such file; an error is one line without the path of the store.
fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Option<Result<T, String>> {
    if !path.exists() {
        return None;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) => return Some(Err(format!("{name} cannot be read: {e}"))),
    };
    Some(serde_json::from_str(&text).map_err(|e| format!("{name} cannot be read: {e}")))
}

/// A missing file says nothing; a damaged one is an error.
fn read_switches(path: &Path) -> Result<Switches, String> {
    if !path.exists() {
        return Ok(Switches::default());
    }
    let text = fs::read_to_string(path).map_err(|e| e.to_string());
    let read = text.and_then(|text| toml::from_str(&text).map_err(|e| e.message().to_string()));
    read.map_err(|what| {
        format!("run.toml cannot be read: {what}; `clinpeft reproduce` makes the run again, the folder can be removed")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    fn read(files: &[(&str, &str)]) -> Result<Run, String> {
        read_run("run".into(), folder(files).path())
    }

    const RESULT: &str = r#"{"row": "A", "task": "t", "seed": 3, "metrics": {"auroc": {"value": 0.5, "lo": 0.4, "hi": 0.6},
        "perplexity": 2.5, "auprc": null}, "new_field": [1]}"#;

    #[test]
    fn result_alone_is_done_and_unknown_fields_are_ignored() {
        let run = read(&[("result.json", RESULT)]).unwrap();
        assert_eq!(run.state, State::Done);
        assert_eq!(run.key.fidelity, "paper");
        let metrics = &run.result.metrics;
        assert_eq!(metrics["auroc"].interval, Some((0.4, 0.6)));
        assert_eq!(metrics["perplexity"].value, Some(2.5));
        assert_eq!(metrics["auprc"].value, None);
    }

    #[test]
    fn failed_run_is_placed_by_its_switches() {
        let run = read(&[
            ("run.toml", "row = \"A\"\nseed = 3\nfidelity = \"code\"\n[train]\nepochs = 2\n"),
            ("status.json", r#"{"state": "failed", "error": "out of memory\nhint: smaller batch"}"#),
        ])
        .unwrap();
        assert_eq!(run.state, State::Failed("out of memory".into()));
        assert_eq!((run.key.fidelity.as_str(), run.key.task), ("code", None));
    }

    #[test]
    fn broken_result_is_a_failure_that_says_so() {
        let run = read(&[("result.json", "{\"row\": "), ("run.toml", "row = \"A\"\nseed = 3\n")]);
        let State::Failed(what) = run.unwrap().state else {
            panic!("must fail");
        };
        assert!(what.starts_with("result.json cannot be read"));
    }

    #[test]
    fn damaged_switches_are_told_with_what_to_do() {
        for text in ["row = \"A\"\nseed = ", "row = 3\n", "\u{0}"] {
            let said = read(&[("run.toml", text), ("result.json", RESULT)]).unwrap_err();
            assert!(said.starts_with("run.toml cannot be read") && said.contains("makes the run again"), "{said}");
        }
        let run = read(&[("run.toml", "row = \"A\"\nseed = 3\n"), ("status.json", "{\"sta")]).unwrap();
        let State::Failed(what) = run.state else { panic!("must fail") };
        assert!(what.starts_with("status.json cannot be read") && what.contains("mends it"), "{what}");
    }

    #[test]
    fn folder_without_end_is_unfinished_and_without_name_is_unplaced() {
        let run = read(&[("run.toml", "row = \"A\"\nseed = 3\n")]).unwrap();
        assert_eq!(run.state, State::Unfinished);
        let done = read(&[("run.toml", "row = \"A\"\nseed = 3\n"), ("status.json", r#"{"state": "done"}"#)]);
        assert!(matches!(done.unwrap().state, State::Failed(_)));
        assert_eq!(read(&[]).unwrap_err(), "names no row");
    }
}
