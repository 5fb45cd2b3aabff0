//! Errors that name the path.

use std::io;
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
    /// A file or folder of somebody else stands where one would be written.
    #[error("`{}` {what}, so it is not replaced\nhint: move it away, or name another place", path.display())]
    Foreign {
        /// Where.
        path: PathBuf,
        /// Why it is not this program's.
        what: String,
    },
    /// A file differs from the checksum that was written with it.
    #[error("`{}` is damaged: {what}\nhint: {hint}", path.display())]
    Damaged {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        what: String,
        /// What to do.
        hint: &'static str,
    },
}

/// What to do where the reason alone says it.
fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            "\nhint: free some space there, or choose a folder on another disk"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "\nhint: change the permissions there, or choose another folder"
        }
        io::ErrorKind::ResourceBusy | io::ErrorKind::CrossesDevices => {
            "\nhint: name a folder inside of it that does not exist yet"
        }
        io::ErrorKind::InvalidFilename => "\nhint: choose a shorter name",
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
