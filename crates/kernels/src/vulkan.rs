//! Vulkan devices, through wgpu, with kernels in SPIR-V.

use crate::context::DeviceContext;
use crate::device::DeviceBackend;
use crate::launch::LoopBudget;
use crate::name::Name;
use crate::{panics, selftest};
use clinpeft_tensor::{Error, Result};
use cubecl::Runtime;
use cubecl::device::Device as _;
use cubecl::wgpu::{WgpuDevice, WgpuRuntime};
use std::sync::{Arc, OnceLock};
use wgpu::DeviceType;

const NO_DRIVER: &str = "no Vulkan driver was found\nhint: install the driver of the graphics card; without a card, the \
                         software driver does (Debian, Ubuntu: `apt-get install mesa-vulkan-drivers libvulkan1`)";

/// An adapter with the name by which CubeCL opens it.
struct Adapter {
    device: WgpuDevice,
    what: String,
}

/// What the adapters are called, in the order of their numbers: real cards first.
pub(crate) fn adapters() -> Result<Vec<String>, String> {
    Ok(list()?.iter().map(|a| a.what.clone()).collect())
}

/// Opens the adapter with the number of `wanted`.
pub(crate) fn open(wanted: Name) -> Result<Arc<dyn DeviceBackend>> {
    Ok(client(wanted)?)
}

fn client(wanted: Name) -> Result<Arc<DeviceContext<WgpuRuntime>>> {
    let missing = |what| Error::Backend { device: wanted.to_string(), what };
    let adapter = list().map_err(missing)?.get(wanted.index);
    let device = &adapter.ok_or_else(|| missing(NO_DRIVER.into()))?.device;
    let loops = if matches!(device, WgpuDevice::Cpu) { LoopBudget::Limited } else { LoopBudget::Unlimited };
    selftest::open(wanted, device.to_id(), loops, || WgpuRuntime::client(device))
}

/// All adapters that CubeCL can open; at least one. Drivers are asked once.
fn list() -> Result<&'static [Adapter], String> {
    static ALL: OnceLock<Result<Vec<Adapter>, String>> = OnceLock::new();
    ALL.get_or_init(ask).as_deref().map_err(Clone::clone)
}

fn ask() -> Result<Vec<Adapter>, String> {
    let found = panics::caught(|| {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: wgpu::Backends::VULKAN,
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let adapters = cubecl::future::block_on(instance.enumerate_adapters(wgpu::Backends::VULKAN));
        adapters.iter().map(wgpu::Adapter::get_info).collect::<Vec<_>>()
    });
    let found = found.map_err(|said| format!("{NO_DRIVER} ({said})"))?;
    let mut all = Vec::new();
    // CubeCL counts the adapters of each type apart, and knows one CPU only.
    for (kind, name) in [
        (DeviceType::DiscreteGpu, WgpuDevice::DiscreteGpu as fn(usize) -> WgpuDevice),
        (DeviceType::IntegratedGpu, WgpuDevice::IntegratedGpu),
        (DeviceType::VirtualGpu, WgpuDevice::VirtualGpu),
    ] {
        let of_kind = found.iter().filter(|info| info.device_type == kind);
        all.extend(of_kind.enumerate().map(|(i, info)| adapter(name(i), info)));
    }
    let software = found.iter().find(|info| info.device_type == DeviceType::Cpu);
    all.extend(software.map(|info| adapter(WgpuDevice::Cpu, info)));
    if all.is_empty() {
        return Err(NO_DRIVER.into());
    }
    Ok(all)
}

fn adapter(device: WgpuDevice, info: &wgpu::AdapterInfo) -> Adapter {
    let what = format!("{}, driver {} {}", info.name, info.driver, info.driver_info);
    Adapter { device, what: what.trim_end().into() }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    /// A client of the first adapter with smaller buffers than it has.
    pub(crate) fn with_limit(bytes: u64) -> Arc<DeviceContext<WgpuRuntime>> {
        let (name, device) = (Name { library: "vulkan", index: 0 }, &list().unwrap()[0].device);
        let connect = || WgpuRuntime::client(device);
        DeviceContext::connect(name, device.to_id(), LoopBudget::Limited, Some(bytes), connect)
            .unwrap_or_else(|e| panic!("{e}"))
    }

    /// A client of its own on the first adapter. One test at a time: some of them make the device fail.
    pub(crate) fn alone() -> (MutexGuard<'static, ()>, Arc<DeviceContext<WgpuRuntime>>) {
        static ALONE: Mutex<()> = Mutex::new(());
        let guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let first = Name { library: "vulkan", index: 0 };
        (guard, client(first).unwrap_or_else(|e| panic!("{e}")))
    }
}
