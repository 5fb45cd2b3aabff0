//! Merging: the update of an adapter becomes part of the weights.

use crate::update::need_finite;
use crate::{Adapter, Error, Result};
use clinpeft_nn::{Backbone, Parameter};
use clinpeft_tensor::{DType, Tensor};
use std::collections::BTreeMap;

/// Puts the updates of `adapter` into the weights of `model`. The model alone then computes what both computed before.
///
/// Errors, before anything is changed, if the adapter cannot be merged, the model lacks a weight, or a weight would not be
/// finite ([`Error::NotFinite`]).
pub fn merge(model: &mut dyn Backbone, adapter: &dyn Adapter) -> Result<()> {
    let modules = adapter.mergeable();
    if modules.is_empty() {
        return Err(Error::Config(format!(
            "a {} adapter changes no weight and cannot be merged\nhint: LoRA, DoRA, AdaLoRA and IA3 can",
            adapter.method()
        )));
    }
    let mut biases = BTreeMap::new();
    {
        // Every weight is computed twice, so that an error comes before any change without two models in memory.
        let all: BTreeMap<&str, &Parameter> = model.parameters().into_iter().map(|p| (p.name(), p)).collect();
        for module in &modules {
            let name = format!("{module}.weight");
            let weight = all.get(&*name).ok_or_else(|| {
                Error::Config(format!("the model has no `{name}`\nhint: the adapter is for another model"))
            })?;
            let update = adapter.update(module, weight)?;
            merged(weight, |w| update.weight(w).map(Some))?;
            if let Some(bias) = all.get(&*format!("{module}.bias"))
                && let Some(new) = merged(bias, |b| update.bias(b))?
            {
                biases.insert(bias.name().to_string(), new);
            }
        }
    }
    for p in model.parameters_mut() {
        let module = p.name().strip_suffix(".weight").filter(|n| modules.iter().any(|s| s == n));
        let new = match module {
            Some(module) => merged(p, |w| adapter.update(module, p)?.weight(w).map(Some))?,
            None => biases.remove(p.name()),
        };
        if let Some(new) = new {
            let device = p.value().device();
            p.set_value(new.to_device(&device)?);
        }
    }
    Ok(())
}

/// What `f` makes of a parameter, in its type. Errors if that is not finite.
fn merged(p: &Parameter, f: impl Fn(&Tensor) -> Result<Option<Tensor>>) -> Result<Option<Tensor>> {
    let Some(new) = f(&p.value().to_cpu()?.cast(DType::F32)?)? else { return Ok(None) };
    let new = new.cast(p.value().dtype())?;
    need_finite(p.name(), &new, "after the update")?;
    Ok(Some(new))
}
