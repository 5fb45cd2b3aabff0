//! Reading within limits, and checksums.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, at};

/// Longest file that is read into memory as text or JSON: 1 GiB.
pub const TEXT_LIMIT: u64 = 1 << 30;

/// Reads a whole file as text. Errors if it is longer than [`TEXT_LIMIT`] or not UTF-8.
pub fn read_text(path: &Path) -> Result<String> {
    read_within(path, TEXT_LIMIT)
}

fn read_within(path: &Path, limit: u64) -> Result<String> {
    let file = File::open(path).map_err(at("read", path))?;
    let mut text = String::new();
    file.take(limit + 1).read_to_string(&mut text).map_err(at("read", path))?;
    if text.len() as u64 > limit {
        let what = format!("is longer than {limit} bytes\nhint: this is not the file that was meant");
        return Err(Error::Content { path: path.into(), what });
    }
    Ok(text)
}

/// Reads a JSON file.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_str(&read_text(path)?)
        .map_err(|e| Error::Content { path: path.into(), what: format!("not the JSON that was expected: {e}") })
}

/// Errors if a file's beginning says that it only stands for a large one (<https://git-lfs.com>).
pub fn refuse_pointer(path: &Path, bytes: &[u8]) -> Result<()> {
    if bytes.starts_with(b"version https://git-lfs.github.com/spec/") {
        let what = "a Git LFS pointer, not the file itself\nhint: run `git lfs pull` in its folder".into();
        return Err(Error::Content { path: path.into(), what });
    }
    Ok(())
}

/// Every file below `dir`, sorted by path. Links to files are listed, links to folders are not followed.
pub fn walk(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(d) = open.pop() {
        for entry in fs::read_dir(&d).map_err(at("list", &d))? {
            let entry = entry.map_err(at("list", &d))?;
            if entry.file_type().map_err(at("list", &d))?.is_dir() {
                open.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn a_ring_of_links_ends_the_walk() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("again")).unwrap();
        fs::write(dir.path().join("a"), "1").unwrap();
        assert_eq!(walk(dir.path()).unwrap(), [dir.path().join("a"), dir.path().join("again")]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_endless_file_is_refused() {
        assert!(read_within(Path::new("/dev/zero"), 1000).unwrap_err().to_string().contains("longer than 1000 bytes"));
    }
}
