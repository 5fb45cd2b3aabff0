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
    downloads: Mutex<()>,
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
            downloads: Mutex::default(),
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
            DType::Bf16 => tensor.as_slice::<bf16>()?.iter().flat_map(|v| v.to_bits().to_ne_bytes()).collect(),
            DType::F16 => tensor.as_slice::<f16>()?.iter().flat_map(|v| v.to_bits().to_ne_bytes()).collect(),
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

    /// Copies a tensor to the CPU, once all work before it is done and was done without an error.
    pub(crate) fn download(&self, tensor: &Tensor) -> Result<Tensor> {
        let _one_at_a_time = lock(&self.downloads);
        let work = self.begin("download")?;
        if let Some(ids) = &work.buffer(tensor)?.ids {
            return Ok(ids.clone());
        }
        work.finish()?;
        let mut bytes = Vec::new();
        for part in &work.buffer(tensor)?.parts {
            let part = part.clone();
            let read = work.run(|compute| compute.read_one(part)).and_then(|late| work.accept(late))?;
            bytes.extend_from_slice(&read);
        }
        self.begin("download")?.buffer(tensor)?;
        match tensor.dtype() {
            DType::Bf16 => values(&bytes, tensor, |b| bf16::from_bits(u16::from_ne_bytes(b))),
            DType::F16 => values(&bytes, tensor, |b| f16::from_bits(u16::from_ne_bytes(b))),
            _ => values(&bytes, tensor, f32::from_ne_bytes),
        }
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

fn values<T: Element, const N: usize>(bytes: &[u8], tensor: &Tensor, value: fn([u8; N]) -> T) -> Result<Tensor> {
    let (words, _) = bytes.as_chunks::<N>();
    Tensor::from_vec(words.iter().take(tensor.count()).map(|w| value(*w)).collect(), tensor.dims())
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
    fn backtraces_are_left_out() {
        assert_eq!(brief("no memory\nCaused by:\n  x\nBacktrace:\n 0: main"), "no memory; Caused by:; x");
    }

    #[cfg(feature = "vulkan")]
    mod on_a_device {
        use super::*;
        use crate::ops::elementwise::{add, scale};
        use crate::vulkan::tests::alone;
        use crate::work::{ELEMENTS, Operand, grid};
        use clinpeft_tensor::ops::Layout;

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

        #[test]
        fn a_trial_that_fails_is_a_no_and_loses_nothing() {
            let (_alone, client) = alone();
            let kept = ones(&client);
            let work = client.begin("test").unwrap();
            let (_, y) = work.output(&[5]).unwrap();
            let one = CubeDim::new_1d(1);
            let launch = |kernel: &dyn Fn(&ComputeClient<_>)| {
                work.tried(|compute| {
                    kernel(compute);
                    true
                })
            };
            assert!(!launch(&|c| broken::launch(c, grid(1), one, y.array(), 8)).unwrap());
            assert!(!launch(&|c| fill::launch(c, grid(1), CubeDim::new_1d(1 << 16), y.array())).unwrap());
            assert!(launch(&|c| fill::launch(c, grid(1), CubeDim::new_1d(8), y.array())).unwrap());
            assert!(!work.tried(|_| false).unwrap());
            assert_eq!(client.download(&kept).unwrap().as_slice::<f32>().unwrap(), [1.0; 5]);
        }

        /// How CubeCL says that memory could not be had: a handle that stays empty.
        #[test]
        fn an_allocation_that_failed_never_gives_numbers() {
            let (_alone, client) = alone();
            nothing_survives(&client, |work, y| {
                let empty = work.unreserved(5);
                work.run(|c| fill::launch(c, grid(1), CubeDim::new_1d(8), empty.array())).unwrap();
                work.run(|c| fill::launch(c, grid(1), CubeDim::new_1d(8), y.array())).unwrap();
            });
        }

        /// What the device's thread says when the device is gone.
        #[test]
        fn a_lost_device_never_gives_numbers() {
            let (_alone, client) = alone();
            nothing_survives(&client, |work, _| {
                let thread = std::thread::Builder::new().name(work.client.watch.thread_name());
                assert!(thread.spawn(|| panic!("device lost")).unwrap().join().is_err());
            });
        }

        /// A client with buffers of 64 KiB at most.
        fn cramped() -> Arc<Client<cubecl::wgpu::WgpuRuntime>> {
            crate::vulkan::tests::with_limit(64 << 10)
        }

        fn random(name: &str, dims: &[usize]) -> Tensor {
            use clinpeft_tensor::rng::{Seed, normal};
            let mut stream = Seed(4).stream(name);
            let values: Vec<f32> = (0..dims.iter().product()).map(|_| normal(&mut stream) as f32).collect();
            Tensor::from_vec(values, dims).unwrap()
        }

        fn assert_close(got: &Tensor, want: &Tensor) {
            let (got, want) = (got.to_f64_vec().unwrap(), want.to_f64_vec().unwrap());
            let scale = want.iter().fold(0.0f64, |m, x| m.max(x.abs()));
            assert!(got.iter().zip(&want).all(|(g, w)| (g - w).abs() <= 2e-5 * scale) && got.len() == want.len());
        }

        #[test]
        fn table_and_head_above_the_largest_buffer_lie_in_several() {
            let (_alone, client) = (alone().0, cramped());
            for dtype in [DType::F32, DType::Bf16] {
                let table = random("table", &[1501, 32]).cast(dtype).unwrap();
                let there = client.upload(&table).unwrap();
                assert!(there.buffer::<Buffer>().unwrap().parts.len() > 1);
                assert_eq!(client.download(&there).unwrap().to_f64_vec().unwrap(), table.to_f64_vec().unwrap());
                let ids = Tensor::from_vec(vec![0u32, 1500, 511, 512, 513, 1024], &[6]).unwrap();
                let on_ids = client.upload(&ids).unwrap();
                let got = crate::ops::embedding::embedding(&client, &there, &on_ids).unwrap();
                let want = clinpeft_tensor::ops::embedding(&table, &ids).unwrap();
                assert_eq!(client.download(&got).unwrap().to_f64_vec().unwrap(), want.to_f64_vec().unwrap());

                let (x, weights) = (random("x", &[6, 32]), random("weights", &[6]));
                let (on_x, on_weights) = (client.upload(&x).unwrap(), client.upload(&weights).unwrap());
                let ask = [true, false];
                let want = clinpeft_tensor::ops::linear_cross_entropy(&x, &table, &ids, &weights, ask).unwrap();
                let ce = crate::ops::cross_entropy::linear_cross_entropy;
                let got = ce(&client, &on_x, &there, &on_ids, &on_weights, ask).unwrap();
                assert_close(&got.0, &want.0);
                assert_close(&got.1.unwrap(), &want.1.unwrap());
                // The gradient of such a head would not fit.
                let said = ce(&client, &on_x, &there, &on_ids, &on_weights, [true, true]).unwrap_err().to_string();
                assert!(said.contains("too large") && said.contains("\nhint: "), "{said}");
                let said = crate::ops::matmul::matmul(&client, &on_x, &there, Layout::RightTransposed);
                let said = said.unwrap_err().to_string();
                assert!(said.contains("buffers") && said.contains("\nhint: "), "{said}");
            }
        }

        #[test]
        fn a_device_that_lacks_something_is_refused_by_name() {
            let (_alone, client) = alone();
            let fine = client.compute.properties().clone();
            assert_eq!(lacking(&fine), None);
            let less = |change: fn(&mut DeviceProperties)| {
                let mut properties = fine.clone();
                change(&mut properties);
                lacking(&properties).unwrap_or_default()
            };
            assert_eq!(less(|p| p.hardware.max_units_per_cube = 128), "256 units in a cube");
            assert_eq!(less(|p| p.hardware.max_shared_memory_size = 16 << 10), "28 KiB of shared memory");
            assert_eq!(less(|p| p.hardware.max_bindings = 8), "twelve buffers in a kernel");
            assert_eq!(less(|p| p.hardware.max_cube_count.2 = 64), "65535 cubes along an axis");
            assert_eq!(less(|p| p.memory.max_page_size = 1 << 20), "buffers of 16 MiB");
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
