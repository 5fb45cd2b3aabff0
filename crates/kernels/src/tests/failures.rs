//! What becomes of failures, limits and large tensors on a Vulkan device.

#![allow(clippy::unwrap_used, reason = "tests")]

use crate::context::{DeviceContext, lacking};
use crate::launch::{Buffer, ELEMENTS, Launch, Operand, grid};
use crate::ops::elementwise::{add, scale};
use crate::vulkan::tests::alone;
use clinpeft_tensor::ops::Layout;
use clinpeft_tensor::{DType, Tensor};
use cubecl::ir::DeviceProperties;
use cubecl::prelude::*;
use std::sync::Arc;

/// Cannot be compiled: a number that is known when the kernel is compiled is not a variable.
#[cube(launch)]
fn broken(x: &mut Array<f32>, #[comptime] units: u32) {
    let mut half = units / 2;
    half /= 2;
    x[0] = f32::cast_from(half);
}

fn ones<R: Runtime>(client: &DeviceContext<R>) -> Tensor {
    let ones = Tensor::from_vec(vec![1.0f32; 5], &[5]).unwrap();
    client.upload(&ones).unwrap()
}

/// `fail` launches what fails on `client`. Nothing that was there may be read afterwards; new work is well.
fn nothing_survives<R: Runtime>(client: &DeviceContext<R>, fail: impl FnOnce(&Launch<'_, R>, Operand)) {
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
fn an_attempt_that_fails_is_false_and_loses_nothing() {
    let (_alone, client) = alone();
    let kept = ones(&client);
    let work = client.begin("test").unwrap();
    let (_, y) = work.output(&[5]).unwrap();
    let one = CubeDim::new_1d(1);
    let launch = |kernel: &dyn Fn(&ComputeClient<_>)| {
        work.attempt(|compute| {
            kernel(compute);
            true
        })
    };
    assert!(!launch(&|c| broken::launch(c, grid(1), one, y.array(), 8)).unwrap());
    assert!(!launch(&|c| fill::launch(c, grid(1), CubeDim::new_1d(1 << 16), y.array())).unwrap());
    assert!(launch(&|c| fill::launch(c, grid(1), CubeDim::new_1d(8), y.array())).unwrap());
    assert!(!work.attempt(|_| false).unwrap());
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
        let thread = std::thread::Builder::new().name(work.device.watch.thread_name());
        assert!(thread.spawn(|| panic!("device lost")).unwrap().join().is_err());
    });
}

/// A client with buffers of 64 KiB at most.
fn cramped() -> Arc<DeviceContext<cubecl::wgpu::WgpuRuntime>> {
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
        work.run(|c| fill::launch(c, grid(largest.div_ceil(256)), CubeDim::new_1d(256), operand.array())).unwrap();
        let all = client.download(&all).unwrap();
        assert!(all.as_slice::<f32>().unwrap().iter().all(|v| *v == 1.0));
    }
}
