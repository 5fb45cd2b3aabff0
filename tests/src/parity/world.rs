//! A model with the adapters and the head of a case.

use super::manifest::{Case, Model};
use clinpeft_autodiff::{Var, ops};
use clinpeft_experiment::{Error, Family, Pretraining, Result};
use clinpeft_nn::{Backbone, Classifier, Hidden, Parameter, Trainability};
use clinpeft_peft::{Activity, Adapter, AdapterConfig, Loaded, ModelShape, Stack, load_adapter};
use clinpeft_rng::Seed;
use clinpeft_tensor::{DType, Device};
use clinpeft_weights::{Checkpoint, Keep, TensorMap};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Everything that runs in a case.
pub(super) struct World {
    pub model: Base,
    pub stack: Stack,
    /// With its name in the reference, without `.weight`.
    pub head: Option<(String, Classifier)>,
}

/// A model with its family.
pub(super) struct Base {
    pub family: Family,
    pub backbone: Box<dyn Backbone>,
}

impl Base {
    /// Loads the folder of a model through the loader of its family.
    pub(super) fn load(dir: &Path, model: &Model, keep: Keep, device: &Device) -> Result<Base> {
        if !["causal", "cls", "bert"].contains(&&*model.kind) {
            return Err(Error::Options(format!(
                "models of the kind `{}` are not supported\nhint: causal, cls and bert are",
                model.kind
            )));
        }
        let folder = dir.join(&model.path);
        let family = Family::of(&folder)?;
        let backbone = family.read(&folder, keep, Trainability::Frozen, Seed(0), device)?;
        Ok(Base { family, backbone })
    }

    /// Logits over the vocabulary of every hidden row.
    pub(super) fn logits(&self, hidden: &Hidden) -> Result<Var> {
        let name = self.backbone.head_name();
        let head = self.backbone.parameters().into_iter().find(|p| Some(p.name()) == name);
        let head = head.ok_or_else(|| Error::Options("this model predicts no next token".into()))?;
        ops::linear(&hidden.rows, head.var()).map_err(|e| Error::Model(e.into()))
    }
}

/// An adapter folder and what it is called.
pub(super) struct Folder {
    pub name: String,
    pub path: PathBuf,
}

impl World {
    /// Loads everything of a case through the ordinary loaders. The error says what is not supported.
    pub(super) fn load(dir: &Path, case: &Case, model: &Model, device: &Device) -> Result<World> {
        let mut base = Base::load(dir, model, Keep::As(DType::F32), device)?;
        if case.adapter.is_none() {
            let all = base.backbone.parameters_mut();
            all.into_iter().for_each(|p| p.set_trainability(Trainability::Trainable));
        }
        let shape = ModelShape::of(&*base.backbone);
        let mut head = own_head(dir, model, base.family, case)?;
        let mut stack = Stack::new();
        for folder in folders(dir, case) {
            let learning = learning(case, &folder.name);
            let Loaded { adapter, head: saved, .. } = load_adapter(&folder.path, &shape, learning)?;
            if let (Some(head), false) = (&mut head, saved.is_empty()) {
                let prefix = adapter.saved()?.head_prefix;
                let name = |own: &str| format!("{prefix}{own}.modules_to_save.{}", folder.name);
                *head = saved_head(name, &saved, case)?;
            }
            stack.push(&folder.name, adapter, Activity::Active)?;
        }
        stack.to_device(device)?;
        for p in head.iter_mut().flat_map(|(_, c)| c.parameters_mut()) {
            let value = p.value().to_device(device).map_err(clinpeft_weights::Error::from)?;
            p.set_value(value);
        }
        Ok(World { model: base, stack, head })
    }

    /// Makes what is trainable as it is in `before`; what a file held only the result of is made anew first.
    pub(super) fn set_parameters(&mut self, folders: &[Folder], before: &Checkpoint) -> Result<()> {
        let mut renewed = Stack::new();
        for (e, folder) in self.stack.entries().iter().zip(folders) {
            let new = with_network(&folder.path, &*self.model.backbone, e.trainability())?;
            renewed.push(&e.name, new.unwrap_or_else(|| e.adapter.clone_box()), e.activity)?;
        }
        let device = self.model.backbone.parameters().first().map(|p| p.value().device()).unwrap_or_default();
        renewed.to_device(&device)?;
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
        let base = self.model.backbone.parameters();
        let base = base.into_iter().map(|p| (p.name().to_string(), p));
        let adapters = self.stack.entries().iter().flat_map(|e| {
            let named = |p: &&Parameter| peft_name(&*e.adapter, p.name(), &e.name);
            let all = e.adapter.parameters().into_iter();
            all.map(|p| (named(&p), p)).collect::<Vec<_>>()
        });
        let head = self.head.iter().flat_map(|(name, c)| {
            let full = move |p: &Parameter| format!("{name}.{}", p.name().rsplit('.').next().unwrap_or_default());
            c.parameters().map(move |p| (full(p), p))
        });
        let all = base.chain(adapters).chain(head);
        all.filter(|(_, p)| p.trainability() == Trainability::Trainable).collect()
    }

    /// The same for writing, in the same order.
    pub(super) fn trainable_mut(&mut self) -> Vec<(String, &mut Parameter)> {
        let names: Vec<String> = self.trainable().into_iter().map(|(n, _)| n).collect();
        let base = self.model.backbone.parameters_mut().into_iter();
        let adapters = self.stack.trainable_mut().into_iter().map(|(_, p)| p);
        let head = self.head.iter_mut().flat_map(|(_, c)| c.parameters_mut());
        let all = base.chain(adapters).chain(head);
        let learning = all.filter(|p| p.trainability() == Trainability::Trainable);
        names.into_iter().zip(learning).collect()
    }
}

/// A new adapter with the settings of a folder, where its file holds only the rows that a network made.
fn with_network(folder: &Path, backbone: &dyn Backbone, learning: Trainability) -> Result<Option<Box<dyn Adapter>>> {
    let keys: Value = clinpeft_files::read_json(&folder.join("adapter_config.json"))?;
    let (n, inner) = (&keys["num_virtual_tokens"], &keys["encoder_hidden_size"]);
    let settings = match keys["peft_type"].as_str() {
        Some("PREFIX_TUNING") if keys["prefix_projection"] == true => {
            json!({"method": "prefix", "virtual_tokens": n, "source": {"projection": {"inner": inner}}})
        }
        Some("P_TUNING") if keys["encoder_reparameterization_type"] == "LSTM" => {
            let encoder = json!({"lstm": {"layers": keys["encoder_num_layers"], "dropout": keys["encoder_dropout"]}});
            json!({"method": "p_tuning", "virtual_tokens": n, "inner": inner, "encoder": encoder})
        }
        Some("P_TUNING") => json!({"method": "p_tuning", "virtual_tokens": n, "inner": inner, "encoder": "mlp"}),
        _ => return Ok(None),
    };
    let settings: AdapterConfig = serde_json::from_value(settings).map_err(|e| Error::Options(e.to_string()))?;
    Ok(Some(settings.build(backbone, Seed(0), learning)?))
}

/// The name of a parameter in a model of PEFT, where the adapter is called `name`.
fn peft_name(adapter: &dyn Adapter, parameter: &str, name: &str) -> String {
    match (adapter.method(), parameter.strip_suffix(".weight")) {
        ("prefix" | "prompt" | "p_tuning", _) => format!("prompt_encoder.{name}.{parameter}"),
        // PEFT keeps one adaptation prompt in place and names it after no adapter.
        ("adaptation_prompt", _) => format!("base_model.model.{parameter}"),
        (_, Some(stem)) => format!("base_model.model.{stem}.{name}.weight"),
        (_, None) => format!("base_model.model.{parameter}.{name}"),
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
fn learning(case: &Case, adapter: &str) -> Trainability {
    let own = |name: &&String| case.stack.is_empty() || name.contains(&format!(".{adapter}."));
    let adapter = |name: &&String| !name.contains("score.") && !name.contains("classifier.");
    if case.trainable.iter().filter(own).any(|n| adapter(&n)) { Trainability::Trainable } else { Trainability::Frozen }
}

/// Whether the reference trains the head called `name`.
fn head_learning(case: &Case, name: &str) -> Trainability {
    let weight = format!("{name}.weight");
    if case.trainable.contains(&weight) { Trainability::Trainable } else { Trainability::Frozen }
}

/// The head of the model's folder, where its kind has one.
fn own_head(dir: &Path, model: &Model, family: Family, case: &Case) -> Result<Option<(String, Classifier)>> {
    if model.kind == "causal" {
        return Ok(None);
    }
    let name = match family.pretraining() {
        Pretraining::NextToken => "score",
        Pretraining::MaskedTokens => "classifier",
    };
    let file = Checkpoint::open(&dir.join(&model.path))?;
    let part = |part: &str| file.any(&format!("{name}.{part}"), Keep::As(DType::F32));
    let head = Classifier::from_weight(part("weight")?, head_learning(case, name));
    let head = if family.head_has_bias() { head.with_bias(part("bias")?)? } else { head };
    Ok(Some((name.to_string(), head)))
}

/// The head that was saved beside an adapter; `named` makes its full name from its own.
fn saved_head(named: impl Fn(&str) -> String, saved: &TensorMap, case: &Case) -> Result<(String, Classifier)> {
    for own in ["score", "classifier"] {
        let Some(weight) = saved.get(&format!("{own}.weight")) else {
            continue;
        };
        let name = named(own);
        let learning = head_learning(case, &name);
        let head = Classifier::from_weight(weight.clone(), learning);
        return Ok(match saved.get(&format!("{own}.bias")) {
            Some(bias) => (name, head.with_bias(bias.clone())?),
            None => (name, head),
        });
    }
    let names: Vec<&str> = saved.keys().map(String::as_str).collect();
    Err(Error::Options(format!(
        "a head with {} is not supported\nhint: `score.weight` and `classifier.weight` are",
        names.join(", ")
    )))
}
