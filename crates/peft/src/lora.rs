//! Low-rank adaptation (Hu et al. 2021, eq. 3): `y = W x + s B A drop(x)`, `s = alpha / r`.

use crate::adapter::PEFT_ROOT;
use crate::defaults::default_keys;
use crate::files::{ConfigFile, TensorFile};
use crate::limits::{self, need_alpha, need_count, need_share};
use crate::method::owned;
use crate::update::product;
use crate::{Adapter, AdapterMethod, Error, FamilyTargets, FileKeys, ModelShape, Result, Saved, Update};
use clinpeft_autodiff::{Var, ops};
use clinpeft_nn::{AdapterHooks, Backbone, ForwardCtx, LinearCall, Parameter, TargetModule, Trainability};
use clinpeft_rng::{RngExt, Seed};
use clinpeft_tensor::{DType, Tensor};
use clinpeft_weights::{TensorMap, nearest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

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
    pub(crate) config: LoraConfig,
    pub(crate) pairs: BTreeMap<String, Pair>,
    pub(crate) files: FileKeys,
}

/// The two matrices of a layer.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    /// `[r, in]`.
    pub(crate) a: Parameter,
    /// `[out, r]`.
    pub(crate) b: Parameter,
}

impl Lora {
    /// A new adapter: A uniform in +-1/sqrt(in), B zero, so that it begins as no change.
    ///
    /// Errors if a target matches no layer, or a setting cannot be.
    pub fn new(config: LoraConfig, modules: &[TargetModule], seed: Seed, learning: Trainability) -> Result<Lora> {
        let chosen = targeted(&config, modules)?;
        let pairs = chosen
            .into_iter()
            .map(|module| {
                let bound = 1.0 / (module.input as f32).sqrt();
                let mut rng = seed.stream(&format!("{}.lora_A", module.name));
                let a: Vec<f32> = (0..config.r * module.input).map(|_| rng.random_range(-bound..bound)).collect();
                let a = Tensor::from_vec(a, &[config.r, module.input])?;
                let b = Tensor::zeros(&[module.output, config.r], DType::F32);
                Ok((module.name.clone(), Pair::new(&module.name, a, b, learning)))
            })
            .collect::<Result<_>>()?;
        Ok(Lora { config, pairs, files: FileKeys::default() })
    }
}

impl Pair {
    pub(crate) fn new(module: &str, a: Tensor, b: Tensor, learning: Trainability) -> Pair {
        Pair {
            a: Parameter::new(format!("{module}.lora_A.weight"), a, learning),
            b: Parameter::new(format!("{module}.lora_B.weight"), b, learning),
        }
    }
}

/// The layers that a configuration targets, in the order of their names.
pub(crate) fn targeted<'a>(config: &LoraConfig, modules: &'a [TargetModule]) -> Result<Vec<&'a TargetModule>> {
    need_count("r", config.r, limits::RANK)?;
    need_alpha(config.alpha)?;
    need_share(config.dropout)?;
    matching(&config.targets, modules)
}

/// The layers whose name is, or ends with, one of `targets`; `all-linear` is every layer.
pub(crate) fn matching<'a>(targets: &[String], modules: &'a [TargetModule]) -> Result<Vec<&'a TargetModule>> {
    let matches = |module: &TargetModule, target: &str| {
        target == "all-linear"
            || module.name == target
            || module.name.strip_suffix(target).is_some_and(|rest| rest.ends_with('.'))
    };
    for target in targets {
        if !modules.iter().any(|s| matches(s, target)) {
            let nearest = nearest(target, modules.iter().filter_map(|s| s.name.rsplit('.').next()));
            return Err(Error::NoTarget { target: target.clone(), nearest });
        }
    }
    if targets.is_empty() {
        return Err(Error::Config(
            "there is no target layer\nhint: `targets = [\"q_proj\", \"v_proj\"]` are the paper's".into(),
        ));
    }
    let mut chosen: Vec<_> = modules.iter().filter(|s| targets.iter().any(|t| matches(s, t))).collect();
    chosen.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(chosen)
}

impl Lora {
    /// x after dropout, and whether any was dropped.
    pub(crate) fn dropped(&self, name: &str, x: &Var, ctx: &ForwardCtx) -> clinpeft_nn::Result<Option<Var>> {
        let learns = self.pairs.get(name).is_some_and(|p| p.a.var().requires_grad());
        match ctx.dropout_key(&format!("{name}.lora")) {
            Some(key) if self.config.dropout > 0.0 && learns => Ok(Some(ops::dropout(x, self.config.dropout, key)?)),
            _ => Ok(None),
        }
    }
}

impl AdapterMethod for Lora {
    const NAME: &'static str = "lora";
    const PEFT_TYPE: &'static str = "LORA";
    type Config = LoraConfig;

    fn recognizes(config: &mut ConfigFile) -> Result<bool> {
        Ok(config.get("use_dora")? != Some(true))
    }
    fn retarget(config: &mut LoraConfig, layers: FamilyTargets) {
        config.targets = owned(layers.low_rank);
    }

    fn count(config: &LoraConfig, shape: &ModelShape) -> Result<usize> {
        let chosen = targeted(config, &shape.modules)?;
        Ok(chosen.iter().map(|s| config.r * (s.input + s.output)).sum())
    }

    fn build(config: LoraConfig, backbone: &dyn Backbone, seed: Seed, learning: Trainability) -> Result<Lora> {
        Lora::new(config, &backbone.target_modules(), seed, learning)
    }

    fn load(mut config: ConfigFile, tensors: &TensorFile, shape: &ModelShape, learning: Trainability) -> Result<Lora> {
        let settings = read_settings(&mut config)?;
        let mut pairs = BTreeMap::new();
        for module in targeted(&settings, &shape.modules)? {
            let name = |part: &str| format!("{PEFT_ROOT}{}.{part}.weight", module.name);
            let a = tensors.tensor(&name("lora_A"), &[settings.r, module.input])?;
            let b = tensors.tensor(&name("lora_B"), &[module.output, settings.r])?;
            pairs.insert(module.name.clone(), Pair::new(&module.name, a, b, learning));
        }
        let files = config.finish(&default_keys("LORA"), tensors)?;
        Ok(Lora { config: settings, pairs, files })
    }
}

impl AdapterHooks for Lora {
    fn linear(&self, call: &LinearCall<'_>, y: Var, ctx: &ForwardCtx) -> clinpeft_nn::Result<Var> {
        let name = call.layer.name();
        let Some(pair) = self.pairs.get(name) else { return Ok(y) };
        let dropped = self.dropped(name, call.x, ctx)?;
        let x = dropped.as_ref().unwrap_or(call.x);
        Ok(ops::low_rank(&y, x, pair.a.var(), pair.b.var(), self.config.scale())?)
    }
}

impl Adapter for Lora {
    fn method(&self) -> &'static str {
        Lora::NAME
    }

    fn parameters(&self) -> Vec<&Parameter> {
        self.pairs.values().flat_map(|p| [&p.a, &p.b]).collect()
    }

    fn parameters_mut(&mut self) -> Vec<&mut Parameter> {
        self.pairs.values_mut().flat_map(|p| [&mut p.a, &mut p.b]).collect()
    }

    fn saved(&self) -> Result<Saved> {
        let named = |p: &Parameter| (format!("{PEFT_ROOT}{}", p.name()), p.value().clone());
        Ok(Saved {
            peft_type: Lora::PEFT_TYPE,
            keys: settings_as_keys(&self.config),
            tensors: self.parameters().into_iter().map(named).collect(),
            encoder: TensorMap::new(),
            head_prefix: PEFT_ROOT,
        })
    }

    fn file_keys(&self) -> &FileKeys {
        &self.files
    }

    fn mergeable(&self) -> Vec<String> {
        self.pairs.keys().cloned().collect()
    }

    fn update(&self, module: &str, _: &Parameter) -> Result<Update> {
        let Some(pair) = self.pairs.get(module) else {
            return Err(Error::Config(format!("the adapter has no layer `{module}`\nhint: see its targets")));
        };
        Ok(Update::Add(product(pair.a.value(), pair.b.value(), self.config.scale())?))
    }
}

/// The keys of `adapter_config.json` that are settings of ours.
pub(crate) fn settings_as_keys(config: &LoraConfig) -> Map<String, Value> {
    let mut keys = default_keys("LORA");
    let mut set = |key: &str, value: Value| keys.insert(key.into(), value);
    set("r", config.r.into());
    set("lora_alpha", whole(config.alpha));
    set("lora_dropout", config.dropout.into());
    set("use_rslora", (config.scaling == Scaling::RankStabilised).into());
    match config.targets.as_slice() {
        [all] if all == "all-linear" => set("target_modules", all.clone().into()),
        names => set("target_modules", names.into()),
    };
    keys
}

/// PEFT states alpha as an integer; one that is not stays a fraction.
pub(crate) fn whole(x: f64) -> Value {
    if x.fract() == 0.0 && x.abs() < 1e15 { (x as i64).into() } else { x.into() }
}

pub(crate) fn read_settings(file: &mut ConfigFile) -> Result<LoraConfig> {
    let stabilised = file.get("use_rslora")?.unwrap_or(false);
    Ok(LoraConfig {
        r: file.need("r")?,
        alpha: file.need("lora_alpha")?,
        dropout: file.get("lora_dropout")?.unwrap_or(0.0),
        targets: file.targets()?,
        scaling: if stabilised { Scaling::RankStabilised } else { Scaling::Standard },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TaskType, load_adapter, save_adapter};
    use clinpeft_autodiff::backward;
    use clinpeft_nn::Linear;

    fn config(targets: &[&str]) -> LoraConfig {
        let targets = targets.iter().map(|t| t.to_string()).collect();
        LoraConfig { r: 2, alpha: 4.0, dropout: 0.0, targets, scaling: Scaling::Standard }
    }

    fn modules() -> Vec<TargetModule> {
        ["q_proj", "v_proj", "gate_proj"]
            .map(|n| TargetModule { name: format!("model.layers.0.{n}"), input: 3, output: 4 })
            .to_vec()
    }

    /// What the adapter makes of `x` on a layer of zeros.
    fn run(lora: &Lora, module: &str) -> Var {
        let zeros = Parameter::new("w", Tensor::zeros(&[4, 3], DType::F32), Trainability::Frozen);
        let x = Var::constant(Tensor::from_vec(vec![1.0f32, 2.0, 3.0], &[1, 3]).unwrap());
        Linear::new(module.into(), zeros).forward(&x, lora, &ForwardCtx::evaluate()).unwrap()
    }

    #[test]
    fn new_adapter_changes_nothing_but_learns() {
        let lora = Lora::new(config(&["q_proj"]), &modules(), Seed(1), Trainability::Trainable).unwrap();
        let out = run(&lora, "model.layers.0.q_proj");
        assert_eq!(out.value().as_slice::<f32>().unwrap(), [0.0; 4]);
        assert!(backward(&out).unwrap().of(lora.parameters()[1].var()).is_some());
        assert!(!run(&lora, "model.layers.0.v_proj").requires_grad());
    }

    #[test]
    fn target_that_matches_nothing_names_the_nearest() {
        let e = Lora::new(config(&["q_prj"]), &modules(), Seed(1), Trainability::Trainable).unwrap_err();
        assert!(e.to_string().contains("`q_proj`"), "{e}");
    }

    fn shape(modules: &[TargetModule]) -> ModelShape {
        ModelShape { width: 3, layers: 1, heads: 1, kv_heads: 1, head_width: 3, modules: modules.to_vec() }
    }

    #[test]
    fn saved_adapter_comes_back_to_the_bit() {
        let dir = tempfile::tempdir().unwrap();
        let lora = Lora::new(config(&["q_proj", "v_proj"]), &modules(), Seed(1), Trainability::Trainable).unwrap();
        save_adapter(dir.path(), &lora, Some(TaskType::CausalLm), &TensorMap::new()).unwrap();
        let again = load_adapter(dir.path(), &shape(&modules()), Trainability::Frozen).unwrap();
        assert_eq!(again.task, Some(TaskType::CausalLm));
        assert_eq!(again.adapter.saved().unwrap().keys, lora.saved().unwrap().keys);
        for (a, b) in lora.parameters().iter().zip(again.adapter.parameters()) {
            assert_eq!(a.name(), b.name());
            assert_eq!(a.value().as_slice::<f32>().unwrap(), b.value().as_slice::<f32>().unwrap());
        }
        let fewer = shape(&modules()[..1]);
        assert!(load_adapter(dir.path(), &fewer, Trainability::Frozen).is_err());
    }

    #[test]
    fn unknown_keys_are_kept_or_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let lora = Lora::new(config(&["q_proj"]), &modules(), Seed(1), Trainability::Frozen).unwrap();
        save_adapter(dir.path(), &lora, None, &TensorMap::new()).unwrap();
        let path = dir.path().join("adapter_config.json");
        let plain = std::fs::read_to_string(&path).unwrap();
        let load = |entry: &str| {
            std::fs::write(&path, plain.replacen('{', &format!("{{{entry},"), 1)).unwrap();
            load_adapter(dir.path(), &shape(&modules()), Trainability::Frozen)
        };
        let kept = load(r#""from_the_future": null"#).unwrap();
        save_adapter(dir.path(), &*kept.adapter, None, &TensorMap::new()).unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().contains("from_the_future"));
        let refused = load(r#""lora_alpa": 3"#).unwrap_err().to_string();
        assert!(refused.contains("`lora_alpa`") && refused.contains("`lora_alpha`"), "{refused}");
        std::fs::write(&path, plain.replace(r#""rank_pattern": {}"#, r#""rank_pattern": {"q": 3}"#)).unwrap();
        let refused = load_adapter(dir.path(), &shape(&modules()), Trainability::Frozen).unwrap_err();
        assert!(refused.to_string().contains("`rank_pattern`"), "{refused}");
    }
}
