//! Files and folders that appear whole or not at all, and what protects those of other people.
//!
//! - [`write_atomic`] writes beside the target, flushes to disk and renames; a killed process leaves the old file or none.
//! - [`commit_dir`] does the same for a folder and seals it: `.clinpeft.json` lists every file with its checksum. A folder is
//!   replaced only if its seal lists everything in it, unchanged; [`verify`] finds what was damaged since.
//! - [`Access`] says who may read what is written.
//! - [`lock`] makes sure that one process at a time works in a folder; [`sweep`] removes what killed processes left there.
//! - Every error names the path.

mod dirs;
mod error;
mod folder;
mod lock;
mod read;
mod seal;
mod write;

pub use dirs::{is_open_to_others, private_dir};
pub use error::{Error, Result, at};
pub use folder::{Pending, commit_dir, refuse_filled_folder, set_aside};
pub use lock::{Lock, lock, sweep};
pub use read::{TEXT_LIMIT, hash_bytes, hash_file, read_json, read_text, refuse_pointer, walk};
pub use seal::{SEAL, refuse_foreign_files, refuse_foreign_folder, verify, write_into};
pub use write::{
    Access, refuse_foreign_file, refuse_same_file, write_atomic, write_atomic_with, write_json, write_private,
};
