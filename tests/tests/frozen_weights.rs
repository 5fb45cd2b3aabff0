//! What frozen weights read is not kept. One test in a binary of its own, because the allocator counts for all.

#![allow(clippy::unwrap_used, reason = "tests")]

use clinpeft_autodiff::{Var, backward, ops};
use clinpeft_tensor::{DType, Tensor, memory};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Bytes that are alive after the forward pass through `layers` linear layers, without the weights.
fn kept(layers: usize, frozen: bool) -> usize {
    let (t, d) = (256, 128);
    let weights: Vec<Var> = (0..layers)
        .map(|_| {
            let w = Tensor::zeros(&[d, d], DType::F32);
            if frozen { Var::constant(w) } else { Var::leaf(w) }
        })
        .collect();
    let adapter = Var::leaf(Tensor::zeros(&[d, d], DType::F32));
    let x = Var::constant(Tensor::zeros(&[t, d], DType::F32));
    let in_use = || MEMORY.current_usage() + memory::in_use();
    let before = in_use();
    let mut y = ops::linear(&x, &adapter).unwrap();
    for w in &weights {
        y = ops::linear(&y, w).unwrap();
    }
    let after = in_use();
    assert!(backward(&y).unwrap().of(&adapter).is_some());
    after - before
}

#[test]
fn step_of_an_adapter_keeps_nothing_that_frozen_weights_read() {
    kept(1, true);
    let row_bytes = 256 * 128 * 4;
    let (few, many) = (kept(2, true), kept(20, true));
    assert!(many < few + row_bytes / 4, "{few} bytes for 2 layers, {many} for 20");
    // The check can fail: weights that learn keep what they read.
    let learning = kept(20, false);
    assert!(learning > many + 15 * row_bytes, "{learning} bytes with learning weights, {many} with frozen ones");
}
