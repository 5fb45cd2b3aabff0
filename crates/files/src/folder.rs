//! Folders that appear whole or not at all.

use crate::dirs::{parent, private_dir, sync_dir};
use crate::error::{Error, Result, at};
use crate::lock::{MARK, NEW, OLD, PARTIAL, TARGET, hold, sweep};
use crate::read::walk;
use crate::seal::{Depth, Seal, check, refuse_foreign_folder};
use crate::write::{Access, follow};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Errors if `dir` holds anything at all, for commands that only make new folders. What killed processes left beside it is removed.
pub fn refuse_filled_folder(dir: &Path) -> Result<()> {
    sweep(parent(dir));
    match dir.read_dir().ok().and_then(|mut entries| entries.next()) {
        Some(_) => Err(Error::Foreign { path: dir.into(), what: "is not empty".into() }),
        None => Ok(()),
    }
}

/// Renames a damaged folder or file to `<name>.damaged-1`, or the next number that is free; the new path.
pub fn set_aside(path: &Path) -> Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut number = 1;
    loop {
        let aside = path.with_file_name(format!("{name}.damaged-{number}"));
        if !aside.exists() {
            fs::rename(path, &aside).map_err(at("rename", path))?;
            return Ok(aside);
        }
        number += 1;
    }
}

/// A folder that is being filled; it becomes visible under its name with [`Pending::commit`].
///
/// Until then nobody but the owner can enter it.
#[derive(Debug)]
pub struct Pending {
    /// Locked as long as this process lives, so that what a killed one left can be told. Closed before the partial folder is
    /// removed, since a process with few descriptors needs this one for it.
    _alive: File,
    /// Holds the new folder, and the older one while they change places.
    partial: TempDir,
    new: PathBuf,
    target: PathBuf,
    access: Access,
}

/// Starts a folder that will appear at `target` whole or not at all. Links are followed. What killed processes left of earlier
/// attempts is removed. Errors if something stands at `target` that this program did not make.
pub fn commit_dir(target: &Path, access: Access) -> Result<Pending> {
    let target = target.canonicalize().or_else(|_| follow(target))?;
    refuse_foreign_folder(&target)?;
    let dir = parent(&target);
    match access {
        // A folder that is made for private ones is private too.
        Access::Private => private_dir(dir)?,
        Access::Shared => fs::create_dir_all(dir).map_err(at("create folder", dir))?,
    }
    sweep(dir);
    let failed = |e| at("create folder", &target)(e);
    let (partial, alive) = loop {
        let partial = tempfile::Builder::new().prefix(PARTIAL).rand_bytes(12).tempdir_in(dir).map_err(failed)?;
        // One that is empty and not locked yet may be swept by another process.
        match File::open(partial.path()) {
            Ok(alive) if hold(&alive, partial.path()) => break (partial, alive),
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(failed(e)),
            _ => {}
        }
    };
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // First what says that the rest may be removed.
    for (file, text) in [(MARK, ""), (TARGET, name.as_str())] {
        fs::write(partial.path().join(file), text).map_err(failed)?;
    }
    let new = partial.path().join(NEW);
    fs::create_dir(&new).map_err(failed)?;
    Ok(Pending { _alive: alive, partial, new, target, access })
}

impl Pending {
    /// Where to write for now.
    pub fn path(&self) -> &Path {
        &self.new
    }

    /// Seals the folder and moves it to its name; an older one that this program made is replaced.
    pub fn commit(self) -> Result<()> {
        Seal::of(&self.new)?.write(&self.new, self.access)?;
        for path in walk(&self.new)? {
            File::open(&path).and_then(|f| f.sync_all()).map_err(at("flush", &path))?;
        }
        if self.access == Access::Private {
            close(&self.new)?;
        }
        match if self.target.exists() { self.replace() } else { self.appear() } {
            // Another process was faster.
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::DirectoryNotEmpty => self.replace()?,
            ended => ended?,
        }
        sync_dir(parent(&self.target));
        Ok(())
    }

    fn appear(&self) -> Result<()> {
        fs::rename(&self.new, &self.target).map_err(at("rename", &self.target))
    }

    /// The two folders change places; the older one is removed with the partial folder.
    fn replace(&self) -> Result<()> {
        check(&self.target, &self.target, Depth::Content)?;
        if exchange(&self.new, &self.target).is_err() {
            // File systems that cannot do it at once; `sweep` knows what to do if this process is killed in between.
            let old = self.partial.path().join(OLD);
            fs::rename(&self.target, &old).map_err(at("rename", &self.target))?;
            return self.appear().inspect_err(|_| {
                let _ = fs::rename(&old, &self.target);
            });
        }
        // Something may have come since the check.
        check(&self.new, &self.target, Depth::Length).inspect_err(|_| {
            let _ = exchange(&self.new, &self.target);
        })
    }
}

#[cfg(target_os = "linux")]
fn exchange(a: &Path, b: &Path) -> std::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE)?)
}

#[cfg(not(target_os = "linux"))]
fn exchange(_: &Path, _: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// Lets only the owner read a folder and everything in it.
#[cfg(unix)]
fn close(dir: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(at("change the permissions of", path))
    };
    mode(dir, 0o700)?;
    for entry in fs::read_dir(dir).map_err(at("list", dir))? {
        let entry = entry.map_err(at("list", dir))?;
        match entry.file_type().map_err(at("list", dir))?.is_dir() {
            true => close(&entry.path())?,
            false => mode(&entry.path(), 0o600)?,
        }
    }
    Ok(())
}

#[cfg(not(unix))]
fn close(_: &Path) -> Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::{hash_bytes, read_text};
    use crate::seal::{ABSENT, Sealed, verify, write_into};
    use crate::write::write_atomic;

    fn made(target: &Path, files: &[(&str, &str)]) -> Result<()> {
        let pending = commit_dir(target, Access::Private)?;
        for (name, content) in files {
            write_atomic(&pending.path().join(name), content)?;
        }
        pending.commit()
    }

    #[test]
    fn folder_appears_only_on_commit_and_is_replaced_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("data");
        let pending = commit_dir(&target, Access::Shared).unwrap();
        fs::write(pending.path().join("x"), "1").unwrap();
        assert!(!target.exists());
        pending.commit().unwrap();
        assert_eq!(read_text(&target.join("x")).unwrap(), "1");
        made(&target, &[("y/z", "2")]).unwrap();
        assert!(!target.join("x").exists());
        assert_eq!(read_text(&target.join("y/z")).unwrap(), "2");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
        verify(&target).unwrap();
    }

    #[test]
    fn nothing_that_somebody_else_made_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |target: &Path, what: &str| {
            let error = made(target, &[("a", "1")]).unwrap_err();
            assert!(matches!(error, Error::Foreign { .. }), "{error}");
            assert!(error.to_string().contains(what) && error.to_string().contains("\nhint: "), "{error}");
        };
        let web = dir.path().join("web");
        fs::create_dir(&web).unwrap();
        refuse_filled_folder(&web).unwrap();
        made(&web, &[("a", "1")]).unwrap();
        assert!(matches!(refuse_filled_folder(&web), Err(Error::Foreign { .. })));
        let project = dir.path().join("project");
        fs::create_dir(&project).unwrap();
        fs::write(project.join("manifest.json"), "{}").unwrap();
        refused(&project, "was not made by this program");
        assert!(project.join("manifest.json").exists());
        let data = dir.path().join("data");
        made(&data, &[("a", "1")]).unwrap();
        fs::write(data.join("thesis.tex"), "x").unwrap();
        refused(&data, "`thesis.tex`, which this program did not make");
        fs::remove_file(data.join("thesis.tex")).unwrap();
        fs::write(data.join("a"), "2").unwrap();
        refused(&data, "`a`, which was changed");
        fs::write(dir.path().join("file"), "x").unwrap();
        refused(&dir.path().join("file"), "is a file");
        // A neighbour whose name older versions used.
        let neighbour = dir.path().join("fresh.replaced");
        fs::create_dir(&neighbour).unwrap();
        fs::write(neighbour.join("a"), "mine").unwrap();
        made(&dir.path().join("fresh"), &[("a", "1")]).unwrap();
        made(&dir.path().join("fresh"), &[("a", "2")]).unwrap();
        assert_eq!(read_text(&neighbour.join("a")).unwrap(), "mine");
    }

    #[test]
    fn what_came_while_the_folder_was_filled_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("data");
        made(&target, &[("a", "1")]).unwrap();
        let pending = commit_dir(&target, Access::Shared).unwrap();
        fs::write(target.join("mine"), "x").unwrap();
        assert!(matches!(pending.commit(), Err(Error::Foreign { .. })));
        assert_eq!(read_text(&target.join("mine")).unwrap(), "x");
        assert_eq!(read_text(&target.join("a")).unwrap(), "1");
    }

    #[test]
    fn damage_is_found_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("data");
        made(&target, &[("a", "1"), ("b/c", "2")]).unwrap();
        verify(&target).unwrap();
        verify(dir.path()).unwrap();
        write_into(&target, "later.json", Access::Shared, b"{}").unwrap();
        write_into(&target, "later.json", Access::Shared, b"[]").unwrap();
        fs::write(target.join("later.json"), "mine").unwrap();
        assert!(matches!(write_into(&target, "later.json", Access::Shared, b"{}"), Err(Error::Foreign { .. })));
        fs::write(target.join("later.json"), "[]").unwrap();
        write_into(&target, "later.json", Access::Shared, b"[1]").unwrap();
        fs::write(target.join("mine.json"), "1").unwrap();
        assert!(matches!(write_into(&target, "mine.json", Access::Shared, b"{}"), Err(Error::Foreign { .. })));
        fs::remove_file(target.join("mine.json")).unwrap();
        verify(&target).unwrap();
        refuse_foreign_folder(&target).unwrap();
        fs::write(target.join("b/c"), "3").unwrap();
        let error = verify(&target).unwrap_err();
        assert!(matches!(&error, Error::Damaged { path, .. } if path.ends_with("b/c")), "{error}");
        for number in [1, 2] {
            let aside = set_aside(&target).unwrap();
            assert_eq!(aside, dir.path().join(format!("data.damaged-{number}")));
            made(&target, &[("a", "1"), ("b/c", "2")]).unwrap();
        }
        fs::remove_file(target.join("b/c")).unwrap();
        assert!(verify(&target).unwrap_err().to_string().contains("it is missing"));
    }

    #[test]
    fn a_process_killed_between_seal_and_file_leaves_a_whole_folder() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("data");
        made(&target, &[("a", "1")]).unwrap();
        let killed = |before: &str| {
            let mut seal = Seal::read(&target).unwrap();
            let sealed = Sealed { bytes: 2, blake3: hash_bytes(b"{}"), before: Some(before.into()) };
            seal.files.insert("later.json".into(), sealed);
            seal.write(&target, Access::Shared).unwrap();
            verify(&target).unwrap();
            refuse_foreign_folder(&target).unwrap();
        };
        killed(ABSENT);
        write_into(&target, "later.json", Access::Shared, b"[]").unwrap();
        killed(&hash_bytes(b"[]"));
        write_into(&target, "later.json", Access::Shared, b"{}").unwrap();
        fs::remove_file(target.join("later.json")).unwrap();
        assert!(verify(&target).unwrap_err().to_string().contains("it is missing"));
    }

    #[test]
    #[cfg(unix)]
    fn private_folders_are_closed_and_links_are_followed() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        symlink("far", dir.path().join("near")).unwrap();
        for content in ["1", "2"] {
            made(&dir.path().join("near"), &[("a/b", content)]).unwrap();
        }
        made(&dir.path().join("above/raw"), &[("a", "1")]).unwrap();
        assert!(dir.path().join("near").is_symlink());
        assert_eq!(read_text(&dir.path().join("far/a/b")).unwrap(), "2");
        let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("above"), 0o700);
        assert_eq!(
            [mode("far"), mode("far/a"), mode("far/a/b"), mode("far/.clinpeft.json")],
            [0o700, 0o700, 0o600, 0o600]
        );
    }

    #[test]
    fn of_two_processes_both_succeed() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("data");
        let pending = [1, 2].map(|_| commit_dir(&target, Access::Shared).unwrap());
        for (number, pending) in pending.into_iter().enumerate() {
            fs::write(pending.path().join("a"), number.to_string()).unwrap();
            pending.commit().unwrap();
            assert_eq!(read_text(&target.join("a")).unwrap(), number.to_string());
        }
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let left = dir.path().join(format!("{PARTIAL}killed"));
        fs::create_dir(&left).unwrap();
        fs::write(left.join(MARK), "").unwrap();
        let living = commit_dir(&dir.path().join("data"), Access::Shared).unwrap();
        assert!(!left.exists());
        fs::write(living.path().join("a"), "1").unwrap();
        let second = commit_dir(&dir.path().join("data"), Access::Shared).unwrap();
        assert!(living.path().join("a").exists() && second.path() != living.path());
        living.commit().unwrap();
        assert!(dir.path().join("data/a").exists());
    }
}
