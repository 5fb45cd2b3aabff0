//! Adaptive low-rank adaptation (Zhang et al. 2023): `y = W x + s B diag(E) A x`, `s = alpha / (r + 1e-5)`, where the
//! ranks fall in training where they matter least ([`budget`](self::budget)).
//!
//! The penalty `weight * mean(|A A^T - I|, |B^T B - I|)` keeps the singular vectors apart (eq. 4; norms, not squares, and
//! their mean over all matrices, as PEFT has it).

mod budget;
mod config;
mod triplet;

pub use config::AdaLoraConfig;

use crate::adapter::PEFT_ROOT;
use crate::defaults::default_keys;
use crate::encoder::{Table, table};
use crate::files::{ConfigFile, TensorFile};
use crate::lora::matching;
use crate::method::owned;
use crate::update::product;
use crate::{
    Adapter, AdapterMethod, Error, FamilyTargets, FileKeys, ModelShape, OptimizerHook, Result, Saved, StepInfo,
    StepValues, Update,
};
use budget::Importance;
use clinpeft_autodiff::{Var, ops};
use clinpeft_nn::{AdapterHooks, Backbone, ForwardCtx, LinearCall, Parameter, TargetModule, Trainability};
use clinpeft_rng::Seed;
use clinpeft_tensor::ops::Layout;
use clinpeft_tensor::{DType, Tensor};
use clinpeft_weights::TensorMap;
use config::{read_settings, settings_as_keys};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use triplet::{Triplet, columns, rows};

/// Name of the number of steps in its state, as two halves, the lower first.
const TOTAL_STEPS: &str = "total_steps";

/// An AdaLoRA on some linear layers of a model.
#[derive(Debug, Clone)]
pub struct AdaLora {
    config: AdaLoraConfig,
    triplets: BTreeMap<String, Triplet>,
    importance: Importance,
    /// Steps of the run it was trained in, for the file.
    total_steps: Option<u64>,
    files: FileKeys,
}

impl AdaLora {
    /// A new adapter: A and B from N(0, 0.02), E zero, so that it begins as no change.
    pub fn new(config: AdaLoraConfig, modules: &[TargetModule], seed: Seed, learning: Trainability) -> Result<AdaLora> {
        config.check()?;
        let r = config.initial_r;
        let one = |module: &TargetModule| {
            let small = |dims: &[usize], part: &str| -> Result<Tensor> {
                let t = table(dims, Table::Normal, &format!("{}.{part}", module.name), seed)?;
                Ok(clinpeft_tensor::ops::scale(&t, 0.02)?)
            };
            let (a, b) = (small(&[r, module.input], "lora_A")?, small(&[module.output, r], "lora_B")?);
            let e = Tensor::zeros(&[r, 1], DType::F32);
            Ok((module.name.clone(), Triplet::new(&module.name, [a, e, b], learning)))
        };
        let triplets = matching(&config.targets, modules)?.into_iter().map(one).collect::<Result<_>>()?;
        Ok(AdaLora {
            config,
            triplets,
            importance: Importance::default(),
            total_steps: None,
            files: FileKeys::default(),
        })
    }

    /// The rank of each layer now.
    pub fn ranks(&self) -> BTreeMap<String, usize> {
        self.triplets.iter().map(|(module, t)| (module.clone(), t.rank())).collect()
    }

    fn scale(&self) -> f64 {
        self.config.alpha / (self.config.initial_r as f64 + 1e-5)
    }

    fn pattern_key(&self) -> Value {
        let pattern = |(module, t): (&String, &Triplet)| Some((format!("{module}.lora_E"), t.pattern.clone()?.into()));
        let all: Map<String, Value> = self.triplets.iter().filter_map(pattern).collect();
        if all.is_empty() { Value::Null } else { all.into() }
    }
}

impl AdapterMethod for AdaLora {
    const NAME: &'static str = "adalora";
    const PEFT_TYPE: &'static str = "ADALORA";
    type Config = AdaLoraConfig;

    fn retarget(config: &mut AdaLoraConfig, layers: FamilyTargets) {
        config.targets = owned(layers.low_rank);
    }

    fn count(config: &AdaLoraConfig, shape: &ModelShape) -> Result<usize> {
        config.check()?;
        let chosen = matching(&config.targets, &shape.modules)?;
        Ok(chosen.iter().map(|s| config.initial_r * (s.input + s.output + 1)).sum())
    }

    fn build(config: AdaLoraConfig, backbone: &dyn Backbone, seed: Seed, learning: Trainability) -> Result<AdaLora> {
        AdaLora::new(config, &backbone.target_modules(), seed, learning)
    }

    fn load(mut file: ConfigFile, tensors: &TensorFile, shape: &ModelShape, learning: Trainability) -> Result<AdaLora> {
        let config = read_settings(&mut file)?;
        config.check()?;
        let total_steps = file.get("total_step")?;
        let patterns: Option<BTreeMap<String, Vec<bool>>> = file.get("rank_pattern")?;
        let mut triplets = BTreeMap::new();
        for module in matching(&config.targets, &shape.modules)? {
            let key = format!("{}.lora_E", module.name);
            let pattern = patterns.as_ref().and_then(|p| p.get(&key)).cloned();
            if let Some(p) = pattern.as_ref().filter(|p| p.len() != config.initial_r) {
                return Err(file.wrong(format!(
                    "`rank_pattern` has {} ranks for `{key}`\nhint: as many as `init_r`, {}",
                    p.len(),
                    config.initial_r
                )));
            }
            let r = pattern.as_ref().map_or(config.initial_r, |p| p.iter().filter(|x| **x).count());
            let tensor =
                |part: &str, dims: &[usize]| tensors.tensor(&format!("{PEFT_ROOT}{}.{part}", module.name), dims);
            let all = [
                tensor("lora_A", &[r, module.input])?,
                tensor("lora_E", &[r, 1])?,
                tensor("lora_B", &[module.output, r])?,
            ];
            let mut triplet = Triplet::new(&module.name, all, learning);
            triplet.pattern = pattern;
            triplets.insert(module.name.clone(), triplet);
        }
        let files = file.finish(&default_keys(AdaLora::PEFT_TYPE), tensors)?;
        Ok(AdaLora { config, triplets, importance: Importance::default(), total_steps, files })
    }
}

impl AdapterHooks for AdaLora {
    fn linear(&self, call: &LinearCall<'_>, y: Var, ctx: &ForwardCtx) -> clinpeft_nn::Result<Var> {
        let name = call.layer.name();
        let Some(t) = self.triplets.get(name).filter(|t| t.e.value().count() > 0) else {
            return Ok(y);
        };
        let x = match ctx.dropout_key(&format!("{name}.adalora")) {
            Some(key) if self.config.dropout > 0.0 && t.a.var().requires_grad() => {
                ops::dropout(call.x, self.config.dropout, key)?
            }
            _ => call.x.clone(),
        };
        let singular = t.e.var().reshape(&[t.e.value().count()])?;
        let u = ops::mul_row(&ops::linear(&x, t.a.var())?, &singular)?;
        let update = ops::scale(&ops::linear(&u, t.b.var())?, self.scale())?;
        Ok(ops::add(&y, &update)?)
    }
}

impl OptimizerHook for AdaLora {
    fn extra_loss(&self) -> Result<Option<Var>> {
        let mut norms: Option<Var> = None;
        for t in self.triplets.values() {
            for (p, layout) in [(&t.a, Layout::RightTransposed), (&t.b, Layout::LeftTransposed)] {
                let products = ops::matmul(p.var(), p.var(), layout)?;
                let r = products.dims()[0];
                let minus_one: Vec<f64> = (0..r * r).map(|i| if i % (r + 1) == 0 { -1.0 } else { 0.0 }).collect();
                let minus_one = Tensor::from_vec(minus_one, &[r, r])?.cast(products.dtype())?;
                let minus_one = Var::constant(minus_one.to_device(&products.value().device())?);
                let norm = ops::norm(&ops::add(&products, &minus_one)?)?;
                norms = Some(match norms {
                    Some(sum) => ops::add(&sum, &norm)?,
                    None => norm,
                });
            }
        }
        let mean = self.config.orthogonality / (2 * self.triplets.len()).max(1) as f64;
        Ok(norms.map(|n| ops::scale(&n, mean)).transpose()?)
    }

    fn params_to_sync(&self, step: StepInfo) -> Vec<&Parameter> {
        if budget::updates(&self.config, step) { self.parameters() } else { Vec::new() }
    }

    fn on_step_end(&mut self, step: StepInfo, values: &StepValues) -> Result<()> {
        self.total_steps = Some(step.total);
        budget::on_step_end(&self.config, &mut self.triplets, &mut self.importance, step, values)
    }

    fn state(&self) -> Result<TensorMap> {
        let mut all = self.importance.state(&self.triplets)?;
        if let Some(steps) = self.total_steps {
            let halves = vec![steps as u32, (steps >> 32) as u32];
            all.insert(TOTAL_STEPS.into(), Tensor::from_vec(halves, &[2])?);
        }
        Ok(all)
    }

    fn set_state(&mut self, state: &TensorMap) -> Result<()> {
        self.importance = Importance::from_state(state, &mut self.triplets)?;
        if let Some(steps) = state.get(TOTAL_STEPS)
            && let [low, high] = steps.as_slice::<u32>()?
        {
            self.total_steps = Some(u64::from(*low) | u64::from(*high) << 32);
        }
        Ok(())
    }
}

impl Adapter for AdaLora {
    fn method(&self) -> &'static str {
        AdaLora::NAME
    }

    fn parameters(&self) -> Vec<&Parameter> {
        self.triplets.values().flat_map(|t| [&t.a, &t.e, &t.b]).collect()
    }

    fn parameters_mut(&mut self) -> Vec<&mut Parameter> {
        let all = self.triplets.values_mut();
        all.flat_map(|t| [&mut t.a, &mut t.e, &mut t.b]).collect()
    }

    /// Only the ranks that are left are written.
    fn saved(&self) -> Result<Saved> {
        let mut tensors = TensorMap::new();
        for (module, t) in &self.triplets {
            let kept = t.kept();
            let name = |part: &str| format!("{PEFT_ROOT}{module}.{part}");
            tensors.insert(name("lora_A"), rows(t.a.value(), &kept)?);
            tensors.insert(name("lora_E"), rows(t.e.value(), &kept)?);
            tensors.insert(name("lora_B"), columns(t.b.value(), &kept)?);
        }
        let mut keys = settings_as_keys(&self.config);
        keys.insert("total_step".into(), self.total_steps.unwrap_or(u64::from(u32::MAX)).into());
        keys.insert("rank_pattern".into(), self.pattern_key());
        self.files.restore(&["r"], &mut keys);
        Ok(Saved { peft_type: AdaLora::PEFT_TYPE, keys, tensors, encoder: TensorMap::new(), head_prefix: PEFT_ROOT })
    }

    fn file_keys(&self) -> &FileKeys {
        &self.files
    }

    fn optimizer_hook(&self) -> Option<&dyn OptimizerHook> {
        Some(self)
    }

    fn optimizer_hook_mut(&mut self) -> Option<&mut dyn OptimizerHook> {
        Some(self)
    }

    fn mergeable(&self) -> Vec<String> {
        self.triplets.keys().cloned().collect()
    }

    fn update(&self, module: &str, _: &Parameter) -> Result<Update> {
        let Some(t) = self.triplets.get(module) else {
            return Err(Error::Config(format!("the adapter has no layer `{module}`\nhint: see its targets")));
        };
        let r = t.e.value().count();
        let singular = t.e.value().to_cpu()?.reshape(&[r])?;
        let b = clinpeft_tensor::ops::mul_row(&t.b.value().to_cpu()?, &singular)?;
        Ok(Update::Add(product(t.a.value(), &b, self.scale())?))
    }
}

#[cfg(test)]
mod tests;
