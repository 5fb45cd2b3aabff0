//! What is read from a dataset folder is what its manifest lists.

use crate::error::{Error, Result};
use crate::prepare::OutputFile;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The checksums that `manifest.json` lists.
pub(crate) struct Outputs {
    dir: PathBuf,
    /// BLAKE3 by path in the folder; `None` for own notes of an older version, whose manifests list nothing.
    listed: Option<BTreeMap<String, String>>,
}

/// The part of a manifest that is needed here.
#[derive(serde::Deserialize)]
struct Manifest {
    #[serde(default)]
    outputs: Option<Vec<OutputFile>>,
}

impl Outputs {
    /// Reads the manifest of a dataset folder.
    pub fn of(dir: &Path) -> Result<Outputs> {
        let manifest: Manifest = clinpeft_files::read_json(&dir.join("manifest.json"))?;
        let listed = manifest.outputs.map(|files| files.into_iter().map(|file| (file.path, file.blake3)).collect());
        Ok(Outputs { dir: dir.into(), listed })
    }

    /// Errors if a file of the folder, whose bytes have the hash `blake3`, is another one than the manifest lists.
    pub fn check(&self, path: &Path, blake3: &str) -> Result<()> {
        let Some(listed) = &self.listed else { return Ok(()) };
        let parts = path.strip_prefix(&self.dir).unwrap_or(path).iter();
        let name = parts.map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/");
        let what = match listed.get(&name) {
            Some(expected) if expected == blake3 => return Ok(()),
            Some(_) => "its content differs from the checksum in `manifest.json`",
            None => "`manifest.json` does not list it",
        };
        let hint = "prepare the dataset folder again";
        Err(Error::File(clinpeft_files::Error::Damaged { path: path.into(), what: what.into(), hint }))
    }
}
