//! Which packs of a model's frozen weights the products of the CPU keep.
//!
//! Ordering a weight for a unit costs a fast unit more than the product itself, and a slow one next to nothing; kept, the order
//! takes as much memory as the weight, which is not read from its file any more where the unit turns packs. So a trial says whether
//! it pays on this machine, and free memory whether it fits. Either way the results are the same, to the bit.

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
    /// By a trial on the largest linear layer, for packs of at most `free` bytes.
    Measured {
        /// Rows of a usual batch, of which the trial takes 1024 at most.
        rows: usize,
        /// Bytes that packs may take.
        free: u64,
    },
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PrepackChoice {
    /// What is kept of every linear layer and of the language-model head.
    pub packing: PrepackPolicy,
    /// Bytes of it, once each weight has been used.
    pub bytes: u64,
    /// Time of a product that orders its weight over that of one whose pack is kept, if it was measured.
    pub gain: Option<f64>,
}

impl PrepackChoice {
    /// As manifests state it.
    pub fn to_json(self) -> Value {
        json!({ "kept": self.packing.name(), "bytes": self.bytes, "gain": self.gain })
    }
}

/// Products must become faster by this factor. Where it pays, it pays more; a trial on a busy machine errs by less.
const WORTH: f64 = 1.25;

/// Times each product is tried.
const ROUNDS: usize = 3;

/// Rows after which a product orders its weight again, so that more change no share.
const ROWS: usize = 1024;

/// Lets the products with a model's frozen weights keep packs, as the policy decides. On a device, and where all of the model
/// learns, nothing is kept.
pub fn prepack_weights(model: &mut dyn Backbone, policy: PrepackMode) -> Result<PrepackChoice> {
    let mut names: Vec<String> = model.target_modules().iter().map(|site| format!("{}.weight", site.name)).collect();
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

/// Whether keeping the order of `weight` `[n, k]` pays for batches of so many rows, by a trial; and what it gains (see
/// [`PrepackChoice::gain`]).
pub fn measure_prepack(weight: &Tensor, rows: usize) -> Result<(PrepackPolicy, f64)> {
    let rows = rows.min(ROWS);
    let x = Tensor::from_vec(vec![1.0f32; rows * weight.dims()[1]], &[rows, weight.dims()[1]])?;
    let mut least = [f64::INFINITY; 2];
    let ways = [PrepackPolicy::PerCall, PrepackPolicy::Cached].map(|packing| weight.clone().with_prepack(packing));
    for round in 0..=ROUNDS {
        for (least, weight) in least.iter_mut().zip(&ways) {
            let start = Instant::now();
            matmul(&x, weight, Layout::RightTransposed)?;
            // The first brings pages into memory and makes the pack.
            if round > 0 {
                *least = least.min(start.elapsed().as_secs_f64());
            }
        }
    }
    let gain = least[0] / least[1];
    Ok((if gain >= WORTH { PrepackPolicy::Cached } else { PrepackPolicy::PerCall }, gain))
}
