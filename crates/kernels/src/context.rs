//! One device: its memory, its stream of work, its failures.

use crate::autotune::AutotuneCache;
use crate::limits::Limits;
use crate::name::Name;
use crate::panics::{self, Watch};
use clinpeft_tensor::{Device, Error, Result};
use cubecl::device::DeviceId;
use cubecl::ir::DeviceProperties;
use cubecl::prelude::*;
use cubecl::stream_id::StreamId;
use half::bf16;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Shared memory that the kernels of this crate need, in bytes.
const SHARED: usize = 28 << 10;

/// Bytes that the largest buffer must hold: some hundred tokens of a small vocabulary's logits.
const SMALLEST: u64 = 16 << 20;

/// Units of a cube in the kernels of this crate.
pub(crate) const UNITS: u32 = 256;

/// Cubes along one axis of a grid, on every device.
pub(crate) const AXIS: u32 = 65_535;

/// How long a kernel may loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoopBudget {
    /// As long as it takes.
    Unlimited,
    /// Mesa's software driver silently ends the loops of a unit after [`LAVAPIPE_LOOP_LIMIT`] iterations in all.
    #[cfg_attr(not(feature = "vulkan"), expect(dead_code, reason = "CUDA has no software driver"))]
    Limited,
}

/// See [`LoopBudget::Limited`].
pub(crate) const LAVAPIPE_LOOP_LIMIT: usize = 65_535;

/// Terms of the longest sum where loops are limited: the kernels of this crate take 16 or more per iteration, and may need one
/// iteration to find the end.
pub(crate) const LONGEST_SUM: usize = (LAVAPIPE_LOOP_LIMIT - 1) * 16;

/// A device of one CubeCL runtime. Only `dyn Backend` leaves this crate.
pub(crate) struct DeviceContext<R: Runtime> {
    pub(crate) name: Name,
    pub(crate) compute: ComputeClient<R>,
    /// All work goes to one stream, whichever thread asks: order and errors are then those of the whole device.
    stream: StreamId,
    pub(crate) watch: Watch,
    pub(crate) loops: LoopBudget,
    pub(crate) health: Mutex<Health>,
    pub(crate) autotune: AutotuneCache,
    /// Bytes of the largest buffer, where it is less than the device's own.
    limit: Option<u64>,
    /// One download at a time, so that the one that takes a late error is the one that acts on it.
    pub(crate) downloading: Mutex<()>,
    /// Device-to-host copies so far, without those of autotuning.
    pub(crate) downloads: AtomicU64,
    this: Weak<DeviceContext<R>>,
}

/// What went wrong on a device.
#[derive(Default)]
pub(crate) struct Health {
    /// Failures so far. A buffer of an earlier generation may hold anything.
    pub(crate) generation: u64,
    pub(crate) last_failure: String,
}

impl<R: Runtime> DeviceContext<R> {
    /// Opens a device without its self-test. `id` names its thread, `connect` panics where it cannot be had; a `limit` makes buffers smaller
    /// than the device's.
    pub(crate) fn connect(
        name: Name,
        id: DeviceId,
        loops: LoopBudget,
        limit: Option<u64>,
        connect: impl FnOnce() -> ComputeClient<R>,
    ) -> Result<Arc<DeviceContext<R>>> {
        let watch = Watch::new(id.type_id, id.index_id);
        let compute = panics::caught(connect).map_err(|said| Error::Backend {
            device: name.to_string(),
            what: format!(
                "cannot be opened: {}\nhint: see that the driver fits the device",
                watch.take().unwrap_or(said)
            ),
        })?;
        let device = Arc::new_cyclic(|this| DeviceContext {
            name,
            compute,
            stream: StreamId::current(),
            watch,
            loops,
            health: Mutex::default(),
            autotune: AutotuneCache::default(),
            limit,
            downloading: Mutex::default(),
            downloads: AtomicU64::new(0),
            this: this.clone(),
        });
        device.probe()?;
        Ok(device)
    }

    /// Checks that the kernels of this crate fit the device, before the first one is compiled.
    fn probe(&self) -> Result<()> {
        match lacking(self.compute.properties()) {
            Some(what) => Err(self.error(format!("the device lacks {what}\nhint: use `--device cpu`"))),
            None => Ok(()),
        }
    }

    pub(crate) fn name(&self) -> String {
        self.name.to_string()
    }

    pub(crate) fn error(&self, what: String) -> Error {
        Error::Backend { device: self.name(), what }
    }

    pub(crate) fn device(&self) -> Device {
        Device::Other(self.this.upgrade().expect("a device is only reached through its Arc"))
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
            memory: (self.name.library == "cuda").then_some(properties.memory.max_page_size * 4),
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

    /// Whether `body` succeeds and the device has nothing to say of it. No other operation begins meanwhile.
    pub(crate) fn attempt(&self, body: impl FnOnce(&ComputeClient<R>) -> bool) -> bool {
        let _no_other = lock(&self.health);
        let run = || self.on_stream(|compute| body(compute) && cubecl::future::block_on(compute.sync()).is_ok());
        let ran = panics::caught(run).unwrap_or(false);
        self.watch.take().is_none() && ran
    }

    /// Poisons everything on the device, for what its thread or the caller said.
    pub(crate) fn failed(&self, op: &str, said: &str) -> Error {
        let mut health = lock(&self.health);
        let noted = self.watch.take();
        self.poisoned(&mut health, op, noted.as_deref().unwrap_or(said))
    }

    pub(crate) fn poisoned(&self, health: &mut Health, op: &str, said: &str) -> Error {
        let said = brief(said);
        let error = self.error(format!(
            "the device failed before or during {op}: {said}\nhint: if memory is short use a smaller batch; `--device cpu` \
             needs no device"
        ));
        health.generation += 1;
        health.last_failure = said;
        error
    }
}

/// What a device would need to run the kernels of this crate.
pub(crate) fn lacking(properties: &DeviceProperties) -> Option<&'static str> {
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
}
