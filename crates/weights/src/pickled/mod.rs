//! `pytorch_model.bin`: what `torch.save` wrote, read without running anything.
//!
//! Two forms: a zip archive (since torch 1.6), and before that a row of pickles with the values behind them. Both hold a
//! dictionary of tensors as a pickle, which [`machine`] reads. Nothing is copied here: the result says where each tensor
//! lies, and every place is checked against the length of the file.

mod archive;
mod machine;

#[cfg(test)]
mod tests;

use crate::{Error, Result};
use archive::Archive;
use machine::{Id, Machine, Problem, Storage, Value, View, shown, wrong};
use safetensors::tensor::Dtype;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

/// First number of the older form, and its version.
const MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;
const VERSION: i128 = 1001;
/// All tensors together are at most so many times as large as the file; tables are shared by two.
const MOST_SHARED: usize = 4;

/// One tensor of a file.
#[derive(Debug)]
pub(crate) struct Found {
    pub name: String,
    pub dtype: Dtype,
    pub dims: Vec<usize>,
    /// Distances of neighbours in values; `None` if the values follow each other.
    pub strides: Option<Vec<usize>>,
    /// From the first value to the last.
    pub bytes: Range<usize>,
}

/// What a file holds.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub tensors: Vec<Found>,
    /// Names of entries that are no tensors.
    pub others: Vec<String>,
}

/// Reads where the tensors of a file lie.
pub(crate) fn read(path: &Path, bytes: &[u8]) -> Result<Contents> {
    let contents = if bytes.starts_with(b"PK") { read_archive(bytes) } else { read_row(bytes) };
    contents.map_err(|problem| match problem {
        Problem::Refused(what) => Error::Refused { path: path.into(), what },
        Problem::Wrong(what) => Error::Format { path: path.into(), what },
    })
}

fn read_archive(bytes: &[u8]) -> machine::Result<Contents> {
    let archive = Archive::open(bytes)?;
    if archive.find("byteorder").is_some_and(|r| &bytes[r] != b"little") {
        return big_endian();
    }
    let Some(pickle) = archive.find("data.pkl") else { return wrong("its archive has no `data.pkl`") };
    let (machine, root) = Machine::run(&bytes[pickle], 0)?;
    let mut starts = BTreeMap::new();
    for (key, storage) in storages(&machine)? {
        let place = archive.find(&format!("data/{key}"));
        let Some(place) = place.filter(|p| storage.bytes().is_some_and(|n| n <= p.len())) else { return cut() };
        starts.insert(key, place.start);
    }
    contents(&machine, root, &starts, bytes.len())
}

/// Five pickles (magic number, version, the system that wrote them, the object, keys of storages), then the storages: a
/// count, and the values.
fn read_row(bytes: &[u8]) -> machine::Result<Contents> {
    if bytes.first() != Some(&0x80) {
        return foreign();
    }
    let mut at = 0;
    for expected in [MAGIC, VERSION] {
        let (machine, root) = Machine::run(bytes, at)?;
        if !matches!(machine.value(root), Value::Int(n) if *n == expected) {
            return foreign();
        }
        at = machine.end();
    }
    let (system, root) = Machine::run(bytes, at)?;
    if !is_little_endian(&system, root) {
        return big_endian();
    }
    let (object, root) = Machine::run(bytes, system.end())?;
    let (keys, list) = Machine::run(bytes, object.end())?;
    let Value::List(list) = keys.value(list) else { return wrong("its storages are no list") };
    let mut left = storages(&object)?;
    at = keys.end();
    let mut starts = BTreeMap::new();
    for key in list {
        let Value::Text(key) = keys.value(*key) else { return wrong("a storage has no name") };
        let Some(storage) = left.remove(key) else { return wrong("it holds values that no tensor has") };
        let start = at.saturating_add(8);
        let Some(count) = bytes.get(at..start) else { return cut() };
        let count = u64::from_le_bytes(count.try_into().expect("eight bytes were taken"));
        if usize::try_from(count) != Ok(storage.count) {
            return wrong("a storage has another length than its tensors say");
        }
        let end = storage.bytes().and_then(|n| start.checked_add(n)).filter(|end| *end <= bytes.len());
        let Some(end) = end else { return cut() };
        starts.insert(storage.key, start);
        at = end;
    }
    if left.is_empty() { contents(&object, root, &starts, bytes.len()) } else { cut() }
}

fn is_little_endian(system: &Machine<'_>, root: Id) -> bool {
    let Value::Dict(items) = system.value(root) else { return false };
    items.iter().any(|(key, value)| {
        matches!((system.value(*key), system.value(*value)), (Value::Text("little_endian"), Value::Bool(true)))
    })
}

/// Every storage once, by its key.
fn storages<'a>(machine: &Machine<'a>) -> machine::Result<BTreeMap<&'a str, Storage<'a>>> {
    let mut all = BTreeMap::new();
    for storage in machine.storages() {
        if all.insert(storage.key, *storage).is_some_and(|other| other != *storage) {
            return wrong("two tensors disagree about the values that they share");
        }
    }
    Ok(all)
}

/// The tensors of a dictionary whose storages begin at `starts`.
fn contents(
    machine: &Machine<'_>,
    root: Id,
    starts: &BTreeMap<&str, usize>,
    file_length: usize,
) -> machine::Result<Contents> {
    let Value::Dict(items) = machine.value(root) else {
        return wrong(
            "holds no dictionary of tensors\nhint: it must be made with `torch.save(model.state_dict(), ...)`",
        );
    };
    // As in Python, the last of equal keys counts.
    let mut named = BTreeMap::new();
    for (key, value) in items {
        let Value::Text(name) = machine.value(*key) else { return wrong("an entry has a name that is no text") };
        named.insert(*name, machine.value(*value));
    }
    let mut found = Contents::default();
    for (name, value) in named {
        match value {
            Value::Tensor(view) => found.tensors.push(place(name, view, starts[view.storage.key])),
            _ => found.others.push(name.into()),
        }
    }
    let bytes = found.tensors.iter().map(|t| t.dims.iter().product::<usize>().saturating_mul(width(t.dtype)));
    if bytes.fold(0, usize::saturating_add) > file_length.saturating_mul(MOST_SHARED) {
        return wrong(
            "its tensors share their values so often that they are far larger than the file\nhint: do not trust it",
        );
    }
    match found.others.first() {
        Some(other) if found.tensors.is_empty() => wrong(format!(
            "holds no tensor, but entries such as `{}`\nhint: it must be made with `torch.save(model.state_dict(), ...)`",
            shown(other)
        )),
        _ => Ok(found),
    }
}

/// `start` is where its storage begins in the file; the machine has proved that it lies inside of the storage.
fn place(name: &str, view: &View<'_>, start: usize) -> Found {
    let width = width(view.storage.dtype);
    let empty = view.dims.contains(&0);
    let bytes = if empty { 0..0 } else { start + view.offset * width..start + view.end * width };
    let strides = (!view.is_dense()).then(|| view.strides.clone());
    Found { name: name.into(), dtype: view.storage.dtype, dims: view.dims.clone(), strides, bytes }
}

impl Storage<'_> {
    fn bytes(&self) -> Option<usize> {
        self.count.checked_mul(width(self.dtype))
    }
}

/// Bytes of one value.
pub(crate) fn width(dtype: Dtype) -> usize {
    dtype.bitsize() / 8
}

fn foreign<T>() -> machine::Result<T> {
    wrong("not a file of `torch.save`\nhint: the download may be incomplete, or a page of a web site")
}

fn cut<T>() -> machine::Result<T> {
    wrong("lacks the values of a tensor\nhint: the download or copy may be incomplete")
}

fn big_endian<T>() -> machine::Result<T> {
    wrong("was written by a machine of the other byte order\nhint: save it again on a common computer")
}
