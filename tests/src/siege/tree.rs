//! Folders: what is in them, copied, compared, told from before.

use clinpeft_report::predictions::Predictions;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// What stands under a path: content by hash, a link by its target.
pub type Snapshot = BTreeMap<PathBuf, String>;

/// Everything at and below `path`, by path relative to it. What is missing gives an empty snapshot.
pub fn snapshot(path: &Path) -> io::Result<Snapshot> {
    let mut found = Snapshot::new();
    visit(path, &mut |p, meta| {
        let said = if meta.is_symlink() {
            format!("link to {}", fs::read_link(p)?.display())
        } else if meta.is_dir() {
            "folder".into()
        } else if meta.is_file() {
            clinpeft_files::hash_bytes(fs::read(p)?)
        } else {
            "device".into()
        };
        found.insert(p.strip_prefix(path).unwrap_or(p).into(), said);
        Ok(())
    })?;
    Ok(found)
}

/// Calls `see` with everything at and below `path`; links are not followed.
pub fn visit(path: &Path, see: &mut dyn FnMut(&Path, &fs::Metadata) -> io::Result<()>) -> io::Result<()> {
    let Ok(meta) = fs::symlink_metadata(path) else { return Ok(()) };
    see(path, &meta)?;
    if meta.is_dir() {
        let mut inside: Vec<PathBuf> = fs::read_dir(path)?.map(|e| e.map(|e| e.path())).collect::<io::Result<_>>()?;
        inside.sort();
        for p in inside {
            visit(&p, see)?;
        }
    }
    Ok(())
}

/// Files below `path`, in order.
pub fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    visit(path, &mut |p, meta| {
        found.extend(meta.is_file().then(|| p.to_path_buf()));
        Ok(())
    })?;
    Ok(found)
}

/// Copies a file or folder with its permissions and links.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(dir) = to.parent() {
        fs::create_dir_all(dir)?;
    }
    let meta = fs::symlink_metadata(from)?;
    if meta.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    if !meta.is_dir() {
        return fs::copy(from, to).map(|_| ());
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    fs::set_permissions(to, meta.permissions())
}

/// Permissions without the kind of file.
pub fn mode(meta: &fs::Metadata) -> u32 {
    meta.permissions().mode() & 0o7777
}

/// Keys of JSON files that tell how long something took, how much it needed or where it ran.
const TRANSIENT: [&str; 9] = [
    "id_key",
    "seconds",
    "wall_seconds",
    "cpu_seconds",
    "peak_memory_mib",
    "device_memory_mib",
    "threads",
    "git",
    "packs",
];

/// What a run leaves behind by path below `root`, without what may differ from one time to the next: ids are numbered as
/// they come, seals hold the checksums of other files, locks are empty, `log.txt` tells when.
pub fn results(root: &Path) -> io::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for path in files(root)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if [".lock", "log.txt", clinpeft_files::SEAL].contains(&name.as_str()) {
            continue;
        }
        // Ids are hashed by a key that is drawn for each data set.
        if name == "id-key" {
            continue;
        }
        let mut bytes = fs::read(&path)?;
        if let Ok(mut rows) = Predictions::read(&path) {
            for ids in [&mut rows.ids, &mut rows.subjects] {
                let known = ids.clone();
                *ids =
                    ids.iter().map(|id| known.iter().position(|other| other == id).map_or(0, |n| n as u64)).collect();
            }
            rows.id_key = None;
            bytes = format!("{rows:?}").into_bytes();
        }
        if path.strip_prefix(root).is_ok_and(|p| p.starts_with("report")) {
            // A report shows how long its runs took: it must be there, and not be empty.
            found.insert(path.strip_prefix(root).unwrap_or(&path).into(), vec![u8::from(!bytes.is_empty())]);
            continue;
        }
        let plain = path.extension().is_some_and(|e| e == "json").then(|| without_times(&bytes)).flatten();
        found.insert(path.strip_prefix(root).unwrap_or(&path).into(), plain.unwrap_or(bytes));
    }
    Ok(found)
}

fn without_times(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut value: Value = serde_json::from_slice(bytes).ok()?;
    strip(&mut value);
    serde_json::to_vec(&value).ok()
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| !TRANSIENT.contains(&key.as_str()));
            map.values_mut().for_each(strip);
        }
        Value::Array(all) => all.iter_mut().for_each(strip),
        _ => {}
    }
}

/// How `found` differs from `expected`; at most five differences are named.
pub fn differences(expected: &BTreeMap<PathBuf, Vec<u8>>, found: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<String> {
    let mut all = Vec::new();
    for (path, bytes) in expected {
        match found.get(path) {
            None => all.push(format!("{} is missing", path.display())),
            Some(other) if other != bytes => all.push(format!("{} differs", path.display())),
            Some(_) => {}
        }
    }
    let more = found.keys().filter(|path| !expected.contains_key(*path));
    all.extend(more.map(|path| format!("{} is there too", path.display())));
    all.truncate(5);
    all
}

/// Bytes of all files at and below `path`.
pub fn size(path: &Path) -> io::Result<u64> {
    let mut sum = 0;
    visit(path, &mut |_, meta| {
        sum += if meta.is_file() { meta.len().next_multiple_of(4096) } else { 0 };
        Ok(())
    })?;
    Ok(sum)
}
