//! Writing safetensors.

use crate::{Error, Result};
use clinpeft_tensor::{DType, Element, Tensor};
use safetensors::tensor::{Dtype, TensorView};
use std::collections::BTreeMap;
use std::path::Path;

/// Tensors by name, in order of names.
pub type TensorMap = BTreeMap<String, Tensor>;

/// Writes `tensors` and `metadata` to `path`, whole or not at all. The same content gives the same bytes.
pub fn save(path: &Path, tensors: &TensorMap, metadata: &BTreeMap<String, String>) -> Result<()> {
    Ok(clinpeft_files::write_atomic(path, encode(path, tensors, metadata)?)?)
}

/// The bytes that [`save`] writes.
pub fn encode(path: &Path, tensors: &TensorMap, metadata: &BTreeMap<String, String>) -> Result<Vec<u8>> {
    let entry = |(name, t): (&String, &Tensor)| {
        let (dtype, bytes) = bytes(&t.to_cpu()?)?;
        Ok((name.clone(), Raw { dtype, dims: t.dims().to_vec(), bytes }))
    };
    encode_raw(path, &tensors.iter().map(entry).collect::<Result<_>>()?, metadata)
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

/// The file with these entries. Errors if a length does not fit.
pub fn encode_raw(
    path: &Path,
    entries: &BTreeMap<String, Raw>,
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>> {
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
