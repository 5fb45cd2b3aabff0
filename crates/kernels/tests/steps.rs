//! Steps of learning on a device (Vulkan, or what `CLINPEFT_TEST_DEVICE` names): memory, repetition, recomputation.
#![cfg(any(feature = "vulkan", feature = "cuda"))]
#![allow(clippy::unwrap_used, reason = "tests")]

use clinpeft_autodiff::{Result, Var, backward, checkpoint, ops as learn};
use clinpeft_kernels::open;
use clinpeft_tensor::ops::{self, AdamW, AdamWParam, AttentionShape, CuSeqlens, Mask};
use clinpeft_tensor::rng::{Key, Seed, normal};
use clinpeft_tensor::{DType, Device, Tensor};

const ROWS: usize = 24;
const WIDTH: usize = 16;
const CLASSES: usize = 11;

fn device() -> Device {
    let wanted = std::env::var("CLINPEFT_TEST_DEVICE").unwrap_or_else(|_| "vulkan".into());
    open(&wanted).unwrap_or_else(|e| panic!("{e}"))
}

fn random(name: &str, dims: &[usize], at: &Device) -> Tensor {
    let mut stream = Seed(6).stream(name);
    let values: Vec<f32> = (0..dims.iter().product()).map(|_| 0.3 * normal(&mut stream) as f32).collect();
    Tensor::from_vec(values, dims).unwrap().to_device(at).unwrap()
}

/// What a layer is made of: attention over two sequences, a gated unit, dropout, norms.
fn layer(x: &Var, weights: &[Var]) -> Result<Var> {
    let shape = AttentionShape { heads: 2, kv_heads: 1, head_width: 8, scale: 0.35, mask: Mask::Causal, dropout: None };
    let h = learn::rms_norm(x, &weights[0], 1e-5)?;
    let (k, v) = (learn::linear(&h, &weights[1])?, learn::linear(&h, &weights[2])?);
    let a = learn::attention(&h, &k, &v, &shape, &CuSeqlens::same(&[0, 7, ROWS as u32]))?;
    let a = learn::dropout(&a, 0.2, Key([3, 4]))?;
    let x = learn::add(x, &learn::low_rank(&a, &a, &weights[3], &weights[4], 2.0)?)?;
    learn::silu_mul(&learn::linear(&x, &weights[5])?, &x)
}

/// The parameters of a small model.
fn parameters(at: &Device) -> Vec<Tensor> {
    let half = WIDTH / 2;
    let shapes: [(&str, &[usize]); 7] = [
        ("norm", &[WIDTH]),
        ("k", &[half, WIDTH]),
        ("v", &[half, WIDTH]),
        ("A", &[4, WIDTH]),
        ("B", &[WIDTH, 4]),
        ("gate", &[WIDTH, WIDTH]),
        ("table", &[CLASSES, WIDTH]),
    ];
    shapes.iter().map(|(name, dims)| random(name, dims, at)).collect()
}

/// Loss and gradients of the parameters.
fn gradients(values: &[Tensor], recompute: bool) -> (Tensor, Vec<Tensor>) {
    let at = values[0].device();
    let ids: Vec<u32> = (0..ROWS as u32).map(|i| i * 5 % CLASSES as u32).collect();
    let ids = Tensor::from_vec(ids, &[ROWS]).unwrap().to_device(&at).unwrap();
    let ones = Tensor::from_vec(vec![1.0f32; ROWS], &[ROWS]).unwrap().to_device(&at).unwrap();
    let leaves: Vec<Var> = values.iter().cloned().map(Var::leaf).collect();
    let x = learn::embedding(&leaves[6], &ids).unwrap();
    let held = leaves.clone();
    let block = move |inputs: &[Var]| layer(&inputs[0], &held);
    let x = if recompute { checkpoint(&[&x], block).unwrap() } else { block(&[x]).unwrap() };
    let loss = learn::linear_cross_entropy(&x, &leaves[6], &ids, &ones).unwrap();
    let mean = learn::scale(&loss, 1.0 / ROWS as f64).unwrap();
    let all = backward(&mean).unwrap();
    (mean.value().clone(), leaves.iter().map(|leaf| all.of(leaf).unwrap().clone()).collect())
}

fn bits(all: &[Tensor]) -> Vec<Vec<u32>> {
    let of = |t: &Tensor| t.to_cpu().unwrap().as_slice::<f32>().unwrap().iter().map(|v| v.to_bits()).collect();
    all.iter().map(of).collect()
}

#[test]
fn the_same_step_gives_the_same_bits() {
    let values = parameters(&device());
    let (first, second) = (gradients(&values, false), gradients(&values, false));
    assert_eq!(bits(&[first.0]), bits(&[second.0]));
    assert_eq!(bits(&first.1), bits(&second.1));
}

#[test]
fn a_layer_that_is_computed_again_gives_the_same_gradients_to_the_bit() {
    let values = parameters(&device());
    assert_eq!(bits(&gradients(&values, false).1), bits(&gradients(&values, true).1));
}

#[test]
fn memory_does_not_grow_over_a_thousand_steps_and_the_loss_falls() {
    let at = device();
    let Device::Other(backend) = &at else { panic!("a device") };
    let mut values = parameters(&at);
    let zeros =
        || values.iter().map(|v| Tensor::zeros(v.dims(), DType::F32).to_device(&at).unwrap()).collect::<Vec<_>>();
    let (mut first, mut second) = (zeros(), zeros());
    let (mut losses, mut memory) = (Vec::new(), Vec::new());
    for step in 1..=1000 {
        let (loss, all) = gradients(&values, step % 2 == 0);
        let rates = AdamW { learning_rate: 3e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, step };
        let state = values.iter_mut().zip(&mut first).zip(&mut second).zip(&all);
        let learned =
            state.map(|(((parameter, first), second), gradient)| AdamWParam { parameter, first, second, gradient });
        ops::adamw(&mut learned.collect::<Vec<_>>(), None, &rates).unwrap();
        if step % 100 == 0 {
            losses.push(loss.item().unwrap());
            memory.push(backend.memory().unwrap().unwrap());
        }
    }
    assert!(losses[9] < 0.5 * losses[0], "{losses:?}");
    assert!(memory[0] > 0 && memory.iter().all(|m| *m == memory[0]), "{memory:?}");
}
