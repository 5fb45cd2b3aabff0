//! NVIDIA devices, through CUDA. Kernels are compiled on the machine that runs them, by NVRTC.

use crate::device::DeviceBackend;
use crate::launch::LoopBudget;
use crate::name::Name;
use crate::{panics, selftest};
use clinpeft_tensor::Result;
use cubecl::Runtime;
use cubecl::cuda::{CudaDevice, CudaRuntime};
use cubecl::device::Device as _;
use std::sync::Arc;

/// What the devices are called.
pub(crate) fn adapters() -> Result<Vec<String>, String> {
    // Without a driver the library panics where it is loaded.
    let count = panics::caught(|| CudaRuntime::enumerate_devices(0, &()).len()).unwrap_or(0);
    if count == 0 {
        return Err(
            "no CUDA driver or no NVIDIA device was found\nhint: `nvidia-smi` should list one; CUDA also needs \
                    NVRTC and the CUDA headers (CUDA_PATH)"
                .into(),
        );
    }
    Ok((0..count).map(|i| format!("NVIDIA device {i}")).collect())
}

/// Opens the device with the number of `wanted`.
pub(crate) fn open(wanted: Name) -> Result<Arc<dyn DeviceBackend>> {
    let device = CudaDevice { index: wanted.index };
    Ok(selftest::open(wanted, device.to_id(), LoopBudget::Unlimited, || CudaRuntime::client(&device))?)
}
