//! A Vulkan device against the contract. Without a driver these tests fail and say what to install.
#![cfg(feature = "vulkan")]

use clinpeft_autodiff::{Var, backward, ops as learn};
use clinpeft_kernels::{devices, open};
use clinpeft_tensor::ops::{self, Layout};
use clinpeft_tensor::rng::{Seed, normal};
use clinpeft_tensor::{DType, Device, Error, Tensor, conformance};

fn device() -> Device {
    open("vulkan").unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn operations_agree_with_the_cpu() {
    let outcomes = conformance::check(&device(), &["matmul", "rms_norm", "elementwise"]);
    let bad: Vec<_> = outcomes.iter().filter(|o| !o.passed()).collect();
    assert!(outcomes.len() >= 30 && bad.is_empty(), "{bad:#?}");
}

#[test]
fn the_device_is_listed_and_opened_once() {
    let opened = device();
    assert!(devices().iter().any(|l| l.name == opened.name()));
    assert_eq!(opened, open("vulkan:0").unwrap());
    assert_eq!(opened.name(), "vulkan:0");
}

#[test]
fn an_operation_without_a_kernel_is_an_error() {
    let x = Tensor::zeros(&[2, 3], DType::F32).to_device(&device()).unwrap();
    let said = ops::silu_mul(&x, &x).unwrap_err();
    assert!(matches!(said, Error::Unsupported { op: "silu_mul", .. }), "{said}");
}

#[test]
fn a_tensor_too_large_for_the_device_is_an_error() {
    let column = Tensor::zeros(&[50_000, 1], DType::F32).to_device(&device()).unwrap();
    let said = ops::matmul(&column, &column, Layout::RightTransposed).unwrap_err();
    assert!(matches!(&said, Error::Backend { what, .. } if what.contains("too large")), "{said}");
    assert!(said.to_string().contains("\nhint: "), "{said}");
}

#[test]
fn a_wrong_name_is_an_error_with_a_hint() {
    for bad in ["vulkan:99", "gpu", "vulkan:x"] {
        let said = open(bad).unwrap_err().to_string();
        assert!(said.contains(bad) && said.contains("\nhint: "), "{said}");
    }
}

#[test]
fn a_dtype_that_is_not_stored_is_an_error() {
    for dtype in [DType::F64, DType::Bf16, DType::F16] {
        let said = Tensor::zeros(&[2], dtype).to_device(&device()).unwrap_err();
        assert!(matches!(said, Error::DType { .. }), "{said}");
    }
    let ids = Tensor::from_vec(vec![7u32, u32::MAX], &[2]).unwrap().to_device(&device()).unwrap();
    assert_eq!(ids.to_cpu().unwrap().as_slice::<u32>().unwrap(), [7, u32::MAX]);
    assert!(matches!(ops::add(&ids, &ids), Err(Error::DType { .. })));
}

#[test]
fn empty_tensors_need_no_care() {
    let on_device = |dims: &[usize]| Tensor::zeros(dims, DType::F32).to_device(&device()).unwrap();
    for (a, b, y) in [([0, 3], [3, 4], [0, 4]), ([2, 0], [0, 4], [2, 4]), ([2, 3], [3, 0], [2, 0])] {
        let product = ops::matmul(&on_device(&a), &on_device(&b), Layout::Normal).unwrap();
        assert_eq!(product.dims(), y);
        assert!(product.to_f64_vec().unwrap().iter().all(|v| *v == 0.0));
    }
    let (none, weight) = (on_device(&[0, 5]), on_device(&[5]));
    let (y, inv) = ops::rms_norm(&none, &weight, 0.1).unwrap();
    let (dx, dw) = ops::rms_norm_backward(&none, &none, &weight, &inv).unwrap();
    assert_eq!((y.dims(), dx.dims()), (&[0, 5][..], &[0, 5][..]));
    assert_eq!(dw.to_f64_vec().unwrap(), [0.0; 5]);
    assert_eq!(ops::add(&none, &none).unwrap().to_f64_vec().unwrap(), [0.0; 0]);
}

#[test]
fn more_rows_than_a_grid_has_cubes() {
    let rows = 70_001;
    let x = Tensor::from_vec(random("x", rows * 3), &[rows, 3]).unwrap();
    let w = Tensor::from_vec(random("w", 3), &[3]).unwrap();
    let run = |dtype, at: &Device| {
        let (x, w) = (x.cast(dtype).unwrap(), w.cast(dtype).unwrap());
        let (x, w) = (x.to_device(at).unwrap(), w.to_device(at).unwrap());
        let (y, inv) = ops::rms_norm(&x, &w, 0.1).unwrap();
        let (dx, dw) = ops::rms_norm_backward(&x, &x, &w, &inv).unwrap();
        [y, inv, dx, dw]
    };
    let (want, got) = (run(DType::F64, &Device::Cpu), run(DType::F32, &device()));
    for (got, want) in got.iter().zip(&want) {
        assert_close(&got.to_f64_vec().unwrap(), &want.to_f64_vec().unwrap());
    }
}

/// Any thread may ask: the results are those of one stream of work.
#[test]
fn threads_share_a_device() {
    let at = device();
    let x = Tensor::from_vec(vec![1.0f32; 1000], &[1000]).unwrap().to_device(&at).unwrap();
    std::thread::scope(|scope| {
        for factor in 1..5u32 {
            let x = x.clone();
            scope.spawn(move || {
                for _ in 0..20 {
                    let y = ops::scale(&ops::add(&x, &x).unwrap(), f64::from(factor)).unwrap();
                    let want = vec![f64::from(2 * factor); 1000];
                    assert_eq!(y.to_f64_vec().unwrap(), want);
                }
            });
        }
    });
}

#[test]
fn gradients_agree_with_the_cpu() {
    let inputs = [
        Tensor::from_vec(random("x", 9 * 53), &[9, 53]).unwrap(),
        Tensor::from_vec(random("a", 37 * 53), &[37, 53]).unwrap(),
        Tensor::from_vec(random("norm", 37), &[37]).unwrap(),
        Tensor::from_vec(random("b", 53 * 37), &[53, 37]).unwrap(),
        Tensor::from_vec(random("head", 53), &[1, 53]).unwrap(),
        Tensor::from_vec(random("mix", 9), &[1, 9]).unwrap(),
    ];
    let want = gradients(&inputs, DType::F64, &Device::Cpu).unwrap();
    let got = gradients(&inputs, DType::F32, &device()).unwrap();
    assert_eq!(got.len(), inputs.len());
    for (got, want) in got.iter().zip(&want) {
        assert_eq!(got.device(), device());
        assert_close(&got.to_f64_vec().unwrap(), &want.to_f64_vec().unwrap());
    }
}

/// A block with a residual, so that two gradients of x are added, down to one number.
fn gradients(inputs: &[Tensor; 6], dtype: DType, at: &Device) -> clinpeft_autodiff::Result<Vec<Tensor>> {
    let mut leaves = Vec::new();
    for input in inputs {
        leaves.push(Var::leaf(input.cast(dtype)?.to_device(at)?));
    }
    let inner = learn::rms_norm(&learn::linear(&leaves[0], &leaves[1])?, &leaves[2], 0.1)?;
    let sum = learn::add(&leaves[0], &learn::scale(&learn::linear(&inner, &leaves[3])?, 0.3)?)?;
    let scores = learn::linear(&sum, &leaves[4])?;
    let loss = learn::matmul(&leaves[5], &scores, Layout::Normal)?;
    assert_eq!(loss.dims(), [1, 1]);
    let gradients = backward(&loss)?;
    Ok(leaves.iter().filter_map(|leaf| gradients.of(leaf).cloned()).collect())
}

/// Rounded to f32, so that device and CPU start from the same numbers.
fn random(name: &str, count: usize) -> Vec<f64> {
    let mut stream = Seed(5).stream(name);
    (0..count).map(|_| f64::from(normal(&mut stream) as f32)).collect()
}

fn assert_close(got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    let scale = want.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    let worst = got.iter().zip(want).fold(0.0f64, |m, (g, w)| m.max((g - w).abs()));
    // Not `>`: a NaN must fail.
    assert!(worst <= 2e-5 * scale && got.iter().all(|g| g.is_finite()), "{worst} of {scale}");
}

/// The tests of this file, where the machine has no driver: they fail with the hint.
#[test]
fn a_machine_without_a_driver_is_told_what_to_install() {
    let nowhere = "/no/such/driver.json";
    let run = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_device_is_listed_and_opened_once"])
        .env("VK_DRIVER_FILES", nowhere)
        .env("VK_ICD_FILENAMES", nowhere)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(!run.status.success());
    assert!(said.contains("no Vulkan driver") && said.contains("mesa-vulkan-drivers"), "{said}");
}
