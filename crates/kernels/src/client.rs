//! One device: its memory, its stream of work, its failures.

use crate::name::Name;
use crate::panics::{self, Watch};
use clinpeft_tensor::{DType, Device, Element, Error, Result, Tensor};
use cubecl::bytes::Bytes;
use cubecl::device::DeviceId;
use cubecl::prelude::*;
use cubecl::server::{Handle, ServerError};
use cubecl::stream_id::StreamId;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Units of a cube in the kernels of this crate.
pub(crate) const UNITS: u32 = 256;

/// Cubes along one axis of a grid, on every device.
const AXIS: u32 = 65_535;

/// Shared memory that the kernels of this crate need, in bytes.
const SHARED: usize = 16 << 10;

/// Elements of a tensor: positions are 32-bit in the kernels, and a folded grid may be twice as large as needed.
const ELEMENTS: usize = i32::MAX as usize;

/// How long a kernel may loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loops {
    /// As long as it takes.
    Free,
    /// Mesa's software driver ends the loops of a unit, without a word, after [`TURNS`] turns in all.
    #[cfg_attr(not(feature = "vulkan"), expect(dead_code, reason = "CUDA has no software driver"))]
    Counted,
}

/// See [`Loops::Counted`].
pub(crate) const TURNS: usize = 65_535;

/// Terms of the longest sum where loops are counted: the kernels of this crate take 16 and more in a turn.
pub(crate) const LONGEST_SUM: usize = TURNS * 16;

/// A device of one CubeCL runtime. Only `dyn Backend` leaves this crate.
pub(crate) struct Client<R: Runtime> {
    name: Name,
    compute: ComputeClient<R>,
    /// All work goes to one stream, whichever thread asks: order and errors are then those of the whole device.
    stream: StreamId,
    watch: Watch,
    pub(crate) loops: Loops,
    health: Mutex<Health>,
    /// One download at a time, so that the one that takes a late error is the one that acts on it.
    downloads: Mutex<()>,
    this: Weak<Client<R>>,
}

#[derive(Default)]
struct Health {
    /// Failures so far. A buffer of an earlier epoch may hold anything.
    epoch: u64,
    last_failure: String,
}

/// Values on a device.
struct Buffer {
    handle: Handle,
    epoch: u64,
}

/// An operand of a kernel: a handle to `count` values of four bytes.
#[derive(Debug, Clone)]
pub(crate) struct Operand {
    handle: Handle,
    count: usize,
}

/// One operation. What it makes is as old as its beginning, so a failure that another thread learns of in between voids it.
pub(crate) struct Work<'a, R: Runtime> {
    client: &'a Client<R>,
    op: &'static str,
    epoch: u64,
}

impl<R: Runtime> Client<R> {
    /// Opens a device and tries it. `id` names its thread, `connect` panics where it cannot be had.
    pub(crate) fn open(
        name: Name,
        id: DeviceId,
        loops: Loops,
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
            downloads: Mutex::default(),
            this: this.clone(),
        });
        client.probe()?;
        client.trial()?;
        Ok(client)
    }

    /// Checks that the kernels of this crate fit the device, before the first one is compiled.
    fn probe(&self) -> Result<()> {
        let properties = self.compute.properties();
        let hardware = &properties.hardware;
        let (x, y, z) = hardware.max_cube_count;
        let lacks = [
            (!properties.supports_type(f32::cube_type()), "32-bit floats"),
            (hardware.max_units_per_cube < UNITS, "256 units in a cube"),
            (hardware.max_cube_dim.0 < UNITS, "256 units along an axis of a cube"),
            (hardware.max_shared_memory_size < SHARED, "16 KiB of shared memory"),
            (x.min(y).min(z) < AXIS, "65535 cubes along an axis"),
            (hardware.max_bindings < 6, "six buffers in a kernel"),
        ];
        match lacks.iter().find(|(lacks, _)| *lacks) {
            Some((_, what)) => Err(self.error(format!("the device lacks {what}\nhint: use `--device cpu`"))),
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

    fn device(&self) -> Device {
        Device::Other(self.this.upgrade().expect("a client is only reached through its Arc"))
    }

    /// Bytes of the largest tensor.
    pub(crate) fn largest(&self) -> u64 {
        let memory = &self.compute.properties().memory;
        let alignment = memory.alignment.max(1);
        memory.max_page_size / alignment * alignment
    }

    /// Begins an operation. Errors if the device failed since the last one.
    pub(crate) fn begin(&self, op: &'static str) -> Result<Work<'_, R>> {
        let mut health = lock(&self.health);
        match self.watch.take() {
            Some(said) => Err(self.failed(&mut health, op, &said)),
            None => Ok(Work { client: self, op, epoch: health.epoch }),
        }
    }

    /// Voids everything on the device.
    fn failed(&self, health: &mut Health, op: &str, said: &str) -> Error {
        let said = brief(said);
        let error = self.error(format!(
            "the device failed before or during {op}: {said}\nhint: if memory is short use a smaller batch; `--device cpu` \
             needs no device"
        ));
        health.epoch += 1;
        health.last_failure = said;
        error
    }

    /// Copies a CPU tensor to the device.
    pub(crate) fn upload(&self, tensor: &Tensor) -> Result<Tensor> {
        let work = self.begin("upload")?;
        work.size(tensor.dims(), tensor.dtype())?;
        let mut bytes = match tensor.dtype() {
            DType::F32 => f32::as_bytes(tensor.as_slice()?).to_vec(),
            DType::U32 => u32::as_bytes(tensor.as_slice()?).to_vec(),
            got => {
                return Err(Error::DType { op: work.op, expected: format!("F32 or U32 for `{}`", self.name), got });
            }
        };
        // A buffer of no bytes cannot be bound to a kernel.
        bytes.resize(bytes.len().max(tensor.dtype().size()), 0);
        let handle = work.run(|compute| compute.create(Bytes::from_bytes_vec(bytes)))?;
        Ok(work.tensor(handle, tensor.dtype(), tensor.dims()))
    }

    /// Copies a tensor to the CPU, once all work before it is done and was done without an error.
    pub(crate) fn download(&self, tensor: &Tensor) -> Result<Tensor> {
        let _one_at_a_time = lock(&self.downloads);
        let work = self.begin("download")?;
        let handle = work.buffer(tensor)?;
        work.run(|compute| cubecl::future::block_on(compute.sync())).and_then(|late| work.accept(late))?;
        let bytes = work.run(|compute| compute.read_one(handle)).and_then(|late| work.accept(late))?;
        self.begin("download")?.buffer(tensor)?;
        match tensor.dtype() {
            DType::U32 => values(&bytes, tensor, u32::from_ne_bytes),
            _ => values(&bytes, tensor, f32::from_ne_bytes),
        }
    }
}

impl<R: Runtime> Work<'_, R> {
    /// Runs `body` on the device's stream. A panic in it is an error, and voids everything on the device.
    pub(crate) fn run<T>(&self, body: impl FnOnce(&ComputeClient<R>) -> T) -> Result<T> {
        let client = self.client;
        panics::caught(|| client.stream.executes(|| body(&client.compute))).map_err(|said| {
            let mut health = lock(&client.health);
            let said = client.watch.take().unwrap_or(said);
            client.failed(&mut health, self.op, &said)
        })
    }

    /// Takes what the device says late.
    fn accept<T>(&self, late: Result<T, ServerError>) -> Result<T> {
        late.map_err(|e| self.client.failed(&mut lock(&self.client.health), self.op, &e.to_string()))
    }

    /// Bytes of a tensor. Too large a size is an error here, since the device would say so late.
    fn size(&self, dims: &[usize], dtype: DType) -> Result<usize> {
        let count = dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        let bytes = count.filter(|n| *n <= ELEMENTS).map(|n| n * dtype.size());
        let largest = self.client.largest();
        bytes.filter(|n| *n as u64 <= largest).ok_or_else(|| {
            self.client.error(format!(
                "{}: a tensor {dims:?} of {dtype:?} is too large for one buffer of {largest} bytes or {ELEMENTS} elements\n\
                 hint: use a smaller batch, or `--device cpu`",
                self.op
            ))
        })
    }

    /// Errors if a kernel could not go through so many terms.
    pub(crate) fn can_sum(&self, terms: usize) -> Result<()> {
        if self.client.loops == Loops::Free || terms <= LONGEST_SUM {
            return Ok(());
        }
        Err(self.client.error(format!(
            "{}: sums of {terms} terms are too long, {LONGEST_SUM} is the limit\nhint: use `--device cpu`",
            self.op
        )))
    }

    /// The handle of a tensor of this device whose values were not lost.
    fn buffer(&self, tensor: &Tensor) -> Result<Handle> {
        let buffer = tensor.buffer::<Buffer>().ok_or_else(|| Error::Device {
            op: self.op,
            left: tensor.device().name(),
            right: self.client.name(),
        })?;
        if buffer.epoch == self.epoch {
            return Ok(buffer.handle.clone());
        }
        let failure = lock(&self.client.health).last_failure.clone();
        Err(self.client.error(format!(
            "{}: the values were lost when the device failed ({failure})\nhint: start again from the last checkpoint",
            self.op
        )))
    }

    /// An f32 tensor to read.
    pub(crate) fn input(&self, tensor: &Tensor) -> Result<Operand> {
        if tensor.dtype() != DType::F32 {
            return Err(Error::DType {
                op: self.op,
                expected: format!("F32 on `{}`", self.client.name),
                got: tensor.dtype(),
            });
        }
        let handle = self.buffer(tensor)?;
        Ok(Operand { handle, count: tensor.count() })
    }

    /// A new f32 tensor for a kernel to fill.
    pub(crate) fn output(&self, dims: &[usize]) -> Result<(Tensor, Operand)> {
        let bytes = self.size(dims, DType::F32)?;
        let handle = self.run(|compute| compute.empty(bytes.max(DType::F32.size())))?;
        let operand = Operand { handle: handle.clone(), count: bytes / DType::F32.size() };
        Ok((self.tensor(handle, DType::F32, dims), operand))
    }

    fn tensor(&self, handle: Handle, dtype: DType, dims: &[usize]) -> Tensor {
        let buffer = Buffer { handle, epoch: self.epoch };
        Tensor::on_device(self.client.device(), dtype, dims, Arc::new(buffer))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn values<T: Element>(bytes: &[u8], tensor: &Tensor, value: fn([u8; 4]) -> T) -> Result<Tensor> {
    let (words, _) = bytes.as_chunks::<4>();
    Tensor::from_vec(words.iter().take(tensor.count()).map(|w| value(*w)).collect(), tensor.dims())
}

impl Operand {
    /// As the argument of a kernel.
    #[expect(unsafe_code, reason = "CubeCL trusts the length that it is given")]
    pub(crate) fn array<R: Runtime>(&self) -> ArrayArg<R> {
        // SAFETY: `count` values of four bytes were reserved for the handle when the tensor was made.
        unsafe { ArrayArg::from_raw_parts(self.handle.clone(), self.count) }
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

/// One line of a failure: what CubeCL says, without its backtraces.
fn brief(said: &str) -> String {
    let lines = said.lines().map(str::trim).take_while(|l| !l.starts_with("Backtrace"));
    let line = lines.filter(|l| !l.is_empty()).collect::<Vec<_>>().join("; ");
    line.chars().take(400).collect()
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

    #[test]
    fn backtraces_are_left_out() {
        assert_eq!(brief("no memory\nCaused by:\n  x\nBacktrace:\n 0: main"), "no memory; Caused by:; x");
    }

    #[cfg(feature = "vulkan")]
    mod on_a_device {
        use super::*;
        use crate::ops::elementwise::{add, scale};
        use crate::vulkan::tests::alone;

        /// Cannot be compiled: a number that is known when the kernel is compiled is not a variable.
        #[cube(launch)]
        fn broken(x: &mut Array<f32>, #[comptime] units: u32) {
            let mut half = units / 2;
            half /= 2;
            x[0] = f32::cast_from(half);
        }

        fn ones<R: Runtime>(client: &Client<R>) -> Tensor {
            let ones = Tensor::from_vec(vec![1.0f32; 5], &[5]).unwrap();
            client.upload(&ones).unwrap()
        }

        /// `fail` launches what fails on `client`. Nothing that was there may be read afterwards; new work is well.
        fn nothing_survives<R: Runtime>(client: &Client<R>, fail: impl FnOnce(&Work<'_, R>, Operand)) {
            let before = ones(client);
            let work = client.begin("test").unwrap();
            let (made, operand) = work.output(&[5]).unwrap();
            fail(&work, operand);
            let said = client.download(&made).unwrap_err().to_string();
            assert!(said.contains("the device failed") && said.contains("\nhint: "), "{said}");
            for lost in [&before, &made] {
                for said in [client.download(lost), add(client, lost, lost)] {
                    let said = said.unwrap_err().to_string();
                    assert!(said.contains("lost") && said.contains("\nhint: "), "{said}");
                }
            }
            let twice = client.download(&scale(client, &ones(client), 2.0).unwrap()).unwrap();
            assert_eq!(twice.as_slice::<f32>().unwrap(), [2.0; 5]);
        }

        #[test]
        fn a_kernel_that_does_not_compile_never_gives_numbers() {
            let (_alone, client) = alone();
            nothing_survives(&client, |work, y| {
                let launch = |c: &ComputeClient<_>| broken::launch(c, grid(1), CubeDim::new_1d(1), y.array(), 8);
                work.run(launch).unwrap();
            });
        }

        #[test]
        fn a_cube_too_large_for_the_device_never_gives_numbers() {
            let (_alone, client) = alone();
            nothing_survives(&client, |work, y| {
                let launch = |c: &ComputeClient<_>| fill::launch(c, grid(1), CubeDim::new_1d(1 << 16), y.array());
                work.run(launch).unwrap();
            });
        }

        #[cube(launch)]
        fn fill(y: &mut Array<f32>) {
            if ABSOLUTE_POS < y.len() {
                y[ABSOLUTE_POS] = 1.0;
            }
        }

        #[test]
        fn the_largest_tensor_fits_and_a_larger_one_is_an_error() {
            let (_alone, client) = alone();
            let largest = (client.largest() / 4).min(ELEMENTS as u64) as usize;
            let work = client.begin("test").unwrap();
            let said = work.output(&[largest + 1]).unwrap_err().to_string();
            assert!(said.contains("too large") && said.contains("\nhint: "), "{said}");
            assert!(work.output(&[usize::MAX, 2]).is_err());
            // On a card this may be much memory; the software driver allows 128 MiB.
            if largest <= 1 << 26 {
                let (all, operand) = work.output(&[largest]).unwrap();
                work.run(|c| fill::launch(c, grid(largest.div_ceil(256)), CubeDim::new_1d(256), operand.array()))
                    .unwrap();
                let all = client.download(&all).unwrap();
                assert!(all.as_slice::<f32>().unwrap().iter().all(|v| *v == 1.0));
            }
        }
    }
}
