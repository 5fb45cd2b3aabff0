//! Files that appear whole or not at all; hashes of what was read.
//!
//! - [`write_atomic`] writes beside the target, flushes to disk and renames; a killed process leaves the old file or none.
//! - [`commit_dir`] does the same for a folder: fill a temporary folder, then rename it into place.
//! - [`lock`] makes sure that one process at a time works in a run folder.
//! - Every error names the path.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

/// What can go wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {action} `{}`: {source}{}", path.display(), hint(source))]
    Io {
        /// What was tried, for example `read`.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what its name promises.
    #[error("`{}`: {what}", path.display())]
    Content {
        /// Where.
        path: PathBuf,
        /// What is wrong, and a hint where one is known.
        what: String,
    },
}

/// What to do where the reason alone says it.
fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "\nhint: free some space there, or choose a folder on another disk"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "\nhint: change the permissions there, or choose another folder"
        }
        _ => "",
    }
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Turns an [`io::Error`] into an [`Error`] that names the path: `.map_err(at("read", path))`.
pub fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Io { action, path, source }
}

/// Writes a file through `fill`: a temporary file in the same folder, flushed, then renamed.
///
/// If `fill` fails, the target is untouched and the temporary file is removed.
pub fn write_atomic_with<E: From<Error>>(
    path: &Path,
    fill: impl FnOnce(&mut io::BufWriter<&mut File>) -> Result<(), E>,
) -> Result<(), E> {
    let dir = parent(path);
    fs::create_dir_all(dir).map_err(at("create folder", dir))?;
    let mut temporary = tempfile::Builder::new().prefix(".partial-").tempfile_in(dir).map_err(at("write", path))?;
    {
        let mut out = io::BufWriter::with_capacity(1 << 16, temporary.as_file_mut());
        fill(&mut out)?;
        out.flush().map_err(at("write", path))?;
    }
    temporary.as_file().sync_all().map_err(at("flush", path))?;
    temporary.persist(path).map_err(|e| at("rename", path)(e.error))?;
    sync_dir(dir);
    Ok(())
}

/// Writes `bytes` to `path`, whole or not at all.
pub fn write_atomic(path: &Path, bytes: impl AsRef<[u8]>) -> Result<()> {
    write_atomic_with(path, |out| out.write_all(bytes.as_ref()).map_err(at("write", path)))
}

/// Writes a value as indented JSON with a final newline.
pub fn write_json<T: serde::Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|e| Error::Content { path: path.into(), what: format!("cannot be written as JSON: {e}") })?;
    text.push('\n');
    write_atomic(path, text)
}

/// Reads a whole file as text.
pub fn read_text(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(at("read", path))
}

/// Errors if a file's beginning says that it only stands for a large one (<https://git-lfs.com>).
pub fn refuse_pointer(path: &Path, bytes: &[u8]) -> Result<()> {
    if bytes.starts_with(b"version https://git-lfs.github.com/spec/") {
        let what = "a Git LFS pointer, not the file itself\nhint: run `git lfs pull` in its folder".into();
        return Err(Error::Content { path: path.into(), what });
    }
    Ok(())
}

/// Reads a JSON file.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_str(&read_text(path)?)
        .map_err(|e| Error::Content { path: path.into(), what: format!("not the JSON that was expected: {e}") })
}

/// A folder that is being filled; it becomes visible under its name with [`Pending::commit`].
#[derive(Debug)]
pub struct Pending {
    temporary: tempfile::TempDir,
    target: PathBuf,
    /// Locked as long as this process lives, so that what a killed one left can be told.
    _alive: Option<File>,
}

/// Starts a folder that will appear at `target` whole or not at all. What killed processes left of earlier attempts is removed.
pub fn commit_dir(target: &Path) -> Result<Pending> {
    let dir = parent(target);
    fs::create_dir_all(dir).map_err(at("create folder", dir))?;
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let prefix = format!(".partial-{name}-");
    remove_abandoned(dir, &prefix);
    let temporary = tempfile::Builder::new().prefix(&prefix).tempdir_in(dir).map_err(at("create folder", target))?;
    let alive = File::open(temporary.path()).ok().filter(|folder| folder.try_lock().is_ok());
    Ok(Pending { temporary, target: target.into(), _alive: alive })
}

/// Errors if `folder` holds anything and `mark`, the path of a file that its like always has, is not there: then something of a
/// person's would be replaced.
pub fn refuse_other_content(folder: &Path, mark: &Path) -> Result<()> {
    let holds_something = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if holds_something && !mark.exists() {
        let what =
            "holds something else than what would replace it\nhint: name a folder that does not exist yet".into();
        return Err(Error::Content { path: folder.into(), what });
    }
    Ok(())
}

/// Removes folders that no living process has locked; one that cannot be removed harms nobody.
fn remove_abandoned(dir: &Path, prefix: &str) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_partial = entry.file_name().to_string_lossy().starts_with(prefix) && path.is_dir();
        if is_partial && File::open(&path).is_ok_and(|folder| folder.try_lock().is_ok()) {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

impl Pending {
    /// Where to write for now.
    pub fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Moves the folder to its name; an older folder of that name is replaced.
    pub fn commit(self) -> Result<()> {
        for entry in walk(self.temporary.path())? {
            File::open(&entry).and_then(|f| f.sync_all()).map_err(at("flush", &entry))?;
        }
        let mut old = self.target.clone().into_os_string();
        old.push(".replaced");
        let old = PathBuf::from(old);
        if self.target.exists() {
            if old.exists() {
                fs::remove_dir_all(&old).map_err(at("remove", &old))?;
            }
            fs::rename(&self.target, &old).map_err(at("rename", &self.target))?;
        }
        let from = self.temporary.keep();
        fs::rename(&from, &self.target).map_err(at("rename", &self.target))?;
        if old.exists() {
            fs::remove_dir_all(&old).map_err(at("remove", &old))?;
        }
        sync_dir(parent(&self.target));
        Ok(())
    }
}

/// Removes what a killed process left unfinished in `dir`. Only for a folder whose lock is held.
pub fn sweep(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(at("list", dir))? {
        let path = entry.map_err(at("list", dir))?.path();
        if path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(".partial-")) {
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(at("remove", &path))?;
        }
    }
    Ok(())
}

/// Every file below `dir`, sorted by path.
pub fn walk(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(d) = open.pop() {
        for entry in fs::read_dir(&d).map_err(at("list", &d))? {
            let path = entry.map_err(at("list", &d))?.path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Holds the right to work in a folder; dropped with the process, even with a killed one.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "held for its drop")] File);

/// Takes the lock of a folder, or says that another process has it.
pub fn lock(dir: &Path) -> Result<Lock> {
    fs::create_dir_all(dir).map_err(at("create folder", dir))?;
    let path = dir.join(".lock");
    let file = File::create(&path).map_err(at("create", &path))?;
    file.try_lock().map_err(|e| match e {
        fs::TryLockError::WouldBlock => Error::Content {
            path: dir.into(),
            what: "another process works in this folder\nhint: wait for it, or choose another --out".into(),
        },
        fs::TryLockError::Error(e) => at("lock", &path)(e),
    })?;
    Ok(Lock(file))
}

/// BLAKE3 of a file's bytes, as hexadecimal.
pub fn hash_file(path: &Path) -> Result<String> {
    let mut file = BufReader::with_capacity(1 << 20, File::open(path).map_err(at("read", path))?);
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buffer).map_err(at("read", path))?;
        if n == 0 {
            return Ok(hasher.finalize().to_hex().to_string());
        }
        hasher.update(&buffer[..n]);
    }
}

/// BLAKE3 of bytes in memory, as hexadecimal.
pub fn hash_bytes(bytes: impl AsRef<[u8]>) -> String {
    blake3::hash(bytes.as_ref()).to_hex().to_string()
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    }
}

/// A rename is durable once its folder is flushed; file systems that cannot do that are left alone.
fn sync_dir(dir: &Path) {
    if let Ok(d) = File::open(dir) {
        let _ = d.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_write_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        write_atomic(&path, "old").unwrap();
        let r: Result<()> = write_atomic_with(&path, |out| {
            out.write_all(b"half").map_err(at("write", &path))?;
            Err(Error::Content { path: path.clone(), what: "no".into() })
        });
        assert!(r.is_err());
        assert_eq!(read_text(&path).unwrap(), "old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn folder_appears_only_on_commit() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("data");
        let pending = commit_dir(&target).unwrap();
        fs::write(pending.path().join("x"), "1").unwrap();
        assert!(!target.exists());
        pending.commit().unwrap();
        assert_eq!(read_text(&target.join("x")).unwrap(), "1");
    }

    #[test]
    fn a_folder_is_replaced_only_by_its_like() {
        let dir = tempfile::tempdir().unwrap();
        let (target, mark) = (dir.path().join("data"), dir.path().join("data/manifest.json"));
        refuse_other_content(&target, &mark).unwrap();
        fs::create_dir(&target).unwrap();
        refuse_other_content(&target, &mark).unwrap();
        write_atomic(&target.join("thesis.tex"), "x").unwrap();
        assert!(refuse_other_content(&target, &mark).unwrap_err().to_string().contains("\nhint: "));
        write_atomic(&mark, "{}").unwrap();
        refuse_other_content(&target, &mark).unwrap();
    }

    #[test]
    #[cfg(unix)]
    fn what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let left = dir.path().join(".partial-data-x");
        fs::create_dir(&left).unwrap();
        let living = commit_dir(&dir.path().join("data")).unwrap();
        assert!(!left.exists());
        fs::write(living.path().join("a"), "1").unwrap();
        let second = commit_dir(&dir.path().join("data")).unwrap();
        assert!(living.path().join("a").exists() && second.path() != living.path());
        living.commit().unwrap();
        assert!(dir.path().join("data/a").exists());
    }

    #[test]
    fn lock_is_exclusive() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(dir.path()).unwrap();
        assert!(lock(dir.path()).is_err());
        drop(held);
        assert!(lock(dir.path()).is_ok());
    }
}
