//! Low-rank adaptation (Hu et al. 2021, eq. 3): `y = W x + s B A drop(x)`, `s = alpha / r`.

use crate::{Adapter, Error, Result, TaskType};
use clinpeft_autodiff::{Var, ops};
use clinpeft_nn::{Learning, LinearSite, Parameter, Pass, Sites};
use clinpeft_rng::{RngExt, Seed};
use clinpeft_tensor::{DType, Tensor};
use clinpeft_weights::{Checkpoint, Keep, TensorMap, nearest, save};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// How the scale follows from alpha and r.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scaling {
    /// `alpha / r`.
    Standard,
    /// `alpha / sqrt(r)` (Kalajdzievski 2023).
    RankStabilised,
}

/// Settings of a LoRA; none has a default, because the paper searches over them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraConfig {
    /// Rank.
    pub r: usize,
    /// Numerator of the scale.
    pub alpha: f64,
    /// Share of inputs of A that is dropped in training.
    pub dropout: f64,
    /// Last parts of the names of the linear layers, for example `q_proj`.
    pub targets: Vec<String>,
    /// How the scale follows.
    pub scaling: Scaling,
}

impl LoraConfig {
    /// The factor of the update.
    pub fn scale(&self) -> f64 {
        match self.scaling {
            Scaling::Standard => self.alpha / self.r as f64,
            Scaling::RankStabilised => self.alpha / (self.r as f64).sqrt(),
        }
    }
}

/// A LoRA on some linear layers of a model.
#[derive(Debug, Clone)]
pub struct Lora {
    config: LoraConfig,
    pairs: BTreeMap<String, Pair>,
}

#[derive(Debug, Clone)]
struct Pair {
    /// `[r, in]`.
    a: Parameter,
    /// `[out, r]`.
    b: Parameter,
}

const PREFIX: &str = "base_model.model.";

impl Lora {
    /// A new adapter: A uniform in +-1/sqrt(in), B zero, so that it begins as no change.
    ///
    /// Errors if a target matches no layer, or a setting cannot be.
    pub fn new(config: LoraConfig, sites: &[LinearSite], seed: Seed, learning: Learning) -> Result<Lora> {
        let chosen = targeted(&config, sites)?;
        let pairs = chosen
            .into_iter()
            .map(|site| {
                let bound = 1.0 / (site.input as f32).sqrt();
                let mut rng = seed.stream(&format!("{}.lora_A", site.name));
                let a: Vec<f32> = (0..config.r * site.input)
                    .map(|_| rng.random_range(-bound..bound))
                    .collect();
                let a = Tensor::from_vec(a, &[config.r, site.input])?;
                let b = Tensor::zeros(&[site.output, config.r], DType::F32);
                Ok((site.name.clone(), Pair::new(&site.name, a, b, learning)))
            })
            .collect::<Result<_>>()?;
        Ok(Lora { config, pairs })
    }

    /// Loads a PEFT folder. Errors if it holds another method, or names that this model does not have.
    pub fn load(dir: &Path, sites: &[LinearSite], learning: Learning) -> Result<Lora> {
        let path = dir.join("adapter_config.json");
        let file: PeftConfig = clinpeft_files::read_json(&path)?;
        let config = file.into_config(&path)?;
        let weights = Checkpoint::open_file(&dir.join("adapter_model.safetensors"))?;
        let mut pairs = BTreeMap::new();
        let mut used = 0;
        for site in targeted(&config, sites)? {
            let name = |part: &str| format!("{PREFIX}{}.{part}.weight", site.name);
            let keep = Keep::As(DType::F32);
            let a = weights.tensor(&name("lora_A"), &[config.r, site.input], keep)?;
            let b = weights.tensor(&name("lora_B"), &[site.output, config.r], keep)?;
            used += 2;
            pairs.insert(site.name.clone(), Pair::new(&site.name, a, b, learning));
        }
        if used != weights.tensors().len() {
            let known = |n: &&String| {
                let plain = n.trim_start_matches(PREFIX);
                pairs
                    .keys()
                    .any(|s| plain.starts_with(s.as_str()) && plain[s.len()..].starts_with(".lora_"))
            };
            let stranger = weights
                .tensors()
                .keys()
                .find(|n| !known(n))
                .cloned()
                .unwrap_or_default();
            let near = nearest(&stranger, pairs.keys().map(String::as_str)).unwrap_or_default();
            let what = format!("tensor `{stranger}` belongs to no targeted layer\nhint: the nearest layer is `{near}`");
            return Err(Error::Format {
                path: dir.join("adapter_model.safetensors"),
                what,
            });
        }
        Ok(Lora { config, pairs })
    }

    /// Its settings.
    pub fn config(&self) -> &LoraConfig {
        &self.config
    }
}

impl Pair {
    fn new(site: &str, a: Tensor, b: Tensor, learning: Learning) -> Pair {
        Pair {
            a: Parameter::new(format!("{site}.lora_A.weight"), a, learning),
            b: Parameter::new(format!("{site}.lora_B.weight"), b, learning),
        }
    }
}

/// The layers that a configuration targets, in the order of their names.
fn targeted<'a>(config: &LoraConfig, sites: &'a [LinearSite]) -> Result<Vec<&'a LinearSite>> {
    if config.r == 0 || !(0.0..1.0).contains(&config.dropout) || !config.alpha.is_finite() {
        return Err(Error::Config(
            "LoRA needs r > 0, a finite alpha and a dropout in [0, 1)".into(),
        ));
    }
    let matches = |site: &LinearSite, target: &str| {
        site.name == target || site.name.strip_suffix(target).is_some_and(|rest| rest.ends_with('.'))
    };
    for target in &config.targets {
        if !sites.iter().any(|s| matches(s, target)) {
            let nearest = nearest(target, sites.iter().filter_map(|s| s.name.rsplit('.').next()));
            return Err(Error::NoTarget {
                target: target.clone(),
                nearest,
            });
        }
    }
    if config.targets.is_empty() {
        return Err(Error::Config("LoRA needs at least one target layer".into()));
    }
    let mut chosen: Vec<_> = sites
        .iter()
        .filter(|s| config.targets.iter().any(|t| matches(s, t)))
        .collect();
    chosen.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(chosen)
}

impl Sites for Lora {
    fn linear(&self, name: &str, x: &Var, y: Var, pass: &Pass) -> clinpeft_nn::Result<Var> {
        let Some(pair) = self.pairs.get(name) else { return Ok(y) };
        let x = match pass.dropout_key(&format!("{name}.lora")) {
            Some(key) if self.config.dropout > 0.0 && pair.a.var().needs_gradient() => {
                ops::dropout(x, self.config.dropout, key)?
            }
            _ => x.clone(),
        };
        Ok(ops::low_rank(&y, &x, pair.a.var(), pair.b.var(), self.config.scale())?)
    }
}

impl Adapter for Lora {
    fn method(&self) -> &'static str {
        "lora"
    }

    fn parameters(&self) -> Vec<&Parameter> {
        self.pairs.values().flat_map(|p| [&p.a, &p.b]).collect()
    }

    fn parameters_mut(&mut self) -> Vec<&mut Parameter> {
        self.pairs.values_mut().flat_map(|p| [&mut p.a, &mut p.b]).collect()
    }

    fn save(&self, dir: &Path, task: TaskType) -> Result<()> {
        clinpeft_files::write_json(&dir.join("adapter_config.json"), &PeftConfig::new(&self.config, task))?;
        let named = |p: &Parameter| (format!("{PREFIX}{}", p.name()), p.value().clone());
        let tensors: TensorMap = self.parameters().into_iter().map(named).collect();
        let format = BTreeMap::from([("format".to_string(), "pt".to_string())]);
        Ok(save(&dir.join("adapter_model.safetensors"), &tensors, &format)?)
    }

    fn boxed(&self) -> Box<dyn Adapter> {
        Box::new(self.clone())
    }
}

/// `adapter_config.json` of a LoRA. Keys that change the mathematics are read and refused where we do not know them; the
/// others are bookkeeping.
#[derive(Debug, Serialize, Deserialize)]
struct PeftConfig {
    base_model_name_or_path: Option<String>,
    bias: String,
    fan_in_fan_out: bool,
    inference_mode: bool,
    init_lora_weights: bool,
    lora_alpha: f64,
    lora_dropout: f64,
    modules_to_save: Option<Vec<String>>,
    peft_type: String,
    r: usize,
    target_modules: Vec<String>,
    task_type: Option<TaskType>,
    #[serde(default)]
    use_dora: bool,
    #[serde(default)]
    use_rslora: bool,
}

impl PeftConfig {
    fn new(c: &LoraConfig, task: TaskType) -> PeftConfig {
        PeftConfig {
            base_model_name_or_path: None,
            bias: "none".into(),
            fan_in_fan_out: false,
            inference_mode: true,
            init_lora_weights: true,
            lora_alpha: c.alpha,
            lora_dropout: c.dropout,
            modules_to_save: None,
            peft_type: "LORA".into(),
            r: c.r,
            target_modules: c.targets.clone(),
            task_type: Some(task),
            use_dora: false,
            use_rslora: c.scaling == Scaling::RankStabilised,
        }
    }

    fn into_config(self, path: &Path) -> Result<LoraConfig> {
        let refuse = |what: &str| {
            Err(Error::Format {
                path: path.into(),
                what: what.into(),
            })
        };
        if self.peft_type != "LORA" {
            return refuse(&format!("holds a {} adapter, not LORA", self.peft_type));
        }
        if self.bias != "none" || self.fan_in_fan_out || self.use_dora {
            return refuse("`bias`, `fan_in_fan_out` and `use_dora` are not known for LORA");
        }
        let scaling = if self.use_rslora {
            Scaling::RankStabilised
        } else {
            Scaling::Standard
        };
        Ok(LoraConfig {
            r: self.r,
            alpha: self.lora_alpha,
            dropout: self.lora_dropout,
            targets: self.target_modules,
            scaling,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clinpeft_autodiff::backward;

    fn config(targets: &[&str]) -> LoraConfig {
        let targets = targets.iter().map(|t| t.to_string()).collect();
        LoraConfig {
            r: 2,
            alpha: 4.0,
            dropout: 0.0,
            targets,
            scaling: Scaling::Standard,
        }
    }

    fn sites() -> Vec<LinearSite> {
        ["q_proj", "v_proj", "gate_proj"]
            .map(|n| LinearSite {
                name: format!("model.layers.0.{n}"),
                input: 3,
                output: 4,
            })
            .to_vec()
    }

    #[test]
    fn new_adapter_changes_nothing_but_learns() {
        let lora = Lora::new(config(&["q_proj"]), &sites(), Seed(1), Learning::Trainable).unwrap();
        let x = Var::constant(Tensor::from_vec(vec![1.0f32, 2.0, 3.0], &[1, 3]).unwrap());
        let y = Var::constant(Tensor::from_vec(vec![1.0f32; 4], &[1, 4]).unwrap());
        let out = lora
            .linear("model.layers.0.q_proj", &x, y.clone(), &Pass::evaluate())
            .unwrap();
        assert_eq!(
            out.value().as_slice::<f32>().unwrap(),
            y.value().as_slice::<f32>().unwrap()
        );
        assert!(backward(&out).unwrap().of(lora.parameters()[1].var()).is_some());
        let other = lora.linear("model.layers.0.v_proj", &x, y, &Pass::evaluate()).unwrap();
        assert!(!other.needs_gradient());
    }

    #[test]
    fn target_that_matches_nothing_names_the_nearest() {
        let e = Lora::new(config(&["q_prj"]), &sites(), Seed(1), Learning::Trainable).unwrap_err();
        assert!(e.to_string().contains("`q_proj`"), "{e}");
    }

    #[test]
    fn saved_adapter_comes_back_to_the_bit() {
        let dir = tempfile::tempdir().unwrap();
        let lora = Lora::new(config(&["q_proj", "v_proj"]), &sites(), Seed(1), Learning::Trainable).unwrap();
        lora.save(dir.path(), TaskType::CausalLm).unwrap();
        let again = Lora::load(dir.path(), &sites(), Learning::Frozen).unwrap();
        assert_eq!(again.config(), lora.config());
        for (a, b) in lora.parameters().iter().zip(again.parameters()) {
            assert_eq!(a.name(), b.name());
            assert_eq!(
                a.value().as_slice::<f32>().unwrap(),
                b.value().as_slice::<f32>().unwrap()
            );
        }
        let fewer = &sites()[..1];
        assert!(Lora::load(dir.path(), fewer, Learning::Frozen).is_err());
    }
}
