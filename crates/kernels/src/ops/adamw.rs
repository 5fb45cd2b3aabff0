//! AdamW (Loshchilov & Hutter 2019, algorithm 2; as in PyTorch, decay before the step).
//!
//! ```text
//! g *= min(1, limit / norm)                                 where the gradient is clipped
//! p -= lr * wd * p
//! m = b1 m + (1 - b1) g      v = b2 v + (1 - b2) g^2
//! p -= lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
//! ```
//! All three are read and written in one pass. They become new tensors, so that whoever holds the old ones, as the best generation
//! does, keeps them.
//!
//! One launch takes as many tensors as it may bind buffers: [`BUFFERS`] for each, and the norm. That is 146 tensors on CUDA
//! (1,024 buffers; their addresses and lengths are 16 KiB of arguments, which CUDA takes since 12.1), as many where a
//! Vulkan driver allows more, and 4 on Mesa's software driver (30). A LoRA on queries and values of 32 layers has 128.

use crate::context::DeviceContext;
use crate::launch::{Launch, Operand, UNITS, cube, grid};
use clinpeft_tensor::Result;
use clinpeft_tensor::ops::{AdamW, AdamWParam, Clip};
use cubecl::prelude::*;

/// Buffers of a tensor: gradient, three states before, three after.
const BUFFERS: usize = 7;

/// Buffers of a launch where a device has no limit of its own.
const MOST: usize = 1024;

/// Tensors of a launch on a device that binds so many buffers.
fn tensors_of_a_launch(bindings: usize) -> usize {
    ((bindings.min(MOST) - 1) / BUFFERS).max(1)
}

/// Updates all trainable parameters.
pub(crate) fn adamw<R: Runtime>(
    device: &DeviceContext<R>,
    all: &mut [AdamWParam<'_>],
    clip: Option<Clip<'_>>,
    step: &AdamW,
) -> Result<()> {
    let work = device.begin("adamw")?;
    // A tensor without elements has nothing to bind.
    let mut all: Vec<_> = all.iter_mut().filter(|one| one.parameter.count() > 0).collect();
    for part in all.chunks_mut(tensors_of_a_launch(device.bindings())) {
        let mut made = Vec::new();
        let mut operands = Vec::new();
        for one in &*part {
            let (g, p) = (work.input(one.gradient)?, work.input(one.parameter)?);
            let (m, v) = (work.input(one.first)?, work.input(one.second)?);
            let dims = one.parameter.dims();
            let ((new_p, ps), (new_m, ms), (new_v, vs)) = (work.output(dims)?, work.output(dims)?, work.output(dims)?);
            operands.push([g, p, m, v, ps, ms, vs]);
            made.push([new_p, new_m, new_v]);
        }
        launch(&work, &operands, clip, step)?;
        for (one, [p, m, v]) in part.iter_mut().zip(made) {
            (*one.parameter, *one.first, *one.second) = (p, m, v);
        }
    }
    Ok(())
}

/// One launch for tensors that were bound as gradient, three states before, three after.
fn launch<R: Runtime>(
    work: &Launch<'_, R>,
    tensors: &[[Operand; BUFFERS]],
    clip: Option<Clip<'_>>,
    step: &AdamW,
) -> Result<()> {
    // Where nothing is clipped some buffer must stand for the norm.
    let norm = clip.map_or(Ok(tensors[0][0].clone()), |c| work.input(c.norm))?;
    let cubes = tensors.iter().map(|one| one[0].count().div_ceil(UNITS as usize)).sum();
    let t = step.step as f64;
    work.run(|compute| {
        let old = tensors.iter().flat_map(|one| one[..4].iter().map(Operand::array)).collect();
        let new = tensors.iter().flat_map(|one| one[4..].iter().map(Operand::array)).collect();
        let rates = RatesLaunch::new(
            step.beta1 as f32,
            step.beta2 as f32,
            (1.0 - step.beta1) as f32,
            (1.0 - step.beta2) as f32,
            (1.0 - step.learning_rate * step.weight_decay) as f32,
            (step.learning_rate / (1.0 - step.beta1.powf(t))) as f32,
            (1.0 - step.beta2.powf(t)).sqrt() as f32,
            step.eps as f32,
            clip.map_or(0.0, |c| c.limit) as f32,
        );
        let (count, clips) = (tensors.len(), clip.is_some());
        update::launch::<R>(compute, grid(cubes), cube(), old, new, norm.array(), rates, count, clips, UNITS);
    })
}

/// The numbers of a step, made in f64.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(crate) struct Rates {
    beta1: f32,
    beta2: f32,
    new1: f32,
    new2: f32,
    decay: f32,
    size: f32,
    root: f32,
    eps: f32,
    limit: f32,
}

/// Cubes are dealt out to the tensors in their order, whole ones.
#[cube(launch)]
pub(crate) fn update(
    old: &Sequence<Array<f32>>,
    new: &mut Sequence<Array<f32>>,
    norm: &Array<f32>,
    rates: Rates,
    #[comptime] tensors: usize,
    #[comptime] clips: bool,
    #[comptime] units: u32,
) {
    let mut factor = f32::new(1.0);
    if clips {
        factor = min(rates.limit / max(norm[0], f32::MIN_POSITIVE), 1.0);
    }
    let mut first = 0usize.runtime();
    #[unroll]
    for i in 0..tensors {
        let count = old.index(comptime!(4 * i)).len();
        let cubes = count.div_ceil(comptime!(units as usize));
        if CUBE_POS >= first && CUBE_POS < first + cubes {
            let at = (CUBE_POS - first) * comptime!(units as usize) + UNIT_POS as usize;
            if at < count {
                let g = old.index(comptime!(4 * i))[at] * factor;
                let p = old.index(comptime!(4 * i + 1))[at];
                let m = rates.beta1 * old.index(comptime!(4 * i + 2))[at] + rates.new1 * g;
                let v = rates.beta2 * old.index(comptime!(4 * i + 3))[at] + rates.new2 * (g * g);
                new.index_mut(comptime!(3 * i))[at] =
                    p * rates.decay - rates.size * m / (v.sqrt() / rates.root + rates.eps);
                new.index_mut(comptime!(3 * i + 1))[at] = m;
                new.index_mut(comptime!(3 * i + 2))[at] = v;
            }
        }
        first += cubes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launch_binds_no_more_than_the_device_allows() {
        for (bindings, tensors) in [(12, 1), (30, 4), (1024, 146), (1 << 20, 146)] {
            assert_eq!(tensors_of_a_launch(bindings), tensors);
            assert!(tensors * BUFFERS < bindings);
        }
    }

    /// More tensors than one launch takes here, of sizes that fill cubes and do not.
    #[cfg(feature = "vulkan")]
    #[test]
    fn many_tensors_at_once_become_what_each_becomes_alone() {
        use clinpeft_tensor::Tensor;
        use clinpeft_tensor::rng::{Seed, normal};
        let (_alone, device) = crate::vulkan::tests::alone();
        let step = AdamW { learning_rate: 0.1, beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.1, step: 3 };
        let random = |name: &str, count: usize| {
            let mut stream = Seed(8).stream(&format!("{name}{count}"));
            let values = (0..count).map(|_| normal(&mut stream) as f32).collect();
            device.upload(&Tensor::from_vec(values, &[count]).unwrap()).unwrap()
        };
        let sizes = [1, 256, 0, 257, 1000, 3, 512, 70_000, 5, 255];
        let of = |name: &str| sizes.map(|count| random(name, count));
        let (gradients, norm) = (of("g"), random("norm", 1));
        let clip = Some(Clip { norm: &norm, limit: 0.3 });
        let start = || {
            let [p, m, v] = [of("p"), of("m"), of("v")];
            let v = v.map(|v| crate::ops::elementwise::mul(&device, &v, &v).unwrap());
            (p, m, v)
        };
        let bits = |(p, m, v): &([Tensor; 10], [Tensor; 10], [Tensor; 10])| -> Vec<Vec<f32>> {
            let all = p.iter().chain(m).chain(v);
            all.map(|t| device.download(t).unwrap().as_slice::<f32>().unwrap().to_vec()).collect()
        };
        let (mut together, mut alone) = (start(), start());
        for chunk in [sizes.len(), 1] {
            let (p, m, v) = if chunk == 1 { &mut alone } else { &mut together };
            let state = p.iter_mut().zip(m).zip(v).zip(&gradients);
            let learned =
                state.map(|(((parameter, first), second), gradient)| AdamWParam { parameter, first, second, gradient });
            for part in learned.collect::<Vec<_>>().chunks_mut(chunk) {
                adamw(&device, part, clip, &step).unwrap();
            }
        }
        assert_eq!(bits(&together), bits(&alone));
        assert_ne!(bits(&together), bits(&start()));
    }
}
