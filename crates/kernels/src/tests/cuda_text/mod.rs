//! Every kernel as CUDA C++, made on a machine without an NVIDIA card: the conformance suite runs on a device on paper.
//!
//! With `CLINPEFT_CUDA_TEXT=FOLDER` the sources are also written to `FOLDER/sm_80` and `FOLDER/sm_90`, for NVRTC to compile.

mod device;

use crate::context::DeviceContext;
use crate::launch::LoopBudget;
use crate::name::Name;
use clinpeft_tensor::ops::{self, AdamW, AdamWParam, Clip, Layout};
use clinpeft_tensor::{DType, Device, Precision, Tensor, conformance};
use cubecl::Runtime;
use cubecl::device::Device as _;
use device::{Card, OnPaper, Text, launches, texts};
use std::collections::BTreeMap;

fn on_paper(capability: u16) -> Device {
    let card = Card { capability };
    let name = Name { library: "cuda", index: usize::from(capability) };
    Device::Other(
        DeviceContext::connect(name, card.to_id(), LoopBudget::Unlimited, None, || OnPaper::client(&card)).unwrap(),
    )
}

/// What the suite does not reach: weights in 16 bits, wide heads, the optimizer, logits of many rows.
fn beyond_the_suite(device: &Device) {
    let on = |dims: &[usize], dtype| Tensor::zeros(dims, dtype).to_device(device).unwrap();
    let x = on(&[300, 256], DType::F32);
    let targets = Tensor::from_vec(vec![1u32; 300], &[300]).unwrap().to_device(device).unwrap();
    for dtype in [DType::F32, DType::Bf16, DType::F16] {
        let w = on(&[256, 256], dtype).with_precision(Precision::Bf16);
        for layout in [Layout::Normal, Layout::RightTransposed] {
            ops::matmul(&x, &w, layout).unwrap();
        }
        ops::embedding(&w, &targets).unwrap();
        let weights = on(&[300], DType::F32);
        ops::linear_cross_entropy(&x, &w, &targets, &weights, [true, true]).unwrap();
    }
    // A LoRA on queries and values of 32 layers.
    learn(128, &x, &ops::norm(&x).unwrap());
    let shape = ops::AttentionShape {
        heads: 2,
        kv_heads: 1,
        head_width: 128,
        scale: 0.1,
        mask: ops::Mask::Causal,
        dropout: None,
    };
    let cu_seqlens = ops::CuSeqlens::same(&[0, 300]);
    let k = on(&[300, 128], DType::F32);
    let (o, lse) = ops::attention(&x, &k, &k, &shape, &cu_seqlens).unwrap();
    ops::attention_backward(&x, [&x, &k, &k, &o, &lse], &shape, &cu_seqlens).unwrap();
}

/// A step of so many tensors like this one.
fn learn(count: usize, like: &Tensor, norm: &Tensor) {
    let mut state = vec![[like.clone(), like.clone(), like.clone()]; count];
    let learned =
        state.iter_mut().map(|[parameter, first, second]| AdamWParam { parameter, first, second, gradient: like });
    let mut all: Vec<_> = learned.collect();
    let step = AdamW { learning_rate: 0.1, beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.1, step: 1 };
    ops::adamw(&mut all, Some(Clip { norm, limit: 1.0 }), &step).unwrap();
}

/// All kernels of all operations, for cards of this compute capability.
fn every_kernel(capability: u16) -> BTreeMap<String, Text> {
    let device = on_paper(capability);
    // The numbers are zeros; what could not be made is.
    for outcome in conformance::check(&device, &[]) {
        assert_eq!(outcome.failure, None, "{} {}", outcome.op, outcome.case);
    }
    beyond_the_suite(&device);
    // Errors of the device come here at the latest.
    Tensor::zeros(&[1], DType::F32).to_device(&device).unwrap().to_cpu().unwrap();
    let named = |(name, text): (String, Result<Text, String>)| {
        let text = text.unwrap_or_else(|why| panic!("{name}: {why}"));
        (name, text)
    };
    texts(capability).into_iter().map(named).collect()
}

#[test]
fn all_parameters_of_a_lora_are_one_launch() {
    // A card of its own, so that nothing else is launched there.
    let capability = 86;
    let device = on_paper(capability);
    let wait = || Tensor::zeros(&[1], DType::F32).to_device(&device).unwrap().to_cpu().unwrap();
    let x = Tensor::zeros(&[300], DType::F32).to_device(&device).unwrap();
    for (tensors, expected) in [(1, 1), (128, 1), (146, 1), (147, 2)] {
        let norm = ops::norm(&x).unwrap();
        wait();
        let before = launches(capability);
        learn(tensors, &x, &norm);
        wait();
        assert_eq!(launches(capability) - before, expected, "{tensors} tensors");
    }
}

#[test]
fn every_kernel_becomes_cuda_source() {
    for capability in [80, 90] {
        let all = every_kernel(capability);
        // One for each launch at least; products have several.
        assert!(all.len() > 40, "{}", all.len());
        let limit = if capability >= 90 { 232_448 } else { 166_912 };
        for (i, (name, Text { source, shared })) in all.iter().enumerate() {
            assert!(source.contains("__global__"), "{name}: {source}");
            assert!(*shared <= limit, "{name} takes {shared} bytes of shared memory");
            if let Some(folder) = std::env::var_os("CLINPEFT_CUDA_TEXT") {
                let folder = std::path::Path::new(&folder).join(format!("sm_{capability}"));
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(folder.join(format!("{i:03}.cu")), format!("// {name}\n{source}")).unwrap();
            }
        }
        // A product fused into a difference leaves its rounding where zero is due, so the second pass reads g no more.
        let backward = all.iter().filter(|(name, _)| name.contains("layer_norm::backward_x"));
        let second: Vec<_> = backward.filter_map(|(_, text)| text.source.rsplit_once("__syncthreads")).collect();
        assert!(second.iter().all(|(first, second)| first.contains("buffer_0[") && !second.contains("buffer_0[")));
        assert!(!second.is_empty());
        // f32 that nobody allowed to round goes to no tensor core.
        assert!(all.values().all(|text| !text.source.contains("tf32")), "sm_{capability}");
        // Both instructions of CubeCL for tensor cores, for products of bf16.
        for instruction in ["wmma::mma_sync", "mma.sync"] {
            let on_cores = |t: &&Text| t.source.contains("__nv_bfloat16") && t.source.contains(instruction);
            assert!(all.values().filter(on_cores).count() > 1, "sm_{capability}: no {instruction} of bf16");
        }
    }
}
