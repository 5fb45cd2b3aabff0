//! The self-test of a device that is opened.

use crate::context::{DeviceContext, LoopBudget};
use crate::name::Name;
use crate::ops::elementwise::add;
use clinpeft_tensor::{Result, Tensor};
use cubecl::device::DeviceId;
use cubecl::prelude::*;
use std::sync::Arc;

/// Opens a device and tests it. `id` names its thread, `connect` panics where it cannot be had.
pub(crate) fn open<R: Runtime>(
    name: Name,
    id: DeviceId,
    loops: LoopBudget,
    connect: impl FnOnce() -> ComputeClient<R>,
) -> Result<Arc<DeviceContext<R>>> {
    let device = DeviceContext::connect(name, id, loops, None, connect)?;
    run(&device)?;
    Ok(device)
}

/// A sum whose result is known: shows that kernels are compiled, run and read back.
fn run<R: Runtime>(device: &DeviceContext<R>) -> Result<()> {
    let failed = |why: String| {
        let what = why.split("\nhint: ").next().unwrap_or_default();
        device.error(format!(
            "device self-test failed: {what}\nhint: check the driver install (CUDA also needs NVRTC and the CUDA \
             headers, found through CUDA_PATH)"
        ))
    };
    let values: Vec<f32> = (0..600).map(|i| i as f32).collect();
    let x = device.upload(&Tensor::from_vec(values, &[600])?)?;
    let sum = add(device, &x, &x).and_then(|y| device.download(&y));
    let sum = sum.map_err(|e| failed(e.to_string()))?;
    let right = sum.as_slice::<f32>()?.iter().enumerate().all(|(i, y)| *y == 2.0 * i as f32);
    if right { Ok(()) } else { Err(failed("its numbers are wrong".into())) }
}
