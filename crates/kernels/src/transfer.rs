//! Copies between the CPU and a device.

use crate::context::{DeviceContext, lock};
use crate::launch::{Buffer, Launch};
use clinpeft_tensor::{DType, Element, Error, Result, Tensor};
use cubecl::bytes::Bytes;
use cubecl::prelude::*;
use cubecl::server::Handle;
use half::{bf16, f16};

/// Weights are uploaded once and stay; batches are ids, far smaller. So what is uploaded in larger pieces than this gets
/// memory of its own instead of a slice of the pool of activations.
const PERSISTENT: usize = 64 << 10;

/// A matrix that lies in several buffers is cut at multiples of so many rows: columns of logits then begin where every
/// device lets a buffer begin.
const ROWS_OF_A_PART: usize = 64;

impl<R: Runtime> DeviceContext<R> {
    /// Copies a CPU tensor to the device. A matrix that is too large for one buffer goes to several.
    pub(crate) fn upload(&self, tensor: &Tensor) -> Result<Tensor> {
        let work = self.begin("upload")?;
        let (dtype, (rows, width)) = (tensor.dtype(), tensor.rows_and_width());
        let bytes = self.bytes(tensor)?;
        let largest = usize::try_from(self.largest()).unwrap_or(usize::MAX);
        // What is stored in 16 bits must also fit in f32, as which it is multiplied where there are no tensor cores.
        let wide = width * DType::F32.size();
        let fitting = largest / wide.max(1) / ROWS_OF_A_PART * ROWS_OF_A_PART;
        let fits = rows * wide <= largest;
        if fits || tensor.dims().len() != 2 || dtype == DType::U32 || fitting == 0 {
            work.size(tensor.dims(), dtype)?;
            let handle = self.create(&work, bytes)?;
            let ids = (dtype == DType::U32).then(|| tensor.clone());
            let buffer = Buffer { parts: vec![handle], rows, generation: work.generation, ids };
            return Ok(work.tensor_in_parts(buffer, dtype, tensor.dims()));
        }
        let pieces = bytes.chunks(fitting * width * dtype.size()).map(|piece| self.create(&work, piece.to_vec()));
        let parts = pieces.collect::<Result<Vec<Handle>>>()?;
        let buffer = Buffer { parts, rows: fitting, generation: work.generation, ids: None };
        Ok(work.tensor_in_parts(buffer, dtype, tensor.dims()))
    }

    fn bytes(&self, tensor: &Tensor) -> Result<Vec<u8>> {
        Ok(match tensor.dtype() {
            DType::F32 => f32::as_bytes(tensor.as_slice()?).to_vec(),
            DType::U32 => u32::as_bytes(tensor.as_slice()?).to_vec(),
            DType::Bf16 => bf16::as_bytes(tensor.as_slice()?).to_vec(),
            DType::F16 => f16::as_bytes(tensor.as_slice()?).to_vec(),
            got => {
                let expected = format!("F32, Bf16, F16 or U32 for `{}`", self.name);
                return Err(Error::DType { op: "upload", expected, got });
            }
        })
    }

    fn create(&self, work: &Launch<'_, R>, mut bytes: Vec<u8>) -> Result<Handle> {
        // A buffer of no bytes cannot be bound to a kernel; words are of four bytes.
        bytes.resize(bytes.len().max(4).next_multiple_of(4), 0);
        let large = bytes.len() > PERSISTENT;
        let bytes = Bytes::from_bytes_vec(bytes);
        if !large {
            return work.run(|compute| compute.create(bytes));
        }
        let made = work.run(|compute| compute.memory_persistent_allocation(bytes, |bytes| compute.create(bytes)))?;
        work.accept(made)
    }

    /// Copies a tensor to the CPU; see [`DeviceContext::download_all`].
    pub(crate) fn download(&self, tensor: &Tensor) -> Result<Tensor> {
        Ok(self.download_all(&[tensor])?.remove(0))
    }

    /// Copies tensors to the CPU, once all work before is done and was done without an error. Ids are there already.
    pub(crate) fn download_all(&self, tensors: &[&Tensor]) -> Result<Vec<Tensor>> {
        let _one_at_a_time = lock(&self.downloading);
        let work = self.begin("download")?;
        let buffers = tensors.iter().map(|t| work.buffer(t)).collect::<Result<Vec<_>>>()?;
        let parts: Vec<Handle> =
            buffers.iter().filter(|b| b.ids.is_none()).flat_map(|b| b.parts.iter().cloned()).collect();
        let mut read = work.bytes_of(parts)?.into_iter();
        let work = self.begin("download")?;
        let one = |(tensor, buffer): (&&Tensor, &Buffer)| {
            if let Some(ids) = &buffer.ids {
                return Ok(ids.clone());
            }
            work.buffer(tensor)?;
            let parts: Vec<Bytes> = read.by_ref().take(buffer.parts.len()).collect();
            values(&parts, tensor)
        };
        tensors.iter().zip(buffers).map(one).collect()
    }

    /// Bytes that the device has set aside: pages once taken stay with the pool, so this is the most that was needed.
    pub(crate) fn reserved(&self) -> Result<u64> {
        let work = self.begin("memory")?;
        let usage = work.run(ComputeClient::memory_usage).and_then(|late| work.accept(late))?;
        Ok(usage.bytes_reserved)
    }
}

/// A tensor like this one on the CPU, from the bytes of its parts.
fn values(parts: &[Bytes], like: &Tensor) -> Result<Tensor> {
    fn of<T: Element, const N: usize>(parts: &[Bytes], like: &Tensor, value: fn([u8; N]) -> T) -> Result<Tensor> {
        let words = parts.iter().flat_map(|part| part.as_chunks::<N>().0);
        Tensor::from_vec(words.take(like.count()).map(|w| value(*w)).collect(), like.dims())
    }
    match like.dtype() {
        DType::Bf16 => of(parts, like, |b| bf16::from_bits(u16::from_ne_bytes(b))),
        DType::F16 => of(parts, like, |b| f16::from_bits(u16::from_ne_bytes(b))),
        _ => of(parts, like, f32::from_ne_bytes),
    }
}
