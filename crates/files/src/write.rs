//! Files that appear whole or not at all.

use crate::dirs::{parent, sync_dir};
use crate::error::{Error, Result, at};
use crate::lock::{PARTIAL, hold, sweep};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Who may read what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The owner alone, whatever the umask: notes, labels, tokens, ids and what holds them.
    Private,
    /// Those that the umask lets: reports, adapters, models, settings.
    Shared,
}

/// Writes a file through `fill`: a temporary file in the same folder, flushed, then renamed. What killed processes left of theirs
/// in that folder is removed.
///
/// Links are followed. A device or a pipe is written to directly. If `fill` fails, the target is untouched and the temporary
/// file is removed. Errors if the target is a folder.
pub fn write_atomic_with<E: From<Error>>(
    path: &Path,
    access: Access,
    fill: impl FnOnce(&mut io::BufWriter<&mut File>) -> Result<(), E>,
) -> Result<(), E> {
    if is_stream(path) {
        let mut file = OpenOptions::new().write(true).open(path).map_err(at("write", path))?;
        return filled(&mut file, path, fill);
    }
    let target = follow(path)?;
    if target.is_dir() {
        return Err(Error::Foreign { path: path.into(), what: "is a folder".into() }.into());
    }
    let dir = parent(&target);
    fs::create_dir_all(dir).map_err(at("create folder", dir))?;
    sweep(dir);
    let mut temporary = temporary(dir, access).map_err(at("write", path))?;
    filled(temporary.as_file_mut(), path, fill)?;
    temporary.as_file().sync_all().map_err(at("flush", path))?;
    temporary.persist(&target).map_err(|e| at("rename", path)(e.error))?;
    sync_dir(dir);
    Ok(())
}

fn filled<E: From<Error>>(
    file: &mut File,
    path: &Path,
    fill: impl FnOnce(&mut io::BufWriter<&mut File>) -> Result<(), E>,
) -> Result<(), E> {
    let mut out = io::BufWriter::with_capacity(1 << 16, file);
    fill(&mut out)?;
    Ok(out.flush().map_err(at("write", path))?)
}

/// Writes `bytes` to `path`, whole or not at all.
pub fn write_atomic(path: &Path, bytes: impl AsRef<[u8]>) -> Result<()> {
    write_atomic_with(path, Access::Shared, |out| out.write_all(bytes.as_ref()).map_err(at("write", path)))
}

/// The same for what holds text or ids: only the owner may read it.
pub fn write_private(path: &Path, bytes: impl AsRef<[u8]>) -> Result<()> {
    write_atomic_with(path, Access::Private, |out| out.write_all(bytes.as_ref()).map_err(at("write", path)))
}

/// Writes a value as indented JSON with a final newline.
pub fn write_json<T: serde::Serialize>(path: &Path, value: &T) -> Result<()> {
    write_atomic(path, json(path, value)?)
}

pub(crate) fn json<T: serde::Serialize>(path: &Path, value: &T) -> Result<String> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|e| Error::Content { path: path.into(), what: format!("cannot be written as JSON: {e}") })?;
    text.push('\n');
    Ok(text)
}

/// Errors if a file stands at `path` that does not begin with `beginning`, which marks what this program would write there.
pub fn refuse_foreign_file(path: &Path, beginning: &[u8]) -> Result<()> {
    if is_stream(path) || !path.is_file() {
        return Ok(());
    }
    let mut found = Vec::new();
    let file = File::open(path).map_err(at("read", path))?;
    file.take(beginning.len() as u64).read_to_end(&mut found).map_err(at("read", path))?;
    if found.is_empty() || found == beginning {
        return Ok(());
    }
    Err(Error::Foreign { path: path.into(), what: "is not what this command writes".into() })
}

/// Errors if `out` is the file or folder `input`, by whatever name.
pub fn refuse_same_file(input: &Path, out: &Path) -> Result<()> {
    match (input.canonicalize(), out.canonicalize()) {
        (Ok(a), Ok(b)) if a == b || same_inode(&a, &b) => {
            Err(Error::Foreign { path: out.into(), what: "is also what is read".into() })
        }
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn same_inode(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |p: &Path| fs::metadata(p).ok().filter(fs::Metadata::is_file).map(|m| (m.dev(), m.ino()));
    id(a).is_some() && id(a) == id(b)
}

#[cfg(not(unix))]
fn same_inode(_: &Path, _: &Path) -> bool {
    false
}

/// Whether bytes go straight to whoever reads there: a device, a pipe, or a name such as `/dev/stdout`.
fn is_stream(path: &Path) -> bool {
    // Not `/dev/shm`, which holds files like any other folder.
    let named =
        path.parent() == Some(Path::new("/dev")) || ["/dev/fd", "/proc"].iter().any(|dir| path.starts_with(dir));
    fs::metadata(path).is_ok_and(|m| !m.is_dir() && (named || !m.is_file()))
}

/// Where the last of a chain of links points to; nothing needs to be there.
pub(crate) fn follow(path: &Path) -> Result<PathBuf> {
    // Without a slash at the end, which would hide that a name is a link.
    let mut target: PathBuf = path.components().collect();
    for _ in 0..40 {
        match fs::read_link(&target) {
            Ok(next) => target = parent(&target).join(next),
            Err(_) => return Ok(target),
        }
    }
    Err(Error::Content { path: path.into(), what: "is a ring of links".into() })
}

/// A file with a random name whose lock is held while it is written.
fn temporary(dir: &Path, access: Access) -> io::Result<NamedTempFile> {
    loop {
        let mut builder = tempfile::Builder::new();
        builder.prefix(PARTIAL).rand_bytes(12);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = if access == Access::Private { 0o600 } else { 0o666 };
            builder.permissions(fs::Permissions::from_mode(mode));
        }
        let file = builder.tempfile_in(dir)?;
        if hold(file.as_file(), file.path()) {
            return Ok(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::read_text;

    #[test]
    fn failed_write_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        write_atomic(&path, "old").unwrap();
        let r: Result<()> = write_atomic_with(&path, Access::Shared, |out| {
            out.write_all(b"half").map_err(at("write", &path))?;
            Err(Error::Content { path: path.clone(), what: "no".into() })
        });
        assert!(r.is_err());
        assert_eq!(read_text(&path).unwrap(), "old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_file_in_memory_is_replaced_like_any_other() {
        let Ok(dir) = tempfile::tempdir_in("/dev/shm") else { return };
        let path = dir.path().join("a.txt");
        for content in ["a long text", "short"] {
            write_atomic(&path, content).unwrap();
            assert_eq!(read_text(&path).unwrap(), content);
        }
    }

    #[test]
    #[cfg(unix)]
    fn links_are_followed_and_devices_stay_devices() {
        use std::os::unix::fs::{FileTypeExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for (link, to) in [("a", "b"), ("b", "c"), ("ring", "ring")] {
            symlink(to, path(link)).unwrap();
        }
        for content in ["one", "two"] {
            write_atomic(&path("a"), content).unwrap();
            assert_eq!(read_text(&path("c")).unwrap(), content);
            assert!(path("a").is_symlink() && path("b").is_symlink() && !path("c").is_symlink());
        }
        assert!(write_atomic(&path("ring"), "x").unwrap_err().to_string().contains("ring of links"));
        write_atomic(Path::new("/dev/null"), "gone").unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        symlink("/dev/null", path("null")).unwrap();
        write_private(&path("null"), "gone").unwrap();
        assert!(path("null").is_symlink() && fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        assert!(write_atomic(dir.path(), "x").unwrap_err().to_string().contains("is a folder"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_device_is_an_error_with_a_hint() {
        let said = write_atomic(Path::new("/dev/full"), "x").unwrap_err().to_string();
        assert!(said.contains("`/dev/full`") && said.contains("\nhint: free some space"), "{said}");
    }

    #[test]
    fn what_is_read_and_what_is_somebodys_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        write_atomic(&path("notes.csv"), "id,text\n1,x\n").unwrap();
        refuse_foreign_file(&path("new.csv"), b"id,DIE").unwrap();
        assert!(matches!(refuse_foreign_file(&path("notes.csv"), b"id,DIE"), Err(Error::Foreign { .. })));
        write_atomic(&path("scores.csv"), "id,DIE\n1,0.5\n").unwrap();
        refuse_foreign_file(&path("scores.csv"), b"id,DIE").unwrap();
        refuse_same_file(&path("notes.csv"), &path("scores.csv")).unwrap();
        fs::hard_link(path("notes.csv"), path("again.csv")).unwrap();
        for other in ["./notes.csv", "again.csv"] {
            assert!(matches!(refuse_same_file(&path("notes.csv"), &path(other)), Err(Error::Foreign { .. })));
        }
    }

    #[test]
    #[cfg(unix)]
    fn access_does_not_depend_on_the_umask_where_it_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let (private, shared, plain) = (dir.path().join("p"), dir.path().join("s"), dir.path().join("f"));
        write_private(&private, "x").unwrap();
        write_atomic(&shared, "x").unwrap();
        fs::write(&plain, "x").unwrap();
        assert_eq!(mode(&private), 0o600);
        assert_eq!(mode(&shared), mode(&plain));
    }
}
