//! Low-rank updates inside the weights: merging, taking out again, and several LoRAs as one.
//!
//! ```text
//! LoRA:    W + s B A        AdaLoRA: W + s B diag(E) A        DoRA: m / |W + s B A| * (W + s B A)
//! linear:  A = sum sqrt(|w s|) A_i,  B = sum sign(w) sqrt(|w s|) B_i          (as PEFT: only an approximation of the sum)
//! cat:     A = [w s A_i],  B = [B_i]: the weighted sum of the updates, exactly
//! ```

use crate::lora::Pair;
use crate::{Adapter, Error, FileKeys, Lora, LoraConfig, Result, Scaling};
use clinpeft_nn::{Backbone, Parameter, Trainability};
use clinpeft_tensor::ops::{self, Layout};
use clinpeft_tensor::{DType, Tensor};
use std::collections::BTreeMap;

/// Adds the updates of `adapter` to the weights of `model`. The model alone then computes what both computed before.
///
/// Errors, before anything is changed, if the adapter is no low-rank update, a weight is not there, or a weight would not be
/// finite ([`Error::NotFinite`]).
pub fn merge(model: &mut dyn Backbone, adapter: &dyn Adapter) -> Result<()> {
    change(model, adapter, Update::apply)
}

/// Takes the updates of `adapter` out of the weights of `model`; up to rounding, [`merge`] is undone. Not possible for a
/// DoRA, whose lengths depend on the weights before.
pub fn unmerge(model: &mut dyn Backbone, adapter: &dyn Adapter) -> Result<()> {
    if adapter.method() == "dora" {
        return Err(Error::Config("a merged DoRA cannot be taken out\nhint: load the model again".into()));
    }
    change(model, adapter, Update::undo)
}

/// What an adapter makes of one weight.
#[derive(Debug, Clone)]
pub struct Update {
    /// `s B A`, `[out, in]`.
    pub sum: Tensor,
    /// Factor of each row after the sum (DoRA), `[out]`.
    pub rows: Option<Vec<f64>>,
}

impl Update {
    fn apply(&self, weight: &Tensor) -> Result<Tensor> {
        let both = ops::add(weight, &self.sum)?;
        self.by_rows(both, |x, factor| x * factor)
    }

    fn undo(&self, weight: &Tensor) -> Result<Tensor> {
        Ok(ops::add(weight, &ops::scale(&self.sum, -1.0)?)?)
    }

    fn by_rows(&self, mut weight: Tensor, f: impl Fn(f64, f64) -> f64) -> Result<Tensor> {
        let Some(factors) = &self.rows else { return Ok(weight) };
        let width = weight.dims()[1].max(1);
        let values = weight.as_mut_slice::<f32>()?;
        for (row, factor) in values.chunks_exact_mut(width).zip(factors) {
            for x in row {
                *x = f(f64::from(*x), *factor) as f32;
            }
        }
        Ok(weight)
    }
}

fn change(
    model: &mut dyn Backbone,
    adapter: &dyn Adapter,
    f: impl Fn(&Update, &Tensor) -> Result<Tensor>,
) -> Result<()> {
    let sites = adapter.low_rank_sites();
    if sites.is_empty() {
        return Err(Error::Config(format!(
            "a {} adapter is no low-rank update and cannot be merged\nhint: LoRA, DoRA and AdaLoRA can",
            adapter.method()
        )));
    }
    for site in &sites {
        weight_of(model, site)?;
    }
    let changed = |p: &Parameter| -> Result<Option<Tensor>> {
        let site = p.name().strip_suffix(".weight").filter(|n| sites.iter().any(|s| s == n));
        let Some(site) = site else { return Ok(None) };
        let update = adapter.update(site, p)?;
        let new = f(&update, &p.value().to_cpu()?.cast(DType::F32)?)?.cast(p.value().dtype())?;
        need_finite(p.name(), &new, "after the update")?;
        Ok(Some(new))
    };
    // Twice, so that an error comes before any change without two models in memory.
    for p in model.parameters() {
        changed(p)?;
    }
    for p in model.parameters_mut() {
        if let Some(new) = changed(p)? {
            let device = p.value().device();
            p.set_value(new.to_device(&device)?);
        }
    }
    Ok(())
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

fn weight_of<'a>(model: &'a dyn Backbone, site: &str) -> Result<&'a Parameter> {
    let name = format!("{site}.weight");
    let found = model.parameters().into_iter().find(|p| p.name() == name);
    found.ok_or_else(|| Error::Config(format!("the model has no `{name}`\nhint: the adapter is for another model")))
}

/// How several LoRAs become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combination {
    /// Matrices are added; all must have one rank.
    Linear,
    /// Matrices are put beside each other; ranks add up.
    Cat,
}

/// One LoRA from several with weights. Errors if they do not fit together, or a matrix would not be finite.
pub fn combine(parts: &[(&Lora, f64)], how: Combination) -> Result<Lora> {
    let wrong = |what: &str| Err(Error::Config(what.into()));
    let Some((first, _)) = parts.first() else {
        return wrong("there is nothing to combine\nhint: name at least one LoRA");
    };
    let same_sites = parts.iter().all(|(l, _)| l.pairs.keys().eq(first.pairs.keys()));
    let same_rank = parts.iter().all(|(l, _)| l.config.r == first.config.r);
    if !same_sites || (how == Combination::Linear && !same_rank) {
        return wrong(
            "these LoRAs have other layers, or for a linear combination other ranks\nhint: `cat` takes any ranks",
        );
    }
    let mut pairs = BTreeMap::new();
    for site in first.pairs.keys() {
        let mut sum: Option<(Tensor, Tensor)> = None;
        for (lora, weight) in parts {
            let (a, b) = weighted(lora, site, *weight, how)?;
            sum = Some(match (sum, how) {
                (None, _) => (a, b),
                (Some((a0, b0)), Combination::Linear) => (ops::add(&a0, &a)?, ops::add(&b0, &b)?),
                (Some((a0, b0)), Combination::Cat) => (ops::concat(&a0, &a)?, ops::concat(&b0, &b)?),
            });
        }
        if let Some((a, b)) = sum {
            let b = if how == Combination::Cat { transposed(&b)? } else { b };
            for (part, t) in [("A", &a), ("B", &b)] {
                need_finite(&format!("{site}.lora_{part}.weight"), t, "after the combination")?;
            }
            pairs.insert(site.clone(), Pair::new(site, a, b, Trainability::Frozen));
        }
    }
    let r = match how {
        Combination::Linear => first.config.r,
        Combination::Cat => parts.iter().map(|(l, _)| l.config.r).sum(),
    };
    let config = LoraConfig {
        r,
        alpha: r as f64,
        dropout: 0.0,
        targets: first.config.targets.clone(),
        scaling: Scaling::Standard,
    };
    Ok(Lora { config, pairs, files: FileKeys::default() })
}

/// A and B of one part; for `cat` B is transposed, so that its columns are rows.
fn weighted(lora: &Lora, site: &str, weight: f64, how: Combination) -> Result<(Tensor, Tensor)> {
    let (pair, factor) = (&lora.pairs[site], weight * lora.config.scale());
    let (a, b) = (pair.a.value().to_cpu()?, pair.b.value().to_cpu()?);
    Ok(match how {
        Combination::Linear => {
            let root = factor.abs().sqrt();
            (ops::scale(&a, root)?, ops::scale(&b, root * factor.signum())?)
        }
        Combination::Cat => (ops::scale(&a, factor)?, transposed(&b)?),
    })
}

fn transposed(t: &Tensor) -> Result<Tensor> {
    let (rows, columns) = (t.dims()[0], t.dims()[1]);
    let values = t.as_slice::<f32>()?;
    let turned = (0..columns).flat_map(|c| (0..rows).map(move |r| values[r * columns + c]));
    Ok(Tensor::from_vec(turned.collect(), &[columns, rows])?)
}

/// `s B A` on the CPU.
pub(crate) fn product(a: &Tensor, b: &Tensor, scale: f64) -> Result<Tensor> {
    let sum = ops::matmul(&b.to_cpu()?, &a.to_cpu()?, Layout::Normal)?;
    Ok(ops::scale(&sum, scale)?)
}
