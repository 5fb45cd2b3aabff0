//! One operation on a device: its operands, its results, its launches.

pub(crate) use crate::context::{AXIS, LAVAPIPE_LOOP_LIMIT, LONGEST_SUM, LoopBudget, UNITS};
use crate::context::{DeviceContext, lock};
use crate::panics;
use clinpeft_tensor::{DType, Error, Precision, Result, Tensor};
use cubecl::bytes::Bytes;
use cubecl::prelude::*;
use cubecl::server::{Handle, ServerError};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Elements of a tensor: positions are 32-bit in the kernels, and a folded grid may be twice as large as needed.
pub(crate) const ELEMENTS: usize = i32::MAX as usize;

/// Float4 values that follow each other: as many loads as one value costs, on cards and even more so in software.
pub(crate) type Float4 = Vector<f32, Const<4>>;

/// Values on a device.
pub(crate) struct Buffer {
    /// One buffer, or several where a matrix is too large for one: `rows` rows in each but the last.
    pub(crate) parts: Vec<Handle>,
    pub(crate) rows: usize,
    pub(crate) generation: u64,
    /// Ids come from the CPU and stay there as well: they are checked, sorted and handed back without waiting.
    pub(crate) ids: Option<Tensor>,
}

/// An operand of a kernel: a handle to `count` values.
#[derive(Debug, Clone)]
pub(crate) struct Operand {
    handle: Handle,
    count: usize,
    dtype: DType,
    /// How exact products with it must be.
    precision: Precision,
}

/// Some rows of a matrix, in one buffer.
pub(crate) struct Part {
    pub(crate) first: usize,
    pub(crate) rows: usize,
    pub(crate) values: Operand,
}

/// Ids on the device and on the CPU.
pub(crate) struct Ids {
    pub(crate) values: Operand,
    host: Tensor,
}

impl Ids {
    /// The ids.
    pub(crate) fn host(&self) -> Result<&[u32]> {
        self.host.as_slice()
    }
}

/// One operation. What it makes is as old as its beginning, so a failure that another thread learns of in between poisons it.
pub(crate) struct Launch<'a, R: Runtime> {
    pub(crate) device: &'a DeviceContext<R>,
    pub(crate) op: &'static str,
    pub(crate) generation: u64,
}

impl<R: Runtime> DeviceContext<R> {
    /// Begins an operation. Errors if the device failed since the last one.
    pub(crate) fn begin(&self, op: &'static str) -> Result<Launch<'_, R>> {
        let mut health = lock(&self.health);
        match self.watch.take() {
            Some(said) => Err(self.poisoned(&mut health, op, &said)),
            None => Ok(Launch { device: self, op, generation: health.generation }),
        }
    }
}

impl<R: Runtime> Launch<'_, R> {
    /// Runs `body` on the device's stream. A panic in it is an error, and poisons everything on the device.
    pub(crate) fn run<T>(&self, body: impl FnOnce(&ComputeClient<R>) -> T) -> Result<T> {
        let device = self.device;
        panics::caught(|| device.on_stream(body)).map_err(|said| device.failed(self.op, &said))
    }

    /// Runs `body` and waits for it. False if it says so, or fails, which poisons nothing: all work before it is done by then, and
    /// none begins meanwhile.
    pub(crate) fn attempt(&self, body: impl FnOnce(&ComputeClient<R>) -> bool) -> Result<bool> {
        self.finish()?;
        self.device.begin(self.op)?;
        Ok(self.device.attempt(body))
    }

    /// Takes what the device says late.
    pub(crate) fn accept<T>(&self, late: Result<T, ServerError>) -> Result<T> {
        late.map_err(|e| self.device.failed(self.op, &e.to_string()))
    }

    /// Bytes of a tensor. Too large a size is an error here, since the device would say so late.
    pub(crate) fn size(&self, dims: &[usize], dtype: DType) -> Result<usize> {
        let count = dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        let bytes = count.filter(|n| *n <= ELEMENTS).map(|n| n * dtype.size());
        let largest = self.device.largest();
        bytes.filter(|n| *n as u64 <= largest).ok_or_else(|| {
            self.device.error(format!(
                "{}: a tensor {dims:?} of {dtype:?} is too large for one buffer of {largest} bytes or {ELEMENTS} elements\n\
                 hint: use a smaller batch, or `--device cpu`",
                self.op
            ))
        })
    }

    /// Errors if a kernel could not go through so many terms.
    pub(crate) fn can_sum(&self, terms: usize) -> Result<()> {
        if self.device.loops == LoopBudget::Unlimited || terms <= LONGEST_SUM {
            return Ok(());
        }
        Err(self.device.error(format!(
            "{}: sums of {terms} terms are too long, {LONGEST_SUM} is the limit\nhint: use `--device cpu`",
            self.op
        )))
    }

    /// The values of a tensor of this device that were not lost.
    pub(crate) fn buffer<'t>(&self, tensor: &'t Tensor) -> Result<&'t Buffer> {
        let buffer = tensor.buffer::<Buffer>().ok_or_else(|| Error::Device {
            op: self.op,
            left: tensor.device().name(),
            right: self.device.name(),
        })?;
        if buffer.generation == self.generation {
            return Ok(buffer);
        }
        Err(self.device.error(format!(
            "{}: the values were lost when the device failed ({})\nhint: start again from the last checkpoint",
            self.op,
            lock(&self.device.health).last_failure
        )))
    }

    /// An f32 tensor to read.
    pub(crate) fn input(&self, tensor: &Tensor) -> Result<Operand> {
        if tensor.dtype() != DType::F32 {
            return Err(self.dtype_error("F32", tensor));
        }
        self.stored(tensor)
    }

    /// A tensor of floats to read, in one buffer.
    pub(crate) fn stored(&self, tensor: &Tensor) -> Result<Operand> {
        match &self.parts(tensor)?[..] {
            [part] => Ok(part.values.clone()),
            parts => Err(self.device.error(format!(
                "{}: a tensor {:?} lies in {} buffers, since one holds {} bytes at most\nhint: use `--device cpu`",
                self.op,
                tensor.dims(),
                parts.len(),
                self.device.largest()
            ))),
        }
    }

    /// A tensor of floats to read, in its buffers.
    pub(crate) fn parts(&self, tensor: &Tensor) -> Result<Vec<Part>> {
        if !matches!(tensor.dtype(), DType::F32 | DType::Bf16 | DType::F16) {
            return Err(self.dtype_error("floats of 32 or 16 bits", tensor));
        }
        let buffer = self.buffer(tensor)?;
        let (all, width) = tensor.rows_and_width();
        // In one buffer the values may have got another shape since it was made; cut ones keep theirs.
        let rows_of_a_part = if buffer.parts.len() == 1 { all } else { buffer.rows };
        if all.div_ceil(rows_of_a_part.max(1)) > buffer.parts.len() {
            let what = format!("{}: a tensor in several buffers cannot have the shape {:?}", self.op, tensor.dims());
            return Err(self.device.error(what + "\nhint: use `--device cpu`"));
        }
        let parts = buffer.parts.iter().enumerate().map(|(i, handle)| {
            let first = i * rows_of_a_part;
            let rows = rows_of_a_part.min(all.saturating_sub(first));
            let values = Operand {
                handle: handle.clone(),
                count: rows * width,
                dtype: tensor.dtype(),
                precision: tensor.precision(),
            };
            Part { first, rows, values }
        });
        Ok(parts.collect())
    }

    /// Ids to read. Errors if one is not in `0..limit`.
    pub(crate) fn ids(&self, tensor: &Tensor, limit: usize) -> Result<Ids> {
        let buffer = self.buffer(tensor)?;
        let (Some(handle), Some(host)) = (buffer.parts.first(), &buffer.ids) else {
            return Err(self.dtype_error("U32", tensor));
        };
        if let Some(place) = host.as_slice::<u32>()?.iter().position(|i| *i as usize >= limit) {
            let index = host.as_slice::<u32>()?[place] as usize;
            return Err(Error::Index { op: self.op, index, place, limit });
        }
        let values = Operand::strict(handle.clone(), tensor.count(), DType::U32);
        Ok(Ids { values, host: host.clone() })
    }

    /// Numbers that only this operation needs, such as where sequences begin.
    pub(crate) fn numbers(&self, values: &[u32]) -> Result<Operand> {
        self.given(u32::as_bytes(values), values.len(), DType::U32)
    }

    /// So many zeros.
    pub(crate) fn zeros(&self, count: usize) -> Result<Operand> {
        self.given(&vec![0; count * DType::F32.size()], count, DType::F32)
    }

    fn given(&self, values: &[u8], count: usize, dtype: DType) -> Result<Operand> {
        self.size(&[count], dtype)?;
        let mut bytes = values.to_vec();
        bytes.resize(bytes.len().max(4), 0);
        let handle = self.run(|compute| compute.create(Bytes::from_bytes_vec(bytes)))?;
        Ok(Operand::strict(handle, count, dtype))
    }

    fn dtype_error(&self, expected: &str, got: &Tensor) -> Error {
        let expected = format!("{expected} on `{}`", self.device.name());
        Error::DType { op: self.op, expected, got: got.dtype() }
    }

    /// A new f32 tensor for a kernel to fill.
    pub(crate) fn output(&self, dims: &[usize]) -> Result<(Tensor, Operand)> {
        let operand = self.scratch(dims)?;
        Ok((self.made(&operand, dims), operand))
    }

    /// Memory for f32 values that end with this operation.
    pub(crate) fn scratch(&self, dims: &[usize]) -> Result<Operand> {
        self.scratch_of(dims, DType::F32)
    }

    /// Memory for values of this type, in whole words of four bytes.
    pub(crate) fn scratch_of(&self, dims: &[usize], dtype: DType) -> Result<Operand> {
        let bytes = self.size(dims, dtype)?;
        let handle = self.run(|compute| compute.empty(bytes.max(4).next_multiple_of(4)))?;
        Ok(Operand::strict(handle, bytes / dtype.size(), dtype))
    }

    /// An operand without memory, as one is left where memory could not be had.
    #[cfg(test)]
    pub(crate) fn unreserved(&self, count: usize) -> Operand {
        let handle = self.device.on_stream(|_| Handle::new(cubecl::stream_id::StreamId::current(), count as u64 * 4));
        Operand::strict(handle, count, DType::F32)
    }

    /// Waits until all work so far is done.
    pub(crate) fn finish(&self) -> Result<()> {
        self.run(|compute| cubecl::future::block_on(compute.sync())).and_then(|late| self.accept(late))
    }

    /// Values for autotuning, once they are there. Not counted: they are read once, not in each step.
    pub(crate) fn read(&self, values: &Operand) -> Result<Vec<f32>> {
        let read = self.fetched(vec![values.handle.clone()])?;
        let words = read.iter().flat_map(|bytes| bytes.as_chunks::<4>().0);
        Ok(words.take(values.count).map(|w| f32::from_ne_bytes(*w)).collect())
    }

    /// What is in these buffers once all work so far is done. One download, if there is anything to read.
    pub(crate) fn bytes_of(&self, buffers: Vec<Handle>) -> Result<Vec<Bytes>> {
        if buffers.is_empty() {
            return Ok(Vec::new());
        }
        self.device.downloads.fetch_add(1, Ordering::Relaxed);
        self.fetched(buffers)
    }

    fn fetched(&self, buffers: Vec<Handle>) -> Result<Vec<Bytes>> {
        self.finish()?;
        let read = self.run(|compute| cubecl::future::block_on(compute.read_async(buffers)))?;
        self.accept(read)
    }

    /// Values that a kernel has written, as a tensor.
    pub(crate) fn made(&self, values: &Operand, dims: &[usize]) -> Tensor {
        let rows = dims.split_last().map_or(1, |(_, rest)| rest.iter().product());
        let parts = vec![values.handle.clone()];
        self.tensor_in_parts(Buffer { parts, rows, generation: self.generation, ids: None }, values.dtype, dims)
    }

    /// A tensor of a buffer of this operation.
    pub(crate) fn tensor_in_parts(&self, buffer: Buffer, dtype: DType, dims: &[usize]) -> Tensor {
        Tensor::on_device(self.device.device(), dtype, dims, Arc::new(buffer))
    }
}

impl Operand {
    fn strict(handle: Handle, count: usize, dtype: DType) -> Operand {
        Operand { handle, count, dtype, precision: Precision::StrictF32 }
    }

    /// How exact products with it must be.
    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }

    /// Type of the values.
    pub(crate) fn dtype(&self) -> DType {
        self.dtype
    }

    /// Number of the values.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// `rows` rows of a matrix of `width` columns, from row `first` on. Their first byte must lie where the device lets a
    /// buffer begin.
    pub(crate) fn rows(&self, first: usize, rows: usize, width: usize) -> Operand {
        let start = (first * width * self.dtype.size()) as u64;
        Operand { handle: self.handle.clone().offset_start(start), count: rows * width, ..self.clone() }
    }

    /// As the argument of a kernel; 16-bit values as words of two.
    #[expect(unsafe_code, reason = "CubeCL trusts the length that it is given")]
    pub(crate) fn array<R: Runtime>(&self) -> ArrayArg<R> {
        let words = (self.count * self.dtype.size()).div_ceil(4);
        // SAFETY: bytes for `count` values, rounded up to words of four, were reserved when the tensor was made.
        unsafe { ArrayArg::from_raw_parts(self.handle.clone(), words) }
    }

    /// As a batch of matrices, seen through strides. Errors if an element lies beyond the values.
    #[expect(unsafe_code, reason = "CubeCL trusts the strides that it is given")]
    pub(crate) fn matrices<R: Runtime>(&self, shape: [usize; 3], strides: [usize; 3]) -> Option<TensorBinding<R>> {
        let last: usize = shape.iter().zip(strides).map(|(n, s)| n.saturating_sub(1) * s).sum();
        (last < self.count).then(|| {
            // SAFETY: the last element lies within the `count` values of the handle, so all do.
            unsafe {
                TensorBinding::from_raw_parts(self.handle.clone(), strides.to_vec().into(), shape.to_vec().into())
            }
        })
    }
}

/// A grid of at least `cubes`, folded over three axes; kernels leave out the cubes beyond.
pub(crate) fn grid(cubes: usize) -> CubeCount {
    let axis = AXIS as usize;
    let x = cubes.clamp(1, axis);
    let y = cubes.div_ceil(x).clamp(1, axis);
    let z = cubes.div_ceil(x * y).max(1);
    CubeCount::Static(x as u32, y as u32, z as u32)
}

/// A grid with a unit for each of `count` values.
pub(crate) fn units(count: usize) -> CubeCount {
    grid(count.div_ceil(UNITS as usize))
}

/// Units of the cube that takes a row of `width` values. Half rows do with fewer: most of their time is waiting for each other.
pub(crate) fn row_units(width: usize) -> u32 {
    if width <= 1024 { 32 } else { UNITS }
}

/// The cube of most kernels.
pub(crate) fn cube() -> CubeDim {
    CubeDim::new_1d(UNITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_covers_all_cubes_within_the_limits() {
        for cubes in [0, 1, 65_535, 65_536, 5_000_000, ELEMENTS / UNITS as usize, ELEMENTS] {
            let CubeCount::Static(x, y, z) = grid(cubes) else {
                panic!("a static grid");
            };
            assert!(x <= AXIS && y <= AXIS && z <= AXIS);
            assert!(x as usize * y as usize * z as usize >= cubes);
        }
    }
}
