//! One device: its memory, its stream of work, its failures.

use crate::limits::Limits;
use crate::name::{Kind, Name};
use crate::ops::matmul::Choices;
use crate::panics::{self, Watch};
use crate::work::{AXIS, Buffer, Loops, UNITS, Work};
use clinpeft_tensor::{DType, Device, Element, Error, Result, Tensor};
use cubecl::bytes::Bytes;
use cubecl::device::DeviceId;
use cubecl::ir::DeviceProperties;
use cubecl::prelude::*;
use cubecl::server::Handle;
use cubecl::stream_id::StreamId;
use half::{bf16, f16};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Shared memory that the kernels of this crate need, in bytes.
const SHARED: usize = 28 << 10;

/// Bytes that the largest buffer must hold: some hundred tokens of a small vocabulary's logits.
const SMALLEST: u64 = 16 << 20;

/// Weights are uploaded once and stay; batches are ids, far smaller. So what is uploaded in larger pieces than this gets
/// memory of its own instead of a slice of the pool of activations.
const PERSISTENT: usize = 64 << 10;

/// A matrix that lies in several buffers is cut at multiples of so many rows: columns of logits then begin where every
/// device lets a buffer begin.
const ROWS_OF_A_PART: usize = 64;

/// A device of one CubeCL runtime. Only `dyn Backend` leaves this crate.
pub(crate) struct Client<R: Runtime> {
    name: Name,
    compute: ComputeClient<R>,
    /// All work goes to one stream, whichever thread asks: order and errors are then those of the whole device.
    stream: StreamId,
    watch: Watch,
    pub(crate) loops: Loops,
    pub(crate) health: Mutex<Health>,
    pub(crate) choices: Choices,
    /// Bytes of the largest buffer, where it is less than the device's own.
    limit: Option<u64>,
    /// One download at a time, so that the one that takes a late error is the one that acts on it.
    downloading: Mutex<()>,
    /// Downloads so far, without what trials read.
    pub(crate) downloads: AtomicU64,
    this: Weak<Client<R>>,
}

/// What went wrong on a device.
#[derive(Default)]
pub(crate) struct Health {
    /// Failures so far. A buffer of an earlier epoch may hold anything.
    epoch: u64,
    pub(crate) last_failure: String,
}

impl<R: Runtime> Client<R> {
    /// Opens a device and tries it. `id` names its thread, `connect` panics where it cannot be had.
    pub(crate) fn open(
        name: Name,
        id: DeviceId,
        loops: Loops,
        connect: impl FnOnce() -> ComputeClient<R>,
    ) -> Result<Arc<Client<R>>> {
        let client = Client::connect(name, id, loops, None, connect)?;
        client.trial()?;
        Ok(client)
    }

    /// The same without the trial, and with smaller buffers than the device's if a limit is given.
    pub(crate) fn connect(
        name: Name,
        id: DeviceId,
        loops: Loops,
        limit: Option<u64>,
        connect: impl FnOnce() -> ComputeClient<R>,
    ) -> Result<Arc<Client<R>>> {
        let watch = Watch::new(id.type_id, id.index_id);
        let compute = panics::caught(connect).map_err(|said| Error::Backend {
            device: name.to_string(),
            what: format!(
                "cannot be opened: {}\nhint: see that the driver fits the device",
                watch.take().unwrap_or(said)
            ),
        })?;
        let client = Arc::new_cyclic(|this| Client {
            name,
            compute,
            stream: StreamId::current(),
            watch,
            loops,
            health: Mutex::default(),
            choices: Choices::default(),
            limit,
            downloading: Mutex::default(),
            downloads: AtomicU64::new(0),
            this: this.clone(),
        });
        client.probe()?;
        Ok(client)
    }

    /// Checks that the kernels of this crate fit the device, before the first one is compiled.
    fn probe(&self) -> Result<()> {
        match lacking(self.compute.properties()) {
            Some(what) => Err(self.error(format!("the device lacks {what}\nhint: use `--device cpu`"))),
            None => Ok(()),
        }
    }

    /// A sum whose result is known: shows that kernels are compiled, run and read back.
    fn trial(&self) -> Result<()> {
        let failed = |why: String| {
            let what = why.split("\nhint: ").next().unwrap_or_default();
            self.error(format!(
                "a first small sum failed: {what}\nhint: see that the driver is whole (CUDA also needs NVRTC and the CUDA \
                 headers, found through CUDA_PATH)"
            ))
        };
        let values: Vec<f32> = (0..600).map(|i| i as f32).collect();
        let x = self.upload(&Tensor::from_vec(values, &[600])?)?;
        let sum = crate::ops::elementwise::add(self, &x, &x).and_then(|y| self.download(&y));
        let sum = sum.map_err(|e| failed(e.to_string()))?;
        let right = sum.as_slice::<f32>()?.iter().enumerate().all(|(i, y)| *y == 2.0 * i as f32);
        if right { Ok(()) } else { Err(failed("its numbers are wrong".into())) }
    }

    pub(crate) fn name(&self) -> String {
        self.name.to_string()
    }

    pub(crate) fn error(&self, what: String) -> Error {
        Error::Backend { device: self.name(), what }
    }

    pub(crate) fn device(&self) -> Device {
        Device::Other(self.this.upgrade().expect("a client is only reached through its Arc"))
    }

    /// Bytes of the largest tensor.
    pub(crate) fn largest(&self) -> u64 {
        let memory = &self.compute.properties().memory;
        let alignment = memory.alignment.max(1);
        let largest = self.limit.unwrap_or(memory.max_page_size);
        largest / alignment * alignment
    }

    /// Buffers that a kernel may bind.
    pub(crate) fn bindings(&self) -> usize {
        self.compute.properties().hardware.max_bindings as usize
    }

    /// What the device can do.
    pub(crate) fn limits(&self) -> Limits {
        let properties = self.compute.properties();
        let hardware = &properties.hardware;
        Limits {
            // CubeCL allows a page of a quarter of an NVIDIA card's memory; Vulkan does not tell.
            memory: (self.name.kind == Kind::Cuda).then_some(properties.memory.max_page_size * 4),
            buffer: self.largest(),
            shared_memory: hardware.max_shared_memory_size as u64,
            units: hardware.max_units_per_cube,
            tensor_cores: self.tensor_cores(),
        }
    }

    /// Whether the device has tensor cores for operands in bf16 and sums in f32.
    pub(crate) fn tensor_cores(&self) -> bool {
        let (short, float) = (bf16::cube_type(), f32::cube_type());
        let kinds = &self.compute.properties().features.matmul.cmma;
        kinds.iter().any(|k| k.a_type == short && k.b_type == short && k.cd_type == float)
    }

    /// Runs `body` on the device's stream.
    pub(crate) fn on_stream<T>(&self, body: impl FnOnce(&ComputeClient<R>) -> T) -> T {
        self.stream.executes(|| body(&self.compute))
    }

    /// Begins an operation. Errors if the device failed since the last one.
    pub(crate) fn begin(&self, op: &'static str) -> Result<Work<'_, R>> {
        let mut health = lock(&self.health);
        match self.watch.take() {
            Some(said) => Err(self.voided(&mut health, op, &said)),
            None => Ok(Work { client: self, op, epoch: health.epoch }),
        }
    }

    /// Whether `body` succeeds and the device has nothing to say of it. No other operation begins meanwhile.
    pub(crate) fn tried(&self, body: impl FnOnce(&ComputeClient<R>) -> bool) -> bool {
        let _no_other = lock(&self.health);
        let run = || self.on_stream(|compute| body(compute) && cubecl::future::block_on(compute.sync()).is_ok());
        let ran = panics::caught(run).unwrap_or(false);
        self.watch.take().is_none() && ran
    }

    /// Voids everything on the device, for what its thread or the caller said.
    pub(crate) fn failed(&self, op: &str, said: &str) -> Error {
        let mut health = lock(&self.health);
        let noted = self.watch.take();
        self.voided(&mut health, op, noted.as_deref().unwrap_or(said))
    }

    fn voided(&self, health: &mut Health, op: &str, said: &str) -> Error {
        let said = brief(said);
        let error = self.error(format!(
            "the device failed before or during {op}: {said}\nhint: if memory is short use a smaller batch; `--device cpu` \
             needs no device"
        ));
        health.epoch += 1;
        health.last_failure = said;
        error
    }

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
            let buffer = Buffer { parts: vec![handle], rows, epoch: work.epoch, ids };
            return Ok(work.tensor_in_parts(buffer, dtype, tensor.dims()));
        }
        let pieces = bytes.chunks(fitting * width * dtype.size()).map(|piece| self.create(&work, piece.to_vec()));
        let parts = pieces.collect::<Result<Vec<Handle>>>()?;
        let buffer = Buffer { parts, rows: fitting, epoch: work.epoch, ids: None };
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

    fn create(&self, work: &Work<'_, R>, mut bytes: Vec<u8>) -> Result<Handle> {
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

    /// Copies a tensor to the CPU; see [`Client::download_all`].
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

/// What a device would need to run the kernels of this crate.
fn lacking(properties: &DeviceProperties) -> Option<&'static str> {
    let hardware = &properties.hardware;
    let (x, y, z) = hardware.max_cube_count;
    let lacks = [
        (!properties.supports_type(f32::cube_type()), "32-bit floats"),
        (hardware.max_units_per_cube < UNITS, "256 units in a cube"),
        (hardware.max_cube_dim.0 < UNITS, "256 units along an axis of a cube"),
        (hardware.max_shared_memory_size < SHARED, "28 KiB of shared memory"),
        (x.min(y).min(z) < AXIS, "65535 cubes along an axis"),
        (hardware.max_bindings < 12, "twelve buffers in a kernel"),
        (properties.memory.max_page_size < SMALLEST, "buffers of 16 MiB"),
    ];
    lacks.iter().find(|(lacks, _)| *lacks).map(|(_, what)| *what)
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

/// One line of a failure: what CubeCL says, without its backtraces.
fn brief(said: &str) -> String {
    let lines = said.lines().map(str::trim).take_while(|l| !l.starts_with("Backtrace"));
    let line = lines.filter(|l| !l.is_empty()).collect::<Vec<_>>().join("; ");
    line.chars().take(400).collect()
}

#[cfg(all(test, feature = "vulkan"))]
mod on_a_device;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backtraces_are_left_out() {
        assert_eq!(brief("no memory\nCaused by:\n  x\nBacktrace:\n 0: main"), "no memory; Caused by:; x");
    }
}
