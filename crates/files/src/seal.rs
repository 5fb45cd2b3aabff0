//! The seal of a folder: what this program wrote into it, with checksums, which tells it from folders of other people.

use crate::error::{Error, Result, at};
use crate::read::{hash_bytes, hash_file, read_json, walk};
use crate::write::{Access, json, write_atomic, write_private};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Name of the seal in a folder.
pub const SEAL: &str = ".clinpeft.json";

/// What this program wrote into a folder.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Seal {
    made_by: String,
    /// By path in the folder, with `/`.
    pub(crate) files: BTreeMap<String, Sealed>,
}

/// A file as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sealed {
    pub(crate) bytes: u64,
    pub(crate) blake3: String,
    /// While the file is being written: the content that was there before, which a killed process may have left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<String>,
}

/// `before` of a file that was not there.
pub(crate) const ABSENT: &str = "absent";

const NAME: &str = "clinpeft";
const AGAIN: &str = "make it again with the command that wrote it, or take it from a copy";

impl Seal {
    /// The seal of a folder, if it has one.
    pub(crate) fn read(dir: &Path) -> Option<Seal> {
        let seal: Seal = read_json(&dir.join(SEAL)).ok()?;
        (seal.made_by == NAME).then_some(seal)
    }

    pub(crate) fn of(dir: &Path) -> Result<Seal> {
        let mut seal = Seal { made_by: NAME.into(), files: BTreeMap::new() };
        for path in walk(dir)? {
            let bytes = fs::symlink_metadata(&path).map_err(at("inspect", &path))?.len();
            let sealed = Sealed { bytes, blake3: hash_file(&path)?, before: None };
            seal.files.insert(inside(dir, &path), sealed);
        }
        Ok(seal)
    }

    pub(crate) fn write(&self, dir: &Path, access: Access) -> Result<()> {
        put(&dir.join(SEAL), access, json(&dir.join(SEAL), self)?.as_bytes())
    }

    /// What is wrong with a file that it lists; `None` if nothing is.
    fn fault(&self, sealed: &Sealed, path: &Path, depth: Depth) -> Result<Option<&'static str>> {
        let meta = fs::symlink_metadata(path).map_err(at("inspect", path))?;
        if !meta.is_file() || meta.len() != sealed.bytes && sealed.before.is_none() {
            return Ok(Some("it has another length than it was written with"));
        }
        if depth == Depth::Length {
            return Ok(None);
        }
        let found = hash_file(path)?;
        let known = found == sealed.blake3 || sealed.before.as_ref() == Some(&found);
        Ok((!known).then_some("its content differs from its checksum"))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    Length,
    Content,
}

fn inside(dir: &Path, path: &Path) -> String {
    let parts = path.strip_prefix(dir).unwrap_or(path).iter();
    parts.map(|p| p.to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// Errors if `dir` is there and holds anything that this program did not make, or that was changed since.
pub fn refuse_foreign_folder(dir: &Path) -> Result<()> {
    check(dir, dir, Depth::Content)
}

/// Errors call the folder `name`.
pub(crate) fn check(dir: &Path, name: &Path, depth: Depth) -> Result<()> {
    let foreign = |what: String| Err(Error::Foreign { path: name.into(), what });
    let Ok(meta) = fs::metadata(dir) else { return Ok(()) };
    if !meta.is_dir() {
        return foreign("is a file".into());
    }
    let mut files = walk(dir)?;
    files.retain(|path| path != &dir.join(SEAL));
    let Some(seal) = Seal::read(dir) else {
        return if files.is_empty() { Ok(()) } else { foreign("was not made by this program".into()) };
    };
    for path in files {
        let short = inside(dir, &path);
        match seal.files.get(&short) {
            None => return foreign(format!("holds `{short}`, which this program did not make")),
            Some(sealed) if seal.fault(sealed, &path, depth)?.is_some() => {
                return foreign(format!("holds `{short}`, which was changed since this program made it"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Errors if a file of a sealed folder is missing or differs from its checksum. A folder without a seal says nothing.
pub fn verify(dir: &Path) -> Result<()> {
    let Some(seal) = Seal::read(dir) else { return Ok(()) };
    for (short, sealed) in &seal.files {
        let path = dir.join(short);
        let fault = match path.exists() {
            true => seal.fault(sealed, &path, Depth::Content)?,
            false if sealed.before.as_deref() == Some(ABSENT) => None,
            false => Some("it is missing"),
        };
        if let Some(what) = fault {
            return Err(Error::Damaged { path, what: what.into(), hint: AGAIN });
        }
    }
    Ok(())
}

/// Errors if one of the files `names` exists in `dir` and is not as its seal lists it.
pub fn refuse_foreign_files(dir: &Path, names: &[&str]) -> Result<()> {
    let seal = Seal::read(dir).unwrap_or_default();
    for name in names {
        let path = dir.join(name);
        // A link that points nowhere is somebody's too.
        if fs::symlink_metadata(&path).is_err() {
            continue;
        }
        let what = match seal.files.get(*name) {
            None => "was not made by this program",
            Some(sealed) if seal.fault(sealed, &path, Depth::Content)?.is_some() => {
                "was changed since this program made it"
            }
            Some(_) => continue,
        };
        return Err(Error::Foreign { path, what: what.into() });
    }
    Ok(())
}

/// Writes one more file into a sealed folder, or one of its files anew. A folder without a seal gets one. Errors if the file is
/// there and is not as the seal lists it.
pub fn write_into(dir: &Path, name: &str, access: Access, bytes: &[u8]) -> Result<()> {
    refuse_foreign_files(dir, &[name])?;
    let path = dir.join(name);
    let mut seal = Seal::read(dir).unwrap_or_default();
    seal.made_by = NAME.into();
    // The seal first: a kill in between leaves a seal that lists a missing file, which may still be replaced.
    let before = if path.exists() { hash_file(&path)? } else { ABSENT.into() };
    let written = Sealed { bytes: bytes.len() as u64, blake3: hash_bytes(bytes), before: None };
    seal.files.insert(name.into(), Sealed { before: Some(before), ..written.clone() });
    seal.write(dir, access)?;
    put(&path, access, bytes)?;
    seal.files.insert(name.into(), written);
    seal.write(dir, access)
}

fn put(path: &Path, access: Access, bytes: &[u8]) -> Result<()> {
    match access {
        Access::Private => write_private(path, bytes),
        Access::Shared => write_atomic(path, bytes),
    }
}
