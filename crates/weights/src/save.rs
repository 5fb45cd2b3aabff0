//! Writing safetensors, with a checksum where nothing else protects a file.
//!
//! Such a file has the metadata entry `blake3`: BLAKE3 of the whole file, as hexadecimal, computed while 64 zeros stand in
//! its place. It covers names, types, shapes, values, and the other metadata.

use crate::{Error, Result};
use clinpeft_tensor::{DType, Element, Tensor};
use safetensors::tensor::{Dtype, TensorView};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

/// Tensors by name, in order of names.
pub type TensorMap = BTreeMap<String, Tensor>;

/// Name of the metadata entry with the checksum.
const CHECKSUM: &str = "blake3";
/// What is in its place while it is computed.
const BLANK: [u8; 64] = [b'0'; 64];

/// Writes `tensors` and `metadata` to `path`, whole or not at all. The same content gives the same bytes.
pub fn save(path: &Path, tensors: &TensorMap, metadata: &BTreeMap<String, String>) -> Result<()> {
    Ok(clinpeft_files::write_atomic(path, encode(path, tensors, metadata)?)?)
}

/// As [`save`], with a checksum that [`crate::Checkpoint::verify`] proves.
pub fn save_with_checksum(path: &Path, tensors: &TensorMap, metadata: &BTreeMap<String, String>) -> Result<()> {
    Ok(clinpeft_files::write_atomic(path, encode_raw(path, &entries(tensors)?, metadata)?)?)
}

/// The bytes that [`save`] writes.
pub fn encode(path: &Path, tensors: &TensorMap, metadata: &BTreeMap<String, String>) -> Result<Vec<u8>> {
    assemble(path, &entries(tensors)?, metadata)
}

fn entries(tensors: &TensorMap) -> Result<BTreeMap<String, Raw>> {
    let entry = |(name, t): (&String, &Tensor)| {
        let (dtype, bytes) = bytes(&t.to_cpu()?)?;
        Ok((name.clone(), Raw { dtype, dims: t.dims().to_vec(), bytes }))
    };
    tensors.iter().map(entry).collect()
}

/// Values that are no tensors of a model: ids, labels, scores.
#[derive(Debug, Clone)]
pub struct Raw {
    /// Type of the values.
    pub dtype: Dtype,
    /// Lengths of the axes.
    pub dims: Vec<usize>,
    /// Values in row-major order, little-endian.
    pub bytes: Vec<u8>,
}

/// The file with these entries and a checksum that [`crate::Checkpoint::verify`] proves. Errors if a length does not fit.
pub fn encode_raw(
    path: &Path,
    entries: &BTreeMap<String, Raw>,
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>> {
    let mut metadata = metadata.clone();
    metadata.insert(CHECKSUM.into(), BLANK.iter().map(|b| char::from(*b)).collect());
    let mut file = assemble(path, entries, &metadata)?;
    if let Some(place) = checksum_place(&file) {
        let sum = checksum(&file, &place);
        file[place].copy_from_slice(sum.as_bytes());
    }
    Ok(file)
}

/// Whether a file is as it was written; `None` if it has no checksum.
pub(crate) fn has_valid_checksum(file: &[u8], metadata: &BTreeMap<String, String>) -> Option<bool> {
    let stated = metadata.get(CHECKSUM)?;
    Some(checksum_place(file).is_some_and(|place| checksum(file, &place) == *stated))
}

/// Where the checksum stands. A tensor of that name has an object behind it, and quotes inside of a value are escaped, so
/// the first such place is the entry.
fn checksum_place(file: &[u8]) -> Option<Range<usize>> {
    let length = u64::from_le_bytes(file.get(..8)?.try_into().ok()?);
    let header = file.get(8..usize::try_from(length).ok()?.checked_add(8)?)?;
    let key = format!("\"{CHECKSUM}\":\"");
    let start = 8 + key.len() + header.windows(key.len()).position(|w| w == key.as_bytes())?;
    file.get(start..start + BLANK.len())?;
    Some(start..start + BLANK.len())
}

fn checksum(file: &[u8], place: &Range<usize>) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&file[..place.start]).update(&BLANK).update(&file[place.end..]);
    hasher.finalize().to_hex().to_string()
}

fn assemble(path: &Path, entries: &BTreeMap<String, Raw>, metadata: &BTreeMap<String, String>) -> Result<Vec<u8>> {
    let wrong = |e: safetensors::SafeTensorError| Error::Format { path: path.into(), what: e.to_string() };
    let view = |(name, raw)| -> Result<(&String, TensorView<'_>)> {
        let raw: &Raw = raw;
        Ok((name, TensorView::new(raw.dtype, raw.dims.clone(), &raw.bytes).map_err(wrong)?))
    };
    let views: Vec<_> = entries.iter().map(view).collect::<Result<_>>()?;
    Ok(with_metadata(safetensors::serialize(views, None).map_err(wrong)?, metadata))
}

/// Puts sorted metadata into the header. The upstream writer takes a hash map, whose order changes from run to run.
fn with_metadata(plain: Vec<u8>, metadata: &BTreeMap<String, String>) -> Vec<u8> {
    if metadata.is_empty() {
        return plain;
    }
    let length = u64::from_le_bytes(plain[..8].try_into().expect("a file begins with eight bytes of length")) as usize;
    let entry = serde_json::to_string(metadata).expect("a map of strings can be written");
    let header = plain[9..8 + length].trim_ascii_end();
    let comma: &[u8] = if header.len() > 1 { b"," } else { b"" };
    let mut out = [b"{\"__metadata__\":", entry.as_bytes(), comma, header].concat();
    out.resize(out.len().next_multiple_of(8), b' ');
    [&(out.len() as u64).to_le_bytes()[..], &out, &plain[8 + length..]].concat()
}

fn bytes(t: &Tensor) -> Result<(Dtype, Vec<u8>)> {
    fn raw<T: Element + bytemuck::NoUninit>(t: &Tensor) -> Result<Vec<u8>> {
        Ok(bytemuck::cast_slice(t.as_slice::<T>()?).to_vec())
    }
    Ok(match t.dtype() {
        DType::F32 => (Dtype::F32, raw::<f32>(t)?),
        DType::F64 => (Dtype::F64, raw::<f64>(t)?),
        DType::Bf16 => (Dtype::BF16, raw::<half::bf16>(t)?),
        DType::F16 => (Dtype::F16, raw::<half::f16>(t)?),
        DType::U32 => (Dtype::U32, raw::<u32>(t)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Checkpoint, Checksum};

    #[test]
    fn a_file_with_any_byte_changed_does_not_have_its_checksum() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.safetensors");
        let tensors = TensorMap::from([
            ("a".into(), Tensor::from_vec(vec![1.0f32, -2.0], &[2]).unwrap()),
            ("blake3".into(), Tensor::from_vec(vec![7u32], &[1]).unwrap()),
        ]);
        let metadata = BTreeMap::from([("about".into(), "\"blake3\":\"no\"".into())]);
        save_with_checksum(&path, &tensors, &metadata).unwrap();
        assert_eq!(Checkpoint::open_file(&path).unwrap().verify().unwrap(), Checksum::Valid);
        let whole = std::fs::read(&path).unwrap();
        for place in 0..whole.len() {
            for bits in [0x01, 0x20, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[place] ^= bits;
                std::fs::write(&path, &bytes).unwrap();
                let found = Checkpoint::open_file(&path).and_then(|c| c.verify());
                assert_ne!(found.ok(), Some(Checksum::Valid), "byte {place} with {bits:#x}");
            }
        }
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(Checkpoint::open_file(&path).is_err(), "cut to {length}");
        }
    }

    #[test]
    fn files_of_others_have_no_checksum_and_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let tensors = TensorMap::from([("a".into(), Tensor::from_vec(vec![1.0f32], &[1]).unwrap())]);
        save(&path, &tensors, &BTreeMap::from([("format".into(), "pt".into())])).unwrap();
        let file = Checkpoint::open_file(&path).unwrap();
        assert_eq!(file.verify().unwrap(), Checksum::Absent);
        assert_eq!(file.metadata().len(), 1);
    }
}
