//! `<out>`: data, runs, report.

use crate::{Error, Result, RunSpec};
use serde::{Deserialize, Serialize};
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

    /// A run folder by name.
    pub fn run(&self, name: &str) -> RunFolder {
        RunFolder { path: self.root.join("runs").join(name) }
    }

    /// The folder of a run, made if it is not there, with its `run.toml`.
    pub fn create(&self, spec: &RunSpec) -> Result<RunFolder> {
        let folder = self.run(&spec.folder_name()?);
        let path = folder.path.join("run.toml");
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
    /// The folder at `path`.
    pub fn at(path: &Path) -> RunFolder {
        RunFolder { path: path.into() }
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

    /// How far it has come; `None` if it never began.
    pub fn state(&self) -> Result<Option<RunState>> {
        let path = self.file("status.json");
        if path.exists() { Ok(Some(clinpeft_files::read_json(&path)?)) } else { Ok(None) }
    }

    /// Writes how far it has come.
    pub fn set_state(&self, state: &RunState) -> Result<()> {
        Ok(clinpeft_files::write_json(&self.file("status.json"), state)?)
    }
}
