//! Which packs of a model's frozen weights the products of the CPU keep.
//!
//! Ordering a weight for a unit costs a fast unit more than the product itself, and a slow one next to nothing; kept, the order
//! costs as much memory as the weights, or twice. So a trial says whether it pays on this machine, and free memory whether it
//! fits. Either way the results are the same, to the bit.

use crate::{Backbone, Learning, Parameter, Result};
use clinpeft_tensor::ops::{Layout, matmul};
use clinpeft_tensor::product::Packing;
use clinpeft_tensor::{DType, Device, Tensor};
use serde_json::{Value, json};
use std::time::Instant;

/// How it is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackPolicy {
    /// By the caller.
    Fixed(Packing),
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
pub struct PackChoice {
    /// What is kept of every linear layer and of the language-model head.
    pub packing: Packing,
    /// Bytes of it, once each weight has been used in each direction.
    pub bytes: u64,
    /// Time of a product that orders its weight over that of one whose pack is kept, forward and backward, if it was measured.
    pub gain: Option<[f64; 2]>,
}

impl PackChoice {
    /// As manifests state it.
    pub fn to_json(self) -> Value {
        json!({ "kept": self.packing.name(), "bytes": self.bytes, "gain": self.gain })
    }
}

/// Products must become faster by this factor: what is kept doubles the memory of the weights, and is read from memory where a
/// weight that is ordered piece by piece often comes from a cache.
const WORTH: f64 = 1.1;

/// Times each product is tried.
const ROUNDS: usize = 3;

/// Rows after which a product orders its weight again, so that more change no share.
const ROWS: usize = 1024;

/// Lets the products with a model's frozen weights keep packs, as the policy decides. On a device, and where all of the model
/// learns, nothing is kept.
pub fn keep_packs(model: &mut dyn Backbone, policy: PackPolicy) -> Result<PackChoice> {
    let mut names: Vec<String> = model.linear_sites().iter().map(|site| format!("{}.weight", site.name)).collect();
    let layers = names.len();
    names.extend(model.head_name().map(String::from));
    let mut weights: Vec<&mut Parameter> = Vec::new();
    let mut largest: Option<Tensor> = None;
    for p in model.parameters_mut() {
        let Some(place) = names.iter().position(|name| name == p.name()) else { continue };
        let value = p.value();
        let packs = matches!(value.dtype(), DType::F32 | DType::Bf16 | DType::F16) && value.device() == Device::Cpu;
        if !packs || p.learning() == Learning::Trainable {
            continue;
        }
        // The head is far larger than a layer, and is multiplied with few rows at once.
        if place < layers && largest.as_ref().is_none_or(|w| w.count() < value.count()) {
            largest = Some(value.clone());
        }
        weights.push(p);
    }
    let bytes = |packing: Packing| -> u64 {
        let of = |w: &Tensor| packing.bytes(w.precision(), w.dims()[0], w.dims()[1]) as u64;
        weights.iter().map(|p| of(p.value())).sum()
    };
    let (packing, gain) = match (policy, largest) {
        (PackPolicy::Fixed(packing), _) => (packing, None),
        (PackPolicy::Measured { rows, free }, Some(largest)) if bytes(Packing::Both) > 0 => {
            let (packing, gain) = packing_that_pays(&largest, rows, |packing| bytes(packing) <= free)?;
            (packing, Some(gain))
        }
        _ => (Packing::Anew, None),
    };
    let bytes = bytes(packing);
    for p in weights {
        p.set_value(p.value().clone().with_packs(packing));
    }
    Ok(PackChoice { packing, bytes, gain })
}

/// The most that pays and fits, by a trial on `weight` with as many rows as a batch has; and what each direction gains by it (see
/// [`PackChoice::gain`]).
pub fn packing_that_pays(weight: &Tensor, rows: usize, fits: impl Fn(Packing) -> bool) -> Result<(Packing, [f64; 2])> {
    let gain = gain(weight, rows.min(ROWS))?;
    Ok((worth_keeping(gain, fits), gain))
}

/// The most that pays and fits.
fn worth_keeping([forward, backward]: [f64; 2], fits: impl Fn(Packing) -> bool) -> Packing {
    if forward >= WORTH && backward >= WORTH && fits(Packing::Both) {
        Packing::Both
    } else if forward >= WORTH && fits(Packing::Forward) {
        Packing::Forward
    } else {
        Packing::Anew
    }
}

/// Time of a product that orders `weight` over that of one with its pack, forward and backward; the least of some tries.
fn gain(weight: &Tensor, rows: usize) -> Result<[f64; 2]> {
    let ways = [Packing::Anew, Packing::Both].map(|packing| weight.clone().with_packs(packing));
    let ratio = |layout: Layout, width: usize| -> Result<f64> {
        let x = Tensor::from_vec(vec![1.0f32; rows * width], &[rows, width])?;
        let mut least = [f64::INFINITY; 2];
        for round in 0..=ROUNDS {
            for (least, weight) in least.iter_mut().zip(&ways) {
                let start = Instant::now();
                matmul(&x, weight, layout)?;
                // The first brings pages into memory and makes the pack.
                if round > 0 {
                    *least = least.min(start.elapsed().as_secs_f64());
                }
            }
        }
        Ok(least[0] / least[1])
    };
    Ok([ratio(Layout::RightTransposed, weight.dims()[1])?, ratio(Layout::Normal, weight.dims()[0])?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pays_is_kept_as_far_as_it_fits() {
        let both = |_: Packing| true;
        let one = |packing: Packing| packing != Packing::Both;
        assert_eq!(worth_keeping([2.0, 1.5], both), Packing::Both);
        assert_eq!(worth_keeping([2.0, 1.5], one), Packing::Forward);
        assert_eq!(worth_keeping([2.0, 1.0], both), Packing::Forward);
        assert_eq!(worth_keeping([1.0, 2.0], both), Packing::Anew);
        assert_eq!(worth_keeping([2.0, 2.0], |packing| packing == Packing::Anew), Packing::Anew);
    }
}
