//! Folders and who may enter them.

use std::fs::{self, File};
use std::path::Path;

use crate::error::{Result, at};

/// Whether others than the owner may read, change or enter `path`.
pub fn is_open_to_others(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o077 != 0)
    }
    #[cfg(not(unix))]
    false
}

/// Makes a folder that only the owner can enter, with the folders above it; one that is there stays as it is.
pub fn private_dir(path: &Path) -> Result<()> {
    let dir = parent(path);
    fs::create_dir_all(dir).map_err(at("create folder", dir))?;
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made.map_err(at("create folder", path)),
    }
}

pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    }
}

/// A rename is durable once its folder is flushed; file systems that cannot do that are left alone.
pub(crate) fn sync_dir(dir: &Path) {
    if let Ok(d) = File::open(dir) {
        let _ = d.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn private_folders_are_closed_and_older_ones_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let (private, older) = (dir.path().join("a/private"), dir.path().join("older"));
        fs::create_dir(&older).unwrap();
        for path in [&private, &older] {
            private_dir(path).unwrap();
            private_dir(path).unwrap();
        }
        fs::set_permissions(&older, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        assert!(!is_open_to_others(&private) && is_open_to_others(&older));
    }
}
