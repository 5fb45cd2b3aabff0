//! The three matrices of a layer, and which of their ranks are left.

use crate::Result;
use clinpeft_nn::{Parameter, Trainability};
use clinpeft_tensor::Tensor;

#[derive(Debug, Clone)]
pub(super) struct Triplet {
    /// `[r, in]`.
    pub(super) a: Parameter,
    /// `[r, 1]`.
    pub(super) e: Parameter,
    /// `[out, r]`.
    pub(super) b: Parameter,
    /// Which of the initial ranks are left, once ranks have fallen.
    pub(super) pattern: Option<Vec<bool>>,
}

impl Triplet {
    pub(super) fn new(module: &str, [a, e, b]: [Tensor; 3], learning: Trainability) -> Triplet {
        let parameter = |part: &str, value| Parameter::new(format!("{module}.{part}"), value, learning);
        Triplet { a: parameter("lora_A", a), e: parameter("lora_E", e), b: parameter("lora_B", b), pattern: None }
    }

    /// Ranks that are left.
    pub(super) fn rank(&self) -> usize {
        let all = self.e.value().dims()[0];
        self.pattern.as_ref().map_or(all, |p| p.iter().filter(|x| **x).count())
    }

    /// Places of the ranks that are left in the tensors, which still hold all of them while it trains.
    pub(super) fn kept(&self) -> Vec<usize> {
        let all = self.e.value().dims()[0];
        match &self.pattern {
            Some(p) if p.len() == all => (0..all).filter(|i| p[*i]).collect(),
            _ => (0..all).collect(),
        }
    }
}

/// Chosen rows of a matrix `[rows, width]`.
pub(super) fn rows(t: &Tensor, chosen: &[usize]) -> Result<Tensor> {
    let t = t.to_cpu()?;
    let ids: Vec<u32> = chosen.iter().map(|i| *i as u32).collect();
    Ok(clinpeft_tensor::ops::embedding(&t, &Tensor::from_vec(ids, &[chosen.len()])?)?)
}

/// Chosen columns of a matrix.
pub(super) fn columns(t: &Tensor, chosen: &[usize]) -> Result<Tensor> {
    let t = t.to_cpu()?;
    let width = t.dims()[1];
    let values = t.as_slice::<f32>()?;
    let kept: Vec<f32> = values.chunks_exact(width.max(1)).flat_map(|row| chosen.iter().map(|i| row[*i])).collect();
    Ok(Tensor::from_vec(kept, &[t.dims()[0], chosen.len()])?)
}
