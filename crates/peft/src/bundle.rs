//! A stack, its head and its provenance, saved and loaded as one folder.
//!
//! ```text
//! stack.json                      order, roles, head, labels, provenance
//! <adapter>/adapter_config.json   one folder for each adapter, in the form of PEFT
//! <adapter>/adapter_model.safetensors
//! head.safetensors                the head, where there is no adapter
//! ```
//!
//! Beside adapters the head is in the folder of each, where PEFT wants it; the one of the last is used.

use crate::files::finite;
use crate::{Activity, AdapterName, Error, Loaded, ModelShape, Result, Stack, TaskType, load_adapter, save_adapter};
use clinpeft_nn::{Classifier, Parameter, Trainability};
use clinpeft_weights::{Checkpoint, TensorMap, save};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// A classification head with the names of what it scores.
#[derive(Debug, Clone)]
pub struct Head {
    /// The weights.
    pub classifier: Classifier,
    /// One name for each row.
    pub labels: Vec<String>,
}

/// What is saved after training.
#[derive(Debug, Clone, Default)]
pub struct AdapterBundle {
    /// The adapters.
    pub stack: Stack,
    /// The head, if the task has one.
    pub head: Option<Head>,
    /// Where it comes from: model hash, run, data; free text by key.
    pub provenance: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    adapters: Vec<Role>,
    labels: Option<Vec<String>>,
    provenance: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Role {
    name: AdapterName,
    method: String,
    active: bool,
    trainable: bool,
}

/// File of a head without adapters.
const HEAD: &str = "head.safetensors";

/// The head of those tensors; `None` if they hold none of that shape.
fn classifier(saved: &TensorMap, dims: &[usize]) -> Option<Result<Classifier>> {
    let part = |name: &str| ["score", "classifier"].iter().find_map(|own| saved.get(&format!("{own}.{name}")));
    let weight = part("weight").filter(|w| w.dims() == dims)?;
    let head = Classifier::from_weight(weight.clone(), Trainability::Trainable);
    Some(match part("bias") {
        Some(bias) => head.with_bias(bias.clone()).map_err(Error::from),
        None => Ok(head),
    })
}

impl AdapterBundle {
    /// Writes everything into `dir`, which appears whole or not at all.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let pending = clinpeft_files::commit_dir(dir, clinpeft_files::Access::Shared)?;
        let root = pending.path();
        let task = if self.head.is_some() { TaskType::SequenceClassification } else { TaskType::CausalLm };
        let named = |p: &Parameter| (p.name().to_string(), p.value().clone());
        let head: TensorMap = self.head.iter().flat_map(|h| h.classifier.parameters().map(named)).collect();
        let mut adapters = Vec::new();
        for e in self.stack.entries() {
            save_adapter(&root.join(&*e.name), &*e.adapter, Some(task), &head)?;
            adapters.push(Role {
                name: e.name.clone(),
                method: e.adapter.method().into(),
                active: e.activity == Activity::Active,
                trainable: e.trainability() == Trainability::Trainable,
            });
        }
        if adapters.is_empty() && !head.is_empty() {
            save(&root.join(HEAD), &head, &BTreeMap::new())?;
        }
        let labels = self.head.as_ref().map(|h| h.labels.clone());
        let file = File { format: 1, adapters, labels, provenance: self.provenance.clone() };
        clinpeft_files::write_json(&root.join("stack.json"), &file)?;
        Ok(pending.commit()?)
    }

    /// Loads a folder for a model of the given shape; roles are as saved. Errors with [`clinpeft_files::Error::Damaged`] if a
    /// file of the folder is not as it was written.
    pub fn load(dir: &Path, shape: &ModelShape) -> Result<AdapterBundle> {
        clinpeft_files::verify(dir)?;
        let path = dir.join("stack.json");
        let file: File = clinpeft_files::read_json(&path)?;
        let wrong = |what: String| Error::Format { path: path.clone(), what };
        if file.format != 1 {
            return Err(wrong(format!("format {} is not known\nhint: a newer clinpeft wrote it", file.format)));
        }
        let (mut stack, mut saved) = (Stack::new(), TensorMap::new());
        for role in &file.adapters {
            let learning = if role.trainable { Trainability::Trainable } else { Trainability::Frozen };
            let Loaded { adapter, head, .. } = load_adapter(&dir.join(&*role.name), shape, learning)?;
            saved = head;
            if adapter.method() != role.method {
                return Err(wrong(format!(
                    "adapter `{}` is called {}, but its folder holds {}\nhint: the folder was changed after it was saved",
                    role.name,
                    role.method,
                    adapter.method()
                )));
            }
            let activity = if role.active { Activity::Active } else { Activity::Inactive };
            stack.push(&role.name, adapter, activity)?;
        }
        let head = match file.labels {
            None => None,
            Some(labels) => {
                if file.adapters.is_empty() {
                    let weights = Checkpoint::open_file(&dir.join(HEAD))?;
                    for (name, stored) in weights.tensors() {
                        saved.insert(name.clone(), finite(&weights, name, &stored.dims)?);
                    }
                }
                let classifier = classifier(&saved, &[labels.len(), shape.width]).ok_or_else(|| {
                    let what = "no folder holds the head that its labels belong to";
                    wrong(format!("{what}\nhint: the head stands beside the last adapter"))
                })?;
                Some(Head { classifier: classifier?, labels })
            }
        };
        Ok(AdapterBundle { stack, head, provenance: file.provenance })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Lora, LoraConfig, Scaling};
    use clinpeft_nn::TargetModule;
    use clinpeft_rng::Seed;
    use clinpeft_tensor::Tensor;

    #[test]
    fn two_adapters_and_head_come_back_with_their_roles() {
        let modules = [TargetModule { name: "l.q_proj".into(), input: 3, output: 4 }];
        let config =
            LoraConfig { r: 2, alpha: 2.0, dropout: 0.1, targets: vec!["q_proj".into()], scaling: Scaling::Standard };
        let mut bundle = AdapterBundle::default();
        for (name, learning) in [("clinical", Trainability::Frozen), ("downstream", Trainability::Trainable)] {
            let lora = Lora::new(config.clone(), &modules, Seed(1), learning).unwrap();
            bundle.stack.push(name, Box::new(lora), Activity::Active).unwrap();
        }
        let classifier = Classifier::new(2, 3, &mut Seed(2).stream("head")).unwrap();
        bundle.head = Some(Head { classifier, labels: vec!["NO".into(), "YES".into()] });
        bundle.provenance.insert("base".into(), "abc".into());
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("adapter");
        bundle.save(&target).unwrap();
        let shape = |width| ModelShape {
            width,
            layers: 1,
            heads: 1,
            kv_heads: 1,
            head_width: width,
            modules: modules.to_vec(),
        };
        let again = AdapterBundle::load(&target, &shape(3)).unwrap();
        assert_eq!(again.stack.status(None), bundle.stack.status(None));
        assert_eq!(again.provenance, bundle.provenance);
        let values = |u: &AdapterBundle| -> Vec<(String, Vec<f64>)> {
            let all = u.head.as_ref().unwrap().classifier.parameters();
            all.map(|p| (p.name().to_string(), p.value().to_f64_vec().unwrap())).collect()
        };
        assert_eq!(values(&bundle), values(&again));
        let mut head = bundle.head.clone().unwrap();
        assert_eq!(head.labels, again.head.unwrap().labels);
        let bias = Tensor::from_vec(vec![0.5f32, -0.5], &[2]).unwrap();
        head.classifier = head.classifier.with_bias(bias).unwrap();
        bundle.head = Some(head);
        let with_bias = dir.path().join("with bias");
        bundle.save(&with_bias).unwrap();
        assert_eq!(values(&bundle), values(&AdapterBundle::load(&with_bias, &shape(3)).unwrap()));
        assert!(AdapterBundle::load(&target, &shape(5)).is_err(), "a head for another width is refused");
        let weights = target.join("clinical/adapter_model.safetensors");
        let mut bytes = std::fs::read(&weights).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&weights, bytes).unwrap();
        let Err(Error::File(clinpeft_files::Error::Damaged { path, .. })) = AdapterBundle::load(&target, &shape(3))
        else {
            panic!("an altered adapter was loaded");
        };
        assert_eq!(path, weights);
    }

    #[test]
    fn a_folder_whose_adapters_lie_outside_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let role = r#"{"name": "../evil", "method": "lora", "active": true, "trainable": false}"#;
        let text = format!(r#"{{"format": 1, "adapters": [{role}], "labels": null, "provenance": {{}}}}"#);
        std::fs::write(dir.path().join("stack.json"), text).unwrap();
        let shape = ModelShape { width: 3, layers: 1, heads: 1, kv_heads: 1, head_width: 3, modules: vec![] };
        let said = AdapterBundle::load(dir.path(), &shape).unwrap_err().to_string();
        assert!(said.contains("stack.json") && said.contains("`../evil` is no name of an adapter"), "{said}");
    }
}
