//! The zip form of `torch.save` (since 1.6): `NAME/data.pkl`, and each storage as `NAME/data/KEY`, stored as it is.

use super::machine::{Problem, Result, wrong};
use std::collections::HashMap;
use std::io::Cursor;
use std::ops::Range;
use zip::{CompressionMethod, ZipArchive};

/// Where the entries of an archive lie in the file.
pub(super) struct Archive {
    root: String,
    entries: HashMap<String, Range<usize>>,
}

impl Archive {
    pub fn open(bytes: &[u8]) -> Result<Archive> {
        let damaged = |_| {
            let hint = "the download or copy may be incomplete";
            Problem::Wrong(format!("not a whole zip archive, as torch writes one\nhint: {hint}"))
        };
        let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
        let mut entries = HashMap::new();
        for i in 0..zip.len() {
            let entry = zip.by_index_raw(i).map_err(damaged)?;
            let name = entry.name().map_err(damaged)?.into_owned();
            let start = entry.data_start().and_then(|n| usize::try_from(n).ok());
            let range = start.zip(usize::try_from(entry.size()).ok()).and_then(|(s, n)| Some(s..s.checked_add(n)?));
            let Some(range) = range.filter(|r| r.end <= bytes.len()) else {
                return wrong("an entry of its archive lies outside of the file");
            };
            if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
                return wrong(
                    "its archive is compressed, which torch never does\nhint: take the file as it was published",
                );
            }
            entries.insert(name, range);
        }
        let mut roots = entries.keys().filter_map(|n| n.strip_suffix("/data.pkl")).filter(|n| !n.contains('/'));
        match (roots.next().map(str::to_string), roots.next()) {
            (Some(root), None) => Ok(Archive { root, entries }),
            _ => wrong("its archive has no one `data.pkl`\nhint: this is no file of `torch.save`"),
        }
    }

    /// Where an entry lies, by its name below the root.
    pub fn find(&self, name: &str) -> Option<Range<usize>> {
        self.entries.get(&format!("{}/{name}", self.root)).cloned()
    }
}
