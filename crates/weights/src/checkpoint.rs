//! Reading weights, one file or many shards.

use crate::limits::{MOST_AXES, need_plain};
use crate::pickled::{self, width};
use crate::save::has_valid_checksum;
use crate::{Error, Raw, Result, folder, nearest};
use clinpeft_tensor::{DType, Element, Tensor};
use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::tensor::{Dtype, SafeTensors};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// In which dtype a tensor is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// As it is stored.
    Stored,
    /// Converted.
    As(DType),
}

/// What the checksum of a file says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// It is as it was written.
    Valid,
    /// It has none, as files of other programs.
    Absent,
}

/// Where a tensor is and what it is.
#[derive(Debug, Clone)]
pub struct Stored {
    shard: usize,
    /// Type of its values.
    pub dtype: Dtype,
    /// Lengths of its axes.
    pub dims: Vec<usize>,
    /// Distances of neighbours in values, where they do not follow each other.
    strides: Option<Vec<usize>>,
    /// From the first value to the last.
    bytes: Range<usize>,
}

impl Stored {
    /// Length of its values without gaps, in bytes.
    pub fn byte_length(&self) -> usize {
        match self.strides {
            // The reader has proved that this is not more than the file has.
            Some(_) => self.dims.iter().product::<usize>() * width(self.dtype),
            None => self.bytes.len(),
        }
    }
}

/// An open model folder or a single file.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    shards: Vec<Arc<Mmap>>,
    tensors: BTreeMap<String, Stored>,
    metadata: BTreeMap<String, String>,
    others: Vec<String>,
}

impl Checkpoint {
    /// Opens a Hugging Face folder: `model.safetensors` or its shards, else `pytorch_model.bin` or its shards.
    pub fn open(dir: &Path) -> Result<Checkpoint> {
        let files = folder::find(dir)?;
        let mut all = Checkpoint::new(dir);
        for path in &files.paths {
            all.add(path)?;
        }
        if let Some(name) = files.promised.iter().find(|name| !all.tensors.contains_key(*name)) {
            let what = format!("names tensor `{name}`, which no shard holds");
            return Err(Error::Format { path: files.named_by, what });
        }
        Ok(all)
    }

    /// Opens one file: what `torch.save` wrote if its name ends so (`.bin`, `.pt`, `.pth`), else safetensors.
    pub fn open_file(path: &Path) -> Result<Checkpoint> {
        let mut one = Checkpoint::new(path);
        one.add(path)?;
        Ok(one)
    }

    fn new(path: &Path) -> Checkpoint {
        Checkpoint {
            path: path.into(),
            shards: vec![],
            tensors: BTreeMap::new(),
            metadata: BTreeMap::new(),
            others: vec![],
        }
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let map = map_file(path)?;
        clinpeft_files::refuse_pointer(path, &map)?;
        let pickled = path.extension().is_some_and(|end| ["bin", "pt", "pth"].iter().any(|known| end == *known));
        if pickled {
            self.add_pickled(path, &map)?
        } else {
            self.add_safetensors(path, &map)?
        }
        self.shards.push(Arc::new(map));
        Ok(())
    }

    fn add_safetensors(&mut self, path: &Path, map: &[u8]) -> Result<()> {
        let damaged = |e: safetensors::SafeTensorError| {
            let what = format!("not a whole safetensors file: {e}\nhint: the download or copy may be incomplete");
            Error::Format { path: path.into(), what }
        };
        let (header, metadata) = SafeTensors::read_metadata(map).map_err(damaged)?;
        self.metadata.extend(metadata.metadata().clone().unwrap_or_default());
        for (name, info) in metadata.tensors().into_iter().collect::<BTreeMap<_, _>>() {
            let (start, end) = info.data_offsets;
            let (dims, bytes) = (info.shape.clone(), header + 8 + start..header + 8 + end);
            let stored = Stored { shard: self.shards.len(), dtype: info.dtype, dims, strides: None, bytes };
            self.insert(path, name, stored)?;
        }
        Ok(())
    }

    fn add_pickled(&mut self, path: &Path, map: &[u8]) -> Result<()> {
        let found = pickled::read(path, map)?;
        self.others.extend(found.others);
        for pickled::Found { name, dtype, dims, strides, bytes } in found.tensors {
            self.insert(path, name, Stored { shard: self.shards.len(), dtype, dims, strides, bytes })?;
        }
        Ok(())
    }

    /// Takes a tensor in. Here is the one place that looks at what any form of file says of a tensor.
    fn insert(&mut self, path: &Path, name: String, stored: Stored) -> Result<()> {
        need_plain(path, &name)?;
        // Also without its empty axes, so that no product of some of them overflows.
        let values = stored.dims.iter().try_fold(1usize, |n, d| n.checked_mul((*d).max(1)));
        if stored.dims.len() > MOST_AXES || values.is_none_or(|n| n > isize::MAX as usize / 8) {
            let what = format!("tensor `{name}` has the shape {:?}\nhint: the file is damaged", stored.dims);
            return Err(Error::Format { path: path.into(), what });
        }
        if self.tensors.contains_key(&name) {
            let what = format!("holds tensor `{name}`, which another shard holds too");
            return Err(Error::Format { path: path.into(), what });
        }
        self.tensors.insert(name, stored);
        Ok(())
    }

    /// The folder or file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All names with what is known of them, in order.
    pub fn tensors(&self) -> &BTreeMap<String, Stored> {
        &self.tensors
    }

    /// Names of entries of a pickled file that are no tensors.
    pub fn others(&self) -> &[String] {
        &self.others
    }

    /// The text entries of the headers.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Computes the checksums of its files again. Errors with [`clinpeft_files::Error::Damaged`] if one differs.
    pub fn verify(&self) -> Result<Checksum> {
        let mut found = Checksum::Valid;
        for shard in &self.shards {
            match has_valid_checksum(shard, &self.metadata) {
                Some(true) => {}
                None => found = Checksum::Absent,
                Some(false) => {
                    let (path, hint) = (self.path.clone(), "make it again, or take it from a copy");
                    let what = "its content differs from its checksum".into();
                    return Err(clinpeft_files::Error::Damaged { path, what, hint }.into());
                }
            }
        }
        Ok(found)
    }

    /// True if there is a tensor of that name.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// A tensor of the expected shape. Errors with the nearest name if it is missing.
    pub fn tensor(&self, name: &str, dims: &[usize], keep: Keep) -> Result<Tensor> {
        let stored = self.stored(name)?;
        if stored.dims != dims {
            return Err(Error::Shape {
                path: self.path.clone(),
                name: name.into(),
                got: stored.dims.clone(),
                expected: dims.to_vec(),
            });
        }
        self.any(name, keep)
    }

    /// A tensor of whatever shape it has. Its values stay in the mapped file where they can.
    pub fn any(&self, name: &str, keep: Keep) -> Result<Tensor> {
        let stored = self.stored(name)?;
        let d = &stored.dims;
        let t = match stored.dtype {
            Dtype::F32 => self.in_place(stored, f32::from_le_bytes)?,
            Dtype::F64 => self.in_place(stored, f64::from_le_bytes)?,
            Dtype::BF16 => self.in_place(stored, bf16::from_le_bytes)?,
            Dtype::F16 => self.in_place(stored, f16::from_le_bytes)?,
            Dtype::U32 => self.in_place(stored, u32::from_le_bytes)?,
            Dtype::I64 => {
                let ids = values(&self.bytes(stored), i64::from_le_bytes);
                let ids: Result<Vec<u32>> =
                    ids.iter().map(|x| u32::try_from(*x).map_err(|_| self.negative(name))).collect();
                Tensor::from_vec(ids?, d)?
            }
            other => {
                return Err(Error::Format {
                    path: self.path.clone(),
                    what: format!(
                        "tensor `{name}` is stored as {other:?}, which is not read\nhint: convert the model to bf16, f16 or f32"
                    ),
                });
            }
        };
        Ok(match keep {
            Keep::Stored => t,
            Keep::As(dtype) => t.cast(dtype)?,
        })
    }

    /// Values as they lie in the mapped file, or a copy where they have gaps or another alignment.
    fn in_place<T: Element, const N: usize>(&self, stored: &Stored, read: fn([u8; N]) -> T) -> Result<Tensor> {
        let map = || Tensor::from_map::<T>(self.shards[stored.shard].clone(), stored.bytes.clone(), &stored.dims);
        match stored.strides.is_none().then(map).flatten() {
            Some(tensor) => Ok(tensor),
            None => Ok(Tensor::from_vec(values(&self.bytes(stored), read), &stored.dims)?),
        }
    }

    /// The values of a tensor of this checkpoint in row-major order, little-endian: as they lie in the file where they
    /// follow each other there, else a copy in order.
    pub(crate) fn bytes(&self, stored: &Stored) -> Cow<'_, [u8]> {
        let raw = &self.shards[stored.shard][stored.bytes.clone()];
        match &stored.strides {
            None => raw.into(),
            Some(strides) => gather(raw, &stored.dims, strides, width(stored.dtype)).into(),
        }
    }

    /// The bytes of an entry that is no tensor of a model. Errors if it is missing.
    pub fn raw(&self, name: &str) -> Result<Raw> {
        let stored = self.stored(name)?;
        Ok(Raw { dtype: stored.dtype, dims: stored.dims.clone(), bytes: self.bytes(stored).into_owned() })
    }

    pub(crate) fn stored(&self, name: &str) -> Result<&Stored> {
        self.tensors.get(name).ok_or_else(|| Error::Missing {
            path: self.path.clone(),
            name: name.into(),
            nearest: nearest(name, self.tensors.keys().map(String::as_str)),
        })
    }

    fn negative(&self, name: &str) -> Error {
        Error::Format { path: self.path.clone(), what: format!("tensor `{name}` holds an integer outside of 32 bits") }
    }
}

/// The values at `strides` from each other, each of `width` bytes, in row-major order. No axis is empty.
pub(crate) fn gather(raw: &[u8], dims: &[usize], strides: &[usize], width: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(dims.iter().product::<usize>() * width);
    let mut index = vec![0; dims.len()];
    let mut at = 0;
    loop {
        out.extend_from_slice(&raw[at * width..(at + 1) * width]);
        // The last axis that is not at its end moves on, those behind it begin again.
        let Some(axis) = (0..dims.len()).rev().find(|axis| index[*axis] + 1 < dims[*axis]) else {
            return out;
        };
        index[axis] += 1;
        at += strides[axis];
        for behind in axis + 1..dims.len() {
            at -= index[behind] * strides[behind];
            index[behind] = 0;
        }
    }
}

fn values<T, const N: usize>(raw: &[u8], read: fn([u8; N]) -> T) -> Vec<T> {
    raw.chunks_exact(N).map(|b| read(b.try_into().expect("a chunk has its length"))).collect()
}

#[expect(unsafe_code, reason = "memory map")]
fn map_file(path: &Path) -> Result<Mmap> {
    // Opening a pipe would wait for somebody who writes.
    if std::fs::metadata(path).is_ok_and(|m| !m.is_file()) {
        let what = "is no file\nhint: give a safetensors file or what `torch.save` wrote".into();
        return Err(Error::Format { path: path.into(), what });
    }
    let file = File::open(path).map_err(clinpeft_files::at("read", path))?;
    // SAFETY: the map is read only. No writer of this program changes a file in place: each renames a whole file to its name.
    // Another program that shortens the file makes the lost pages a bus error, which `report_lost_pages` turns into a message.
    let map = unsafe { Mmap::map(&file) };
    Ok(map.map_err(clinpeft_files::at("map", path))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TensorMap, encode, save};
    use proptest::prelude::*;

    fn sample() -> TensorMap {
        TensorMap::from([
            ("a.weight".into(), Tensor::from_vec(vec![1.0f32, -2.0], &[1, 2]).unwrap()),
            ("b".into(), Tensor::from_vec(vec![7u32], &[1]).unwrap()),
        ])
    }

    #[test]
    fn saved_tensors_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let meta = BTreeMap::from([("z".into(), "1".into()), ("a".into(), "2".into()), ("m".into(), "3".into())]);
        save(&path, &sample(), &meta).unwrap();
        let c = Checkpoint::open(dir.path()).unwrap();
        assert_eq!(c.tensor("a.weight", &[1, 2], Keep::Stored).unwrap().as_slice::<f32>().unwrap(), [1.0, -2.0]);
        assert_eq!(c.any("b", Keep::Stored).unwrap().as_slice::<u32>().unwrap(), [7]);
        assert_eq!(c.metadata(), &meta);
        assert!(matches!(c.tensor("a.weight", &[2, 1], Keep::Stored), Err(Error::Shape { .. })));
        let error = c.any("a.weights", Keep::Stored).unwrap_err().to_string();
        assert!(error.contains("nearest name is `a.weight`"), "{error}");
    }

    #[test]
    fn shard_outside_of_the_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let index = r#"{"weight_map": {"a": "../secret.safetensors"}}"#;
        std::fs::write(dir.path().join("model.safetensors.index.json"), index).unwrap();
        assert!(Checkpoint::open(dir.path()).unwrap_err().to_string().contains("outside"));
    }

    #[test]
    fn shards_are_read_as_one_model() {
        let dir = tempfile::tempdir().unwrap();
        for (name, t) in sample() {
            save(&dir.path().join(format!("{name}.safetensors")), &TensorMap::from([(name, t)]), &BTreeMap::new())
                .unwrap();
        }
        let index = r#"{"weight_map": {"a.weight": "a.weight.safetensors", "b": "b.safetensors"}}"#;
        std::fs::write(dir.path().join("model.safetensors.index.json"), index).unwrap();
        assert_eq!(Checkpoint::open(dir.path()).unwrap().tensors().len(), 2);
    }

    #[test]
    fn names_for_terminals_and_shapes_without_sense_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let said = |header: &str, values: usize| {
            let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
            bytes.extend(header.as_bytes());
            bytes.extend(vec![0; values]);
            std::fs::write(&path, bytes).unwrap();
            Checkpoint::open(dir.path()).unwrap_err().to_string()
        };
        let control = said(r#"{"\u001b[2Ja":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, 1);
        assert!(control.contains("\\u{1b}[2Ja") && !control.contains('\u{1b}'), "{control}");
        let long = said(&format!(r#"{{"{}":{{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}}}"#, "a".repeat(2000)), 1);
        assert!(long.contains("which no model has") && long.len() < 300, "{long}");
        let empty = r#"{"a":{"dtype":"F32","shape":[0,4294967296,4294967296],"data_offsets":[0,0]}}"#;
        assert!(said(empty, 0).contains("has the shape [0, 4294967296, 4294967296]"));
        let axes = r#"{"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}}"#;
        assert!(said(axes, 1).contains("has the shape"));
    }

    #[test]
    #[cfg(unix)]
    fn what_is_no_file_is_not_waited_for() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("adapter_model.safetensors");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert!(Checkpoint::open_file(&pipe).unwrap_err().to_string().contains("is no file"));
        assert!(Checkpoint::open_file(dir.path()).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn damaged_files_give_errors(cut in 0usize..200, place in 0usize..200, byte in any::<u8>()) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("model.safetensors");
            let mut bytes = encode(&path, &sample(), &BTreeMap::new()).unwrap();
            bytes.truncate(bytes.len().saturating_sub(cut));
            let n = bytes.len();
            if n > 0 { bytes[place % n] = byte }
            std::fs::write(&path, &bytes).unwrap();
            // Whatever the damage: an error or tensors, never a panic.
            if let Ok(c) = Checkpoint::open(dir.path()) {
                for name in c.tensors().keys() {
                    let _ = c.any(name, Keep::Stored);
                }
            }
        }
    }
}
