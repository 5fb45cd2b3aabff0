//! `<out>`: data, runs, report.

use crate::error::{Error, Result};
use crate::spec::RunSpec;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// An output folder.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// How far a run has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RunState {
    /// Begun, not ended.
    Running,
    /// Everything is written.
    Done,
    /// Ended with an error.
    Failed {
        /// What it said.
        error: String,
    },
}

impl Store {
    /// The store at `root`, which need not exist.
    pub fn new(root: &Path) -> Store {
        Store { root: root.into() }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Raw synthetic files.
    pub fn raw(&self, name: &str) -> PathBuf {
        self.root.join("raw").join(name)
    }

    /// A dataset folder.
    pub fn data(&self, name: &str) -> PathBuf {
        self.root.join("data").join(name)
    }

    /// Cached tokens.
    pub fn tokens(&self) -> PathBuf {
        self.root.join("tokens")
    }

    /// What was compiled for devices and measured on them.
    pub fn devices(&self) -> PathBuf {
        self.root.join("devices")
    }

    /// Makes the folders for notes and tokens, closed to others.
    pub(crate) fn open(&self) -> Result<()> {
        for folder in ["data", "tokens"].map(|name| self.root.join(name)) {
            clinpeft_files::private_dir(&folder)?;
        }
        Ok(())
    }

    /// Removes what killed processes left half-written.
    pub(crate) fn sweep(&self) {
        for name in ["", "raw", "data", "tokens", "report", "devices"] {
            clinpeft_files::sweep(&self.root.join(name));
        }
    }

    /// Folders that hold notes, or tokens that decode to notes, and that others than the owner can enter.
    pub fn open_to_others(&self) -> Vec<PathBuf> {
        let datasets = std::fs::read_dir(self.root.join("data")).into_iter().flatten().flatten().map(|e| e.path());
        let outer = ["data", "tokens", "raw"].map(|name| self.root.join(name));
        // Nobody gets past a closed folder to those in it.
        let datasets: Vec<PathBuf> =
            if clinpeft_files::is_open_to_others(&outer[0]) { datasets.collect() } else { vec![] };
        let mut all: Vec<PathBuf> = outer.into_iter().chain(datasets).filter(|path| path.is_dir()).collect();
        all.retain(|path| clinpeft_files::is_open_to_others(path));
        all.sort();
        all
    }

    /// A run folder by name.
    pub fn run(&self, name: &str) -> RunFolder {
        RunFolder { path: self.root.join("runs").join(name) }
    }

    /// The folder of a run, made if it does not exist, with its `run.toml`. One that cannot be read is moved aside and written again.
    pub fn create(&self, spec: &RunSpec) -> Result<RunFolder> {
        spec.check().map_err(|what| Error::Options(format!("run: {what}")))?;
        self.open()?;
        let folder = self.run(&spec.folder_name()?);
        let path = folder.path.join("run.toml");
        if path.exists() && RunSpec::load(&path).is_err() {
            clinpeft_files::set_aside(&path)?;
        }
        if !path.exists() {
            clinpeft_files::write_atomic(&path, spec.text()?)?;
        }
        Ok(folder)
    }
}

/// One run folder.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// The folder at `path`, whatever the path calls it: `.` is the working folder by its name.
    pub fn at(path: &Path) -> RunFolder {
        RunFolder { path: path.canonicalize().unwrap_or_else(|_| path.into()) }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// The store that it lies in.
    pub fn store(&self) -> Result<Store> {
        let root = self.path.parent().and_then(Path::parent);
        let root =
            root.ok_or_else(|| Error::Options(format!("`{}` is not below `<out>/runs`", self.path.display())))?;
        Ok(Store::new(if root.as_os_str().is_empty() { Path::new(".") } else { root }))
    }

    /// Its spec, which must be the one that named it.
    pub fn spec(&self) -> Result<RunSpec> {
        let path = self.path.join("run.toml");
        let spec = RunSpec::load(&path)?;
        let name = spec.folder_name()?;
        if name != self.name() {
            return Err(Error::Config {
                path,
                what: format!("was changed; its folder would be `{name}`\nhint: copy it to a folder of that name"),
            });
        }
        Ok(spec)
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// How far it has come; `None` if it never began, or if what it wrote about that is damaged: then it goes on from its
    /// checkpoint or begins anew.
    pub fn state(&self) -> Result<Option<RunState>> {
        let path = self.file("status.json");
        if !path.exists() {
            return Ok(None);
        }
        match clinpeft_files::read_json(&path) {
            Ok(state) => Ok(Some(state)),
            Err(clinpeft_files::Error::Content { .. }) => Ok(None),
            Err(clinpeft_files::Error::Io { source, .. }) if source.kind() == ErrorKind::InvalidData => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// What is damaged of the results of a run that is done, if anything is.
    pub fn damage(&self) -> Option<Error> {
        let folders = ["adapter", "model"].map(|name| clinpeft_files::verify(&self.file(name)).map_err(Error::from));
        let results = ["result.json", "manifest.json"].map(|name| {
            clinpeft_files::read_json::<serde_json::Value>(&self.file(name)).map(|_| ()).map_err(Error::from)
        });
        let files = ["predictions.safetensors", "validation.safetensors"].map(|name| self.file(name));
        let files = files.iter().filter(|path| path.exists());
        let predictions = files.map(|path| Ok(clinpeft_report::predictions::verify(path)?));
        let spec = [self.spec().map(|_| ())];
        spec.into_iter().chain(folders).chain(results).chain(predictions).find_map(Result::err)
    }

    /// Moves aside what [`RunFolder::damage`] found in folders that are replaced only as they were made.
    pub(crate) fn set_damaged_aside(&self) -> Result<()> {
        for folder in ["adapter", "model"].map(|name| self.file(name)) {
            if clinpeft_files::verify(&folder).is_err() {
                clinpeft_files::set_aside(&folder)?;
            }
        }
        Ok(())
    }

    /// Writes how far it has come.
    pub fn set_state(&self, state: &RunState) -> Result<()> {
        Ok(clinpeft_files::write_json(&self.file("status.json"), state)?)
    }
}
