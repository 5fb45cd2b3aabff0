//! Locks: of folders in which one process works, and of files and folders that are being written.

use crate::dirs::parent;
use crate::error::{Error, Result, at};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Component, Path};

/// What the name of everything begins with that is being written.
pub(crate) const PARTIAL: &str = ".clinpeft-partial-";
/// A file in a folder that is being filled; the folder may be removed once nobody holds its lock.
pub(crate) const MARK: &str = "being-filled";
/// Where the new folder is, and where an older one waits while the two change places.
pub(crate) const NEW: &str = "new";
pub(crate) const OLD: &str = "old";
/// The name of the folder that is being filled.
pub(crate) const TARGET: &str = "target";

/// Holds the right to work in a folder; dropped with the process, even with a killed one.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "held for its drop")] File);

/// Takes the lock of a folder, or says that another process has it.
///
/// On file systems without locks nobody can be kept out; the lock is then granted to all.
pub fn lock(dir: &Path) -> Result<Lock> {
    fs::create_dir_all(dir).map_err(at("create folder", dir))?;
    let path = dir.join(".lock");
    // A file of that name may be somebody's: its content stays.
    let file = OpenOptions::new().create(true).append(true).open(&path).map_err(at("create", &path))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(Error::Content {
            path: dir.into(),
            what: "another process works in this folder\nhint: wait for it, or choose another --out".into(),
        }),
        Err(TryLockError::Error(e)) if !without_locks(&e) => Err(at("lock", &path)(e)),
        Ok(()) | Err(TryLockError::Error(_)) => Ok(Lock(file)),
    }
}

/// Whether the file system has no locks (some NFS and Lustre mounts).
fn without_locks(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::Unsupported || e.raw_os_error() == Some(rustix::io::Errno::NOLCK.raw_os_error())
}

/// Locks what was just created at `path` for as long as it is open; false if another process was faster and removes it.
pub(crate) fn hold(file: &File, path: &Path) -> bool {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => false,
        Ok(()) | Err(TryLockError::Error(_)) => path.exists(),
    }
}

/// Whether nobody writes at `path` any more.
fn is_abandoned(path: &Path) -> Option<File> {
    let file = File::open(path).ok()?;
    file.try_lock().is_ok().then_some(file)
}

/// Removes what killed processes left unfinished in `dir`; what a living one writes there is left alone.
///
/// A folder that was being replaced when its process was killed is put back. What cannot be removed harms nobody.
pub fn sweep(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PARTIAL) {
            continue;
        }
        let (path, is_dir) = (entry.path(), entry.file_type().is_ok_and(|t| t.is_dir()));
        let Some(_held) = is_abandoned(&path) else { continue };
        if !is_dir {
            let _ = fs::remove_file(&path);
        } else if path.join(MARK).is_file() && put_back(&path).is_ok() {
            let _ = fs::remove_dir_all(&path);
        } else {
            // One that was just made, if it is empty.
            let _ = fs::remove_dir(&path);
        }
    }
}

/// Where the file system cannot exchange two folders, the older one waits here for the second of two renames.
fn put_back(partial: &Path) -> io::Result<()> {
    let old = partial.join(OLD);
    if !old.is_dir() {
        return Ok(());
    }
    let name = fs::read_to_string(partial.join(TARGET))?;
    let mut parts = Path::new(&name).components();
    let (Some(Component::Normal(name)), None) = (parts.next(), parts.next()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let target = parent(partial).join(name);
    if target.exists() { Ok(()) } else { fs::rename(&old, &target) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_is_exclusive_and_keeps_a_file_of_its_name() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".lock"), "mine").unwrap();
        let held = lock(dir.path()).unwrap();
        assert!(lock(dir.path()).is_err());
        drop(held);
        assert!(lock(dir.path()).is_ok());
        assert_eq!(fs::read_to_string(dir.path().join(".lock")).unwrap(), "mine");
    }

    #[test]
    fn a_sweep_takes_only_what_nobody_writes() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(format!("{PARTIAL}{name}"));
        let living = File::create(path("living")).unwrap();
        assert!(hold(&living, &path("living")));
        fs::write(path("dead"), "half").unwrap();
        fs::create_dir(path("just-made")).unwrap();
        fs::create_dir(path("somebodys")).unwrap();
        fs::write(path("somebodys").join("thesis.tex"), "x").unwrap();
        fs::write(dir.path().join("other"), "x").unwrap();
        sweep(dir.path());
        assert!(path("living").exists() && path("somebodys").join("thesis.tex").exists());
        assert!(dir.path().join("other").exists() && !path("dead").exists() && !path("just-made").exists());
    }

    #[test]
    fn a_folder_that_was_being_replaced_is_put_back() {
        let dir = tempfile::tempdir().unwrap();
        let partial = dir.path().join(format!("{PARTIAL}x"));
        for (name, content) in [(OLD, "old"), (NEW, "new")] {
            fs::create_dir_all(partial.join(name)).unwrap();
            fs::write(partial.join(name).join("a"), content).unwrap();
        }
        fs::write(partial.join(MARK), "").unwrap();
        fs::write(partial.join(TARGET), "data").unwrap();
        sweep(dir.path());
        assert_eq!(fs::read_to_string(dir.path().join("data/a")).unwrap(), "old");
        assert!(!partial.exists());
    }

    #[test]
    fn nothing_is_put_back_outside_of_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let partial = dir.path().join("inner").join(format!("{PARTIAL}x"));
        fs::create_dir_all(partial.join(OLD)).unwrap();
        fs::write(partial.join(MARK), "").unwrap();
        fs::write(partial.join(TARGET), "../escaped").unwrap();
        sweep(&dir.path().join("inner"));
        assert!(!dir.path().join("escaped").exists() && partial.join(OLD).exists());
    }
}
