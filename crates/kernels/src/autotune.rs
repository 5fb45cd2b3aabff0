//! The cache of autotuned kernels. It is a file that names device, driver and version, so that the next process takes the same
//! kernels and computes the same bits.

use clinpeft_tensor::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Kernels that were chosen so far, by operation and shape.
#[derive(Debug, Default)]
pub(crate) struct AutotuneCache(Mutex<Chosen>);

#[derive(Debug, Default)]
struct Chosen {
    kernels: BTreeMap<String, String>,
    file: Option<(PathBuf, String)>,
}

impl AutotuneCache {
    /// Takes what an earlier process chose for this `device`, and writes there what this one chooses.
    pub(crate) fn use_file(&self, file: &Path, device: &str) -> Result<()> {
        let mut chosen = lock(&self.0);
        if let Ok(text) = std::fs::read_to_string(file) {
            let mut lines = text.lines();
            // The choices of another device or version are made again.
            if lines.next() == Some(device) {
                let read = lines.filter_map(|l| l.rsplit_once(' '));
                chosen.kernels.extend(read.map(|(key, kernel)| (key.to_owned(), kernel.to_owned())));
            }
        }
        chosen.file = Some((file.into(), device.into()));
        Ok(())
    }

    /// Name of the kernel that was chosen for `key`.
    pub(crate) fn get(&self, key: &str) -> Option<String> {
        lock(&self.0).kernels.get(key).cloned()
    }

    /// Records the kernel that was chosen for `key`.
    pub(crate) fn set(&self, key: String, kernel: String) -> Result<()> {
        let mut chosen = lock(&self.0);
        chosen.kernels.insert(key, kernel);
        let Some((file, device)) = &chosen.file else {
            return Ok(());
        };
        let lines: String = chosen.kernels.iter().map(|(key, kernel)| format!("{key} {kernel}\n")).collect();
        clinpeft_files::write_atomic(file, format!("{device}\n{lines}"))
            .map_err(|e| Error::Backend { device: device.clone(), what: e.to_string() })
    }
}

fn lock(chosen: &Mutex<Chosen>) -> MutexGuard<'_, Chosen> {
    chosen.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_come_back_for_the_same_device_only() {
        let dir = std::env::temp_dir().join(format!("clinpeft-choices-{}", std::process::id()));
        let file = dir.join("a.txt");
        let made = AutotuneCache::default();
        made.use_file(&file, "card, driver 1").unwrap();
        made.set("1 x 2 x 3 x 4 right bf16".into(), "DoubleCores".into()).unwrap();
        let (same, other) = (AutotuneCache::default(), AutotuneCache::default());
        same.use_file(&file, "card, driver 1").unwrap();
        other.use_file(&file, "card, driver 2").unwrap();
        assert_eq!(same.get("1 x 2 x 3 x 4 right bf16"), Some("DoubleCores".into()));
        assert_eq!(other.get("1 x 2 x 3 x 4 right bf16"), None);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
