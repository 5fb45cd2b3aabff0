//! A device against the contract: Vulkan, or what `CLINPEFT_TEST_DEVICE` names. Without a driver these tests fail and say what to
//! install.
#![cfg(any(feature = "vulkan", feature = "cuda"))]

use clinpeft_autodiff::{Var, backward, ops as learn};
use clinpeft_kernels::{devices, open};
use clinpeft_tensor::ops::{self, Layout};
use clinpeft_tensor::rng::{Seed, normal};
use clinpeft_tensor::{DType, Device, Error, Precision, Tensor, conformance};

fn wanted() -> String {
    std::env::var("CLINPEFT_TEST_DEVICE").unwrap_or_else(|_| "vulkan".into())
}

fn device() -> Device {
    open(&wanted()).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn operations_agree_with_the_cpu() {
    let outcomes = conformance::check(&device(), &[]);
    let bad: Vec<_> = outcomes.iter().filter(|o| !o.passed()).collect();
    assert!(outcomes.len() >= 297 && bad.is_empty(), "{bad:#?}");
}

#[test]
fn the_device_is_listed_and_opened_once() {
    let opened = device();
    assert!(devices().iter().any(|l| l.name == opened.name()));
    let first = format!("{}:0", wanted());
    assert_eq!(opened, open(&first).unwrap());
    assert_eq!(opened.name(), first);
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
    for bad in [format!("{}:99", wanted()), "gpu".into(), format!("{}:x", wanted())] {
        let said = open(&bad).unwrap_err().to_string();
        assert!(said.contains(&bad) && said.contains("\nhint: "), "{said}");
    }
}

#[test]
fn a_dtype_that_is_not_stored_or_not_computed_with_is_an_error() {
    let said = Tensor::zeros(&[2], DType::F64).to_device(&device()).unwrap_err();
    assert!(matches!(said, Error::DType { .. }), "{said}");
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

/// Every pattern of 16 bits, as itself and through a product with one.
#[test]
fn weights_in_16_bits_are_the_numbers_that_they_are() {
    let at = device();
    let all: Vec<u16> = (0..=u16::MAX).collect();
    let dims = [256, 256];
    let tensors = [
        Tensor::from_vec(all.iter().map(|b| half::bf16::from_bits(*b)).collect(), &dims).unwrap(),
        Tensor::from_vec(all.iter().map(|b| half::f16::from_bits(*b)).collect(), &dims).unwrap(),
    ];
    for stored in tensors {
        let there = stored.to_device(&at).unwrap();
        let want = stored.to_f64_vec().unwrap();
        let same = |got: &[f64]| {
            // A device may flush what is subnormal in f32.
            got.iter().zip(&want).all(|(g, w)| g == w || (g.is_nan() && w.is_nan()) || (w.abs() < 1.2e-38 && *g == 0.0))
        };
        assert!(same(&there.to_f64_vec().unwrap()), "{:?} comes back", stored.dtype());
        let ids = Tensor::from_vec((0..256u32).collect(), &[256]).unwrap().to_device(&at).unwrap();
        assert!(same(&ops::embedding(&there, &ids).unwrap().to_f64_vec().unwrap()), "{:?} rows", stored.dtype());
    }
}

/// Products that may be rounded are those of the values themselves or, on tensor cores, those of both operands rounded to bf16
/// once; either way summed in f32.
#[test]
fn products_with_weights_in_16_bits_agree_with_the_cpu() {
    let at = device();
    for (stored, [rows, depth, columns]) in
        [DType::F32, DType::Bf16, DType::F16].into_iter().flat_map(|s| [[37, 96, 48], [300, 512, 256]].map(|n| (s, n)))
    {
        for layout in [Layout::RightTransposed, Layout::Normal] {
            let of_w = if layout == Layout::Normal { [depth, columns] } else { [columns, depth] };
            let single = |name, dims: [usize; 2]| {
                let values = random(name, dims[0] * dims[1]);
                Tensor::from_vec(values, &dims).unwrap().cast(DType::F32).unwrap()
            };
            let (x, w) = (single("x", [rows, depth]), single("w", of_w).cast(stored).unwrap());
            let product = |dtype| {
                let [x, w] = [&x, &w].map(|t| t.cast(dtype).unwrap().cast(DType::F64).unwrap());
                ops::matmul(&x, &w, layout).unwrap().to_f64_vec().unwrap()
            };
            let w = w.to_device(&at).unwrap().with_precision(Precision::Bf16);
            let got = ops::matmul(&x.to_device(&at).unwrap(), &w, layout).unwrap().to_f64_vec().unwrap();
            let errors = [DType::F64, DType::Bf16].map(|dtype| error(&got, &product(dtype)));
            assert!(errors.iter().any(|e| *e <= 2e-5), "{stored:?} {layout:?} {rows} rows: {errors:?}");
        }
    }
}

#[test]
fn a_tensor_under_another_shape_keeps_all_its_values() {
    let at = device();
    let x = Tensor::from_vec((0..12u8).map(f32::from).collect(), &[2, 6]).unwrap().to_device(&at).unwrap();
    let y = ops::scale(&x, 2.0).unwrap().reshape(&[12, 1]).unwrap();
    let two = Tensor::from_vec(vec![2.0f32], &[1]).unwrap().to_device(&at).unwrap();
    let want: Vec<f64> = (0..12u8).map(|i| 4.0 * f64::from(i)).collect();
    assert_eq!(ops::mul_row(&y, &two).unwrap().to_f64_vec().unwrap(), want);
    let rows = Tensor::from_vec(vec![3u32, 0], &[2]).unwrap().to_device(&at).unwrap();
    let picked = ops::embedding(&x.reshape(&[4, 3]).unwrap(), &rows).unwrap();
    assert_eq!(picked.to_f64_vec().unwrap(), [9.0, 10.0, 11.0, 0.0, 1.0, 2.0]);
}

#[test]
fn dropout_is_that_of_the_cpu_to_the_bit() {
    let x: Vec<f32> = random("x", 1003).iter().map(|v| *v as f32).collect();
    let x = Tensor::from_vec(x, &[17, 59]).unwrap();
    for rate in [0.1, 0.5, 0.9] {
        let key = clinpeft_tensor::rng::Key([0xFFFF_FFFF, 17]);
        let want = ops::dropout(&x, rate, key).unwrap();
        let got = ops::dropout(&x.to_device(&device()).unwrap(), rate, key).unwrap().to_cpu().unwrap();
        assert_eq!(got.as_slice::<f32>().unwrap(), want.as_slice::<f32>().unwrap());
    }
}

#[test]
fn ids_outside_of_their_table_are_errors() {
    let at = device();
    let on = |dims: &[usize]| Tensor::zeros(dims, DType::F32).to_device(&at).unwrap();
    let ids = |ids: &[u32]| Tensor::from_vec(ids.to_vec(), &[ids.len()]).unwrap().to_device(&at).unwrap();
    let index = |said: Result<Tensor, Error>| matches!(said, Err(Error::Index { place: 1, limit: 3, .. }));
    assert!(index(ops::embedding(&on(&[3, 2]), &ids(&[2, 3]))));
    assert!(index(ops::embedding_backward(&on(&[2, 2]), &ids(&[2, 3]), 3)));
    assert!(index(ops::cross_entropy(&on(&[2, 3]), &ids(&[2, 3]), &on(&[2])).map(|(loss, _)| loss)));
    let angles = on(&[3, 1]);
    assert!(index(ops::rotary(&on(&[2, 2]), &angles, &angles, &ids(&[2, 3]), ops::Direction::Forward)));
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
    let error = error(got, want);
    assert!(error <= 2e-5, "{error}");
}

/// The largest difference, as a part of the largest value; infinite if one is no number.
fn error(got: &[f64], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    if got.iter().any(|g| !g.is_finite()) {
        return f64::INFINITY;
    }
    let scale = want.iter().fold(1e-30f64, |m, x| m.max(x.abs()));
    got.iter().zip(want).fold(0.0f64, |m, (g, w)| m.max((g - w).abs())) / scale
}

/// The tests of this file, where the machine has no driver: they fail with the hint.
#[cfg(feature = "vulkan")]
#[test]
fn a_machine_without_a_driver_is_told_what_to_install() {
    let nowhere = "/no/such/driver.json";
    let run = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_device_is_listed_and_opened_once"])
        .env_remove("CLINPEFT_TEST_DEVICE")
        .env("VK_DRIVER_FILES", nowhere)
        .env("VK_ICD_FILENAMES", nowhere)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(!run.status.success());
    assert!(said.contains("no Vulkan driver") && said.contains("mesa-vulkan-drivers"), "{said}");
}

#[test]
fn relu_closes_at_minus_infinity_and_keeps_what_is_no_number() {
    let x = Tensor::from_vec(vec![f32::NEG_INFINITY, -1.0, 2.0, f32::INFINITY, f32::NAN], &[5]).unwrap();
    let y = ops::relu(&x.to_device(&device()).unwrap()).unwrap().to_f64_vec().unwrap();
    assert!(y[..4] == [0.0, 0.0, 2.0, f64::INFINITY] && y[4].is_nan(), "{y:?}");
}
