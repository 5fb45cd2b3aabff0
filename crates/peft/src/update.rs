//! What merging makes of the weights of a linear layer.

use crate::{Error, Result};
use clinpeft_tensor::ops::{self, Layout};
use clinpeft_tensor::{DType, Tensor};

/// How an adapter changes the weight `W` `[out, in]` of one layer, and with it the bias.
#[derive(Debug, Clone)]
pub enum Update {
    /// `W + s B A` (LoRA, AdaLoRA); holds `s B A`.
    Add(Tensor),
    /// `m * (W + s B A)` (DoRA); holds `s B A` and m by row. The bias stays.
    AddAndScaleRows(Tensor, Vec<f64>),
    /// `diag(l) W` and `l * b` (IA3); holds l by output.
    ScaleOutputs(Vec<f64>),
    /// `W diag(l)` (IA3 of a feed-forward layer); holds l by input. The bias stays.
    ScaleInputs(Vec<f64>),
}

impl Update {
    /// The merged weight; `weight` in f32 on the CPU.
    pub(crate) fn weight(&self, weight: &Tensor) -> Result<Tensor> {
        let width = weight.dims()[1];
        match self {
            Update::Add(sum) => Ok(ops::add(weight, sum)?),
            Update::AddAndScaleRows(sum, rows) => scaled(ops::add(weight, sum)?, |i| rows[i / width]),
            Update::ScaleOutputs(rows) => scaled(weight.clone(), |i| rows[i / width]),
            Update::ScaleInputs(columns) => scaled(weight.clone(), |i| columns[i % width]),
        }
    }

    /// The merged bias, where it changes; `bias` in f32 on the CPU.
    pub(crate) fn bias(&self, bias: &Tensor) -> Result<Option<Tensor>> {
        match self {
            Update::ScaleOutputs(rows) => scaled(bias.clone(), |i| rows[i]).map(Some),
            _ => Ok(None),
        }
    }
}

/// Every value times its factor, computed in f64.
fn scaled(mut tensor: Tensor, factor: impl Fn(usize) -> f64) -> Result<Tensor> {
    for (i, x) in tensor.as_mut_slice::<f32>()?.iter_mut().enumerate() {
        *x = (f64::from(*x) * factor(i)) as f32;
    }
    Ok(tensor)
}

/// `s B A` on the CPU.
pub(crate) fn product(a: &Tensor, b: &Tensor, scale: f64) -> Result<Tensor> {
    let sum = ops::matmul(&b.to_cpu()?, &a.to_cpu()?, Layout::Normal)?;
    Ok(ops::scale(&sum, scale)?)
}

/// Errors with the name of a tensor that holds an infinite value or none. `when` says where it was looked at.
pub(crate) fn need_finite(name: &str, t: &Tensor, when: &'static str) -> Result<()> {
    let wide = if t.dtype() == DType::F64 { t.clone() } else { t.to_cpu()?.cast(DType::F32)? };
    let finite = match wide.dtype() {
        DType::F64 => wide.as_slice::<f64>()?.iter().all(|x| x.is_finite()),
        _ => wide.as_slice::<f32>()?.iter().all(|x| x.is_finite()),
    };
    if finite { Ok(()) } else { Err(Error::NotFinite { name: name.into(), when }) }
}
