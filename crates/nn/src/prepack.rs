//! Whether products on the CPU cache the packs of a model's frozen weights.
//!
//! Packing a weight costs a fast kernel more than the product itself, and a slow one next to nothing. A cached pack takes as much
//! memory as the weight, whose file pages are evicted where the kernel reads packs transposed. So a measurement says whether it
//! pays on this machine, and free memory whether it fits. Either way the results are the same, to the bit.

use crate::{Backbone, Parameter, Result, Trainability};
use clinpeft_tensor::gemm::PrepackPolicy;
use clinpeft_tensor::ops::{Layout, matmul};
use clinpeft_tensor::{DType, Device, Tensor};
use serde_json::{Value, json};
use std::time::Instant;

/// How it is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrepackMode {
    /// By the caller.
    Fixed(PrepackPolicy),
    /// By a measurement of the largest linear layer, for packs of at most `free` bytes.
    Measured {
        /// Rows of a usual batch, of which the measurement takes 1024 at most.
        rows: usize,
        /// Bytes that packs may take.
        free: u64,
    },
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PrepackChoice {
    /// The policy of every linear layer and of the language-model head.
    pub packing: PrepackPolicy,
    /// Bytes of the packs, once each weight has been used.
    pub bytes: u64,
    /// Time of a product that packs its weight over that of one whose pack is cached, if it was measured.
    pub gain: Option<f64>,
}

impl PrepackChoice {
    /// As manifests state it.
    pub fn to_json(self) -> Value {
        json!({ "kept": self.packing.name(), "bytes": self.bytes, "gain": self.gain })
    }
}

/// Products must become faster by this factor. Where caching pays, it pays more; a busy machine distorts a measurement by less.
const MIN_GAIN: f64 = 1.25;

/// How often each product is timed.
const ROUNDS: usize = 3;

/// Rows after which a product packs its weight again, so that more do not change the share of packing.
const ROWS: usize = 1024;

/// Lets products with a model's frozen weights cache packs, as the policy decides. On a device, and for trainable weights,
/// nothing is cached.
pub fn prepack_weights(model: &mut dyn Backbone, policy: PrepackMode) -> Result<PrepackChoice> {
    let mut names: Vec<String> =
        model.target_modules().iter().map(|module| format!("{}.weight", module.name)).collect();
    let layers = names.len();
    names.extend(model.head_name().map(String::from));
    let mut weights: Vec<&mut Parameter> = Vec::new();
    let mut largest: Option<Tensor> = None;
    for p in model.parameters_mut() {
        let Some(place) = names.iter().position(|name| name == p.name()) else { continue };
        let value = p.value();
        let packs = matches!(value.dtype(), DType::F32 | DType::Bf16 | DType::F16) && value.device() == Device::Cpu;
        if !packs || p.trainability() == Trainability::Trainable {
            continue;
        }
        // The head is far larger than a layer, and is multiplied with few rows at once.
        if place < layers && largest.as_ref().is_none_or(|w| w.count() < value.count()) {
            largest = Some(value.clone());
        }
        weights.push(p);
    }
    let bytes = |packing: PrepackPolicy| -> u64 {
        let of = |w: &Tensor| packing.bytes(w.precision(), w.dims()[0], w.dims()[1]) as u64;
        weights.iter().map(|p| of(p.value())).sum()
    };
    let (packing, gain) = match (policy, largest) {
        (PrepackMode::Fixed(packing), _) => (packing, None),
        (PrepackMode::Measured { rows, free }, Some(largest)) if bytes(PrepackPolicy::Cached) > 0 => {
            let (packing, gain) = measure_prepack(&largest, rows)?;
            (if bytes(packing) <= free { packing } else { PrepackPolicy::PerCall }, Some(gain))
        }
        _ => (PrepackPolicy::PerCall, None),
    };
    let bytes = bytes(packing);
    for p in weights {
        p.set_value(p.value().clone().with_prepack(packing));
    }
    Ok(PrepackChoice { packing, bytes, gain })
}

/// Measures whether caching the pack of `weight` `[n, k]` pays for batches of so many rows, and the gain (see
/// [`PrepackChoice::gain`]).
pub fn measure_prepack(weight: &Tensor, rows: usize) -> Result<(PrepackPolicy, f64)> {
    let rows = rows.min(ROWS);
    let x = Tensor::from_vec(vec![1.0f32; rows * weight.dims()[1]], &[rows, weight.dims()[1]])?;
    let mut least = [f64::INFINITY; 2];
    let weights = [PrepackPolicy::PerCall, PrepackPolicy::Cached].map(|packing| weight.clone().with_prepack(packing));
    for round in 0..=ROUNDS {
        for (least, weight) in least.iter_mut().zip(&weights) {
            let start = Instant::now();
            matmul(&x, weight, Layout::RightTransposed)?;
            // The first brings pages into memory and makes the pack.
            if round > 0 {
                *least = least.min(start.elapsed().as_secs_f64());
            }
        }
    }
    let gain = least[0] / least[1];
    Ok((if gain >= MIN_GAIN { PrepackPolicy::Cached } else { PrepackPolicy::PerCall }, gain))
}
