//! Token ids on disk, so that a data set is encoded once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use clinpeft_files::{at, hash_bytes, private_dir, write_private};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, Sequences, Specials, Tokenizer, Truncation};

/// What encoded sequences depend on: tokenizer, special tokens, truncation and data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheKey(String);

impl CacheKey {
    /// `data` is the hash of the file that the texts come from, and names the part of it where it holds several.
    pub fn new(tokenizer: &Tokenizer, specials: Specials, truncation: Truncation, data: &str) -> Self {
        let parts = serde_json::json!({
            "format": 1,
            "tokenizer": tokenizer.hash(),
            "specials": specials,
            "truncation": truncation,
            "data": data,
        });
        Self(hash_bytes(parts.to_string()))
    }

    /// The key as hexadecimal.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A folder of encoded data sets. Tokens can be turned back into notes, so only the owner can enter it or read a file of it.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
}

/// What a cache holds under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// The sequences.
    Hit(Sequences),
    /// Nothing.
    Miss,
    /// A file that is truncated, altered or of another key.
    Damaged {
        /// What is wrong with it.
        why: String,
    },
}

/// Where sequences came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Read from the cache.
    Cache,
    /// Encoded, because the cache had none.
    Encoded,
    /// Encoded, because the file in the cache was damaged. It was replaced.
    Rebuilt {
        /// What was wrong with it.
        why: String,
    },
}

/// One metadata entry, so that the header's bytes do not depend on the order of a hash map.
const METADATA: &str = "clinpeft";

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    key: String,
    dropped: u64,
    content: String,
}

impl Cache {
    /// A cache in `folder`, which need not exist.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Where the sequences of `key` are kept.
    pub fn path(&self, key: &CacheKey) -> PathBuf {
        self.folder.join(format!("tokens-{}.safetensors", key.0))
    }

    /// What is kept under `key`. Fails only if the operating system does.
    pub fn load(&self, key: &CacheKey) -> Result<Lookup> {
        let path = self.path(key);
        let bytes =
            match std::fs::metadata(&path).and_then(|m| if m.is_file() { std::fs::read(&path) } else { Ok(vec![]) }) {
                Ok(bytes) => bytes,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Lookup::Miss),
                Err(e) => return Err(at("read", &path)(e).into()),
            };
        Ok(match parse(&bytes, key) {
            Ok(sequences) => Lookup::Hit(sequences),
            Err(why) => Lookup::Damaged { why },
        })
    }

    /// Keeps `sequences` under `key`: the file appears whole or not at all.
    pub fn store(&self, key: &CacheKey, sequences: &Sequences) -> Result<()> {
        let path = self.path(key);
        let bytes = serialise(key, sequences).map_err(|what| refused(&path, what))?;
        private_dir(&self.folder)?;
        Ok(write_private(&path, bytes)?)
    }

    /// The sequences under `key`, encoded and stored if there are none or the file is damaged.
    pub fn load_or<E: From<Error>>(
        &self,
        key: &CacheKey,
        encode: impl FnOnce() -> Result<Sequences, E>,
    ) -> Result<(Sequences, Source), E> {
        let source = match self.load(key)? {
            Lookup::Hit(sequences) => return Ok((sequences, Source::Cache)),
            Lookup::Miss => Source::Encoded,
            Lookup::Damaged { why } => Source::Rebuilt { why },
        };
        let sequences = encode()?;
        self.store(key, &sequences)?;
        Ok((sequences, source))
    }
}

fn refused(path: &Path, what: String) -> Error {
    Error::File(clinpeft_files::Error::Content { path: path.into(), what })
}

// Numbers are written as they stand in memory; the format wants the low byte first.
const _: () = assert!(cfg!(target_endian = "little"));

fn content_hash(ids: &[u8], offsets: &[u8], dropped: u64) -> String {
    let parts = [hash_bytes(ids), hash_bytes(offsets), dropped.to_string()];
    hash_bytes(parts.join(" "))
}

fn serialise(key: &CacheKey, sequences: &Sequences) -> Result<Vec<u8>, String> {
    let ids: &[u8] = bytemuck::cast_slice(sequences.ids());
    let offsets: &[u8] = bytemuck::cast_slice(sequences.offsets());
    let header = Header {
        key: key.0.clone(),
        dropped: sequences.count().dropped,
        content: content_hash(ids, offsets, sequences.count().dropped),
    };
    let header = serde_json::to_string(&header).map_err(|e| e.to_string())?;
    let view = |dtype, len, bytes| TensorView::new(dtype, vec![len], bytes).map_err(|e| e.to_string());
    let tensors = [
        ("ids", view(Dtype::U32, sequences.ids().len(), ids)?),
        ("offsets", view(Dtype::U64, sequences.offsets().len(), offsets)?),
    ];
    let metadata = HashMap::from([(METADATA.to_owned(), header)]);
    safetensors::serialize(tensors, Some(metadata)).map_err(|e| e.to_string())
}

fn parse(bytes: &[u8], key: &CacheKey) -> Result<Sequences, String> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
    let header =
        metadata.metadata().as_ref().and_then(|m| m.get(METADATA)).ok_or("it was not written by this program")?;
    let header: Header = serde_json::from_str(header).map_err(|e| e.to_string())?;
    if header.key != key.0 {
        return Err("it belongs to another tokenizer, policy or data file".into());
    }
    let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
    let tensor = |name: &str, dtype: Dtype| {
        let view = file.tensor(name).map_err(|e| e.to_string())?;
        if view.dtype() == dtype && view.shape().len() == 1 {
            Ok(view.data())
        } else {
            Err(format!("`{name}` has another type or shape"))
        }
    };
    let (ids, offsets) = (tensor("ids", Dtype::U32)?, tensor("offsets", Dtype::U64)?);
    if content_hash(ids, offsets, header.dropped) != header.content {
        return Err("its content was altered".into());
    }
    // The file gives no alignment, so the numbers are put together byte by byte.
    let ids = ids.as_chunks().0.iter().map(|c| u32::from_le_bytes(*c)).collect();
    let offsets = offsets.as_chunks().0.iter().map(|c| u64::from_le_bytes(*c)).collect();
    Sequences::new(ids, offsets, header.dropped).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests;
