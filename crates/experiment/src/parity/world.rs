//! A model with the adapters and the head of a case.

use super::manifest::{Case, Model};
use crate::{Error, Result};
use clinpeft_llama::Llama;
use clinpeft_nn::{Backbone, Classifier, Learning, Parameter};
use clinpeft_peft::{Activity, Loaded, ModelShape, Stack, load_adapter};
use clinpeft_rng::Seed;
use clinpeft_tensor::{DType, Device};
use clinpeft_weights::{Checkpoint, Keep, TensorMap};
use std::path::{Path, PathBuf};

/// Everything that runs in a case.
#[derive(Clone)]
pub(super) struct World {
    pub model: Llama,
    pub stack: Stack,
    /// With its name in the reference.
    pub head: Option<(String, Classifier)>,
}

/// An adapter folder and what it is called.
pub(super) struct Folder {
    pub name: String,
    pub path: PathBuf,
}

impl World {
    /// Loads everything of a case through the ordinary loaders. The error says what is not supported.
    pub(super) fn load(dir: &Path, case: &Case, model: &Model, device: &Device) -> Result<World> {
        if !matches!(model.kind.as_str(), "causal" | "cls") {
            return Err(Error::Options(format!("models of the kind `{}` are not supported", model.kind)));
        }
        let mut llama = Llama::load(&dir.join(&model.path), Keep::As(DType::F32), device)?;
        if case.adapter.is_none() {
            llama.parameters_mut().into_iter().for_each(|p| p.set_learning(Learning::Trainable));
        }
        let shape = ModelShape::of(&llama);
        let mut head = (model.kind == "cls").then(|| own_head(dir, model, case)).transpose()?;
        let mut stack = Stack::new();
        for folder in folders(dir, case) {
            let learning = learning(case, &folder.name);
            let Loaded { adapter, head: saved, .. } = load_adapter(&folder.path, &shape, learning)?;
            if let (Some(head), false) = (&mut head, saved.is_empty()) {
                let prefix = adapter.saved()?.head_prefix;
                let name = format!("{prefix}score.modules_to_save.{}.weight", folder.name);
                *head = saved_head(name, &saved, case)?;
            }
            stack.push(&folder.name, adapter, Activity::Active)?;
        }
        stack.to_device(device)?;
        if let Some((_, c)) = &mut head {
            let value = c.weight().value().to_device(device).map_err(clinpeft_weights::Error::from)?;
            c.weight_mut().set_value(value);
        }
        Ok(World { model: llama, stack, head })
    }

    /// Makes what is trainable as it is in `before`; what a file held only the result of is made anew first.
    pub(super) fn set_parameters(&mut self, before: &Checkpoint) -> Result<()> {
        let mut renewed = Stack::new();
        for e in self.stack.entries() {
            let new = e.adapter.renewed(Seed(0), e.learning())?;
            renewed.push(&e.name, new.unwrap_or_else(|| e.adapter.boxed()), e.activity)?;
        }
        self.stack = renewed;
        for (name, p) in self.trainable_mut() {
            let device = p.value().device();
            let value = before.tensor(&name, p.value().dims(), Keep::As(DType::F32))?;
            p.set_value(value.to_device(&device).map_err(clinpeft_weights::Error::from)?);
        }
        Ok(())
    }

    /// What learns, under the names of the reference.
    pub(super) fn trainable(&self) -> Vec<(String, &Parameter)> {
        let base = self.model.parameters().into_iter().map(|p| (p.name().to_string(), p));
        let adapters = self.stack.entries().iter().flat_map(|e| {
            let named = |p: &&Parameter| e.adapter.peft_name(p.name(), &e.name);
            let all = e.adapter.parameters().into_iter();
            all.map(|p| (named(&p), p)).collect::<Vec<_>>()
        });
        let head = self.head.iter().map(|(name, c)| (name.clone(), c.weight()));
        let all = base.chain(adapters).chain(head);
        all.filter(|(_, p)| p.learning() == Learning::Trainable).collect()
    }

    /// The same for writing, in the same order.
    pub(super) fn trainable_mut(&mut self) -> Vec<(String, &mut Parameter)> {
        let names: Vec<String> = self.trainable().into_iter().map(|(n, _)| n).collect();
        let base = self.model.parameters_mut().into_iter();
        let adapters = self.stack.trainable_mut().into_iter().map(|(_, p)| p);
        let head = self.head.iter_mut().map(|(_, c)| c.weight_mut());
        let all = base.chain(adapters).chain(head);
        let learning = all.filter(|p| p.learning() == Learning::Trainable);
        names.into_iter().zip(learning).collect()
    }
}

/// The folders of the adapters of a case.
pub(super) fn folders(dir: &Path, case: &Case) -> Vec<Folder> {
    let Some(path) = case.adapter.as_ref().map(|a| dir.join(a)) else {
        return Vec::new();
    };
    if case.stack.is_empty() {
        let name = "default".to_string();
        return vec![Folder { name, path }];
    }
    let one = |name: &String| Folder { name: name.clone(), path: path.join(name) };
    case.stack.iter().map(one).collect()
}

/// Whether the reference trains the adapter of that name.
fn learning(case: &Case, adapter: &str) -> Learning {
    let own = |name: &&String| case.stack.is_empty() || name.contains(&format!(".{adapter}."));
    let adapter = |name: &&String| !name.contains("score.");
    if case.trainable.iter().filter(own).any(|n| adapter(&n)) { Learning::Trainable } else { Learning::Frozen }
}

fn head_learning(case: &Case, name: &str) -> Learning {
    if case.trainable.iter().any(|n| n == name) { Learning::Trainable } else { Learning::Frozen }
}

fn own_head(dir: &Path, model: &Model, case: &Case) -> Result<(String, Classifier)> {
    let weights = Checkpoint::open(&dir.join(&model.path))?;
    let name = "score.weight".to_string();
    let value = weights.any(&name, Keep::As(DType::F32))?;
    let learning = head_learning(case, &name);
    Ok((name, Classifier::from_weight(value, learning)))
}

fn saved_head(name: String, saved: &TensorMap, case: &Case) -> Result<(String, Classifier)> {
    let value = saved.get("score.weight").cloned().ok_or_else(|| {
        let names: Vec<&str> = saved.keys().map(String::as_str).collect();
        Error::Options(format!("a head with {} is not supported", names.join(", ")))
    })?;
    let learning = head_learning(case, &name);
    Ok((name, Classifier::from_weight(value, learning)))
}
