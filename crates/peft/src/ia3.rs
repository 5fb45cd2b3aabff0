//! IA3 (Liu et al. 2022, eq. 1-2): learned vectors that rescale activations inside of linear layers.
//!
//! ```text
//! y = l * (W x + b)      l: [out]      (keys, values)
//! y = W (l * x) + b      l: [in]       (feed-forward layers)
//! ```

use crate::adapter::PEFT_ROOT;
use crate::defaults::default_keys;
use crate::files::{ConfigFile, TensorFile};
use crate::lora::matching;
use crate::method::owned;
use crate::{Adapter, AdapterMethod, Error, FamilyTargets, FileKeys, ModelShape, Result, Saved, Update};
use clinpeft_autodiff::{Var, ops};
use clinpeft_nn::{AdapterHooks, Backbone, ForwardCtx, Linear, LinearCall, Parameter, TargetModule, Trainability};
use clinpeft_rng::Seed;
use clinpeft_tensor::Tensor;
use clinpeft_weights::TensorMap;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

/// Settings of IA3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ia3Config {
    /// Last parts of the names of the linear layers, for example `k_proj`.
    pub targets: Vec<String>,
    /// Those of them whose input is scaled, not their output, for example `down_proj`.
    pub feedforward: Vec<String>,
}

impl Ia3Config {
    /// The targeted layers, in the order of their names, each with the end that is scaled.
    fn scaled<'a>(&self, modules: &'a [TargetModule]) -> Result<Vec<(&'a TargetModule, End)>> {
        let inputs = if self.feedforward.is_empty() { Vec::new() } else { matching(&self.feedforward, modules)? };
        let chosen = matching(&self.targets, modules)?;
        if let Some(outside) = inputs.iter().find(|s| !chosen.contains(s)) {
            return Err(Error::Config(format!(
                "the feed-forward layer `{}` is not targeted\nhint: `feedforward` is a part of `targets`",
                outside.name
            )));
        }
        let end = |module: &TargetModule| if inputs.contains(&module) { End::Input } else { End::Output };
        Ok(chosen.into_iter().map(|module| (module, end(module))).collect())
    }
}

/// Where a layer is scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Input,
    Output,
}

impl End {
    fn width(self, module: &TargetModule) -> usize {
        match self {
            End::Input => module.input,
            End::Output => module.output,
        }
    }

    /// The shape in PEFT's file.
    fn dims(self, width: usize) -> [usize; 2] {
        match self {
            End::Input => [1, width],
            End::Output => [width, 1],
        }
    }
}

/// An IA3 on some linear layers of a model.
#[derive(Debug, Clone)]
pub struct Ia3 {
    config: Ia3Config,
    vectors: BTreeMap<String, (End, Parameter)>,
    files: FileKeys,
}

impl Ia3 {
    /// `x` scaled, if this end of the layer is. The vector has two dimensions in PEFT, and one in the product.
    fn scale(&self, layer: &Linear, end: End, x: Var) -> clinpeft_nn::Result<Var> {
        let Some((_, l)) = self.vectors.get(layer.name()).filter(|(own, _)| *own == end) else { return Ok(x) };
        let dims = l.value().dims().to_vec();
        let row = l.value().reshape(&[l.value().count()])?;
        let row = Var::from_op(row, [l.var()], move |g, _| Ok([Some(g.reshape(&dims)?)]));
        Ok(ops::mul_row(&x, &row)?)
    }
}

fn parameter(module: &TargetModule, vector: Tensor, learning: Trainability) -> Parameter {
    Parameter::new(format!("{}.ia3_l", module.name), vector, learning)
}

impl AdapterMethod for Ia3 {
    const NAME: &'static str = "ia3";
    const PEFT_TYPE: &'static str = "IA3";
    type Config = Ia3Config;

    fn count(config: &Ia3Config, shape: &ModelShape) -> Result<usize> {
        Ok(config.scaled(&shape.modules)?.into_iter().map(|(module, end)| end.width(module)).sum())
    }

    /// Every vector begins as ones, so that the model is unchanged.
    fn build(config: Ia3Config, backbone: &dyn Backbone, _: Seed, learning: Trainability) -> Result<Ia3> {
        let modules = backbone.target_modules();
        let one = |(module, end): (&TargetModule, End)| -> Result<(String, (End, Parameter))> {
            let width = end.width(module);
            let ones = Tensor::from_vec(vec![1.0f32; width], &end.dims(width))?;
            Ok((module.name.clone(), (end, parameter(module, ones, learning))))
        };
        let vectors = config.scaled(&modules)?.into_iter().map(one).collect::<Result<_>>()?;
        Ok(Ia3 { config, vectors, files: FileKeys::default() })
    }

    fn load(mut file: ConfigFile, tensors: &TensorFile, shape: &ModelShape, learning: Trainability) -> Result<Ia3> {
        let feedforward = file.get("feedforward_modules")?.unwrap_or_default();
        let config = Ia3Config { targets: file.targets()?, feedforward };
        let mut vectors = BTreeMap::new();
        for (module, end) in config.scaled(&shape.modules)? {
            let dims = end.dims(end.width(module));
            let stored = tensors.tensor(&format!("{PEFT_ROOT}{}.ia3_l", module.name), &dims)?;
            vectors.insert(module.name.clone(), (end, parameter(module, stored, learning)));
        }
        let files = file.finish(&default_keys(Ia3::PEFT_TYPE), tensors)?;
        Ok(Ia3 { config, vectors, files })
    }

    fn retarget(config: &mut Ia3Config, layers: FamilyTargets) {
        *config = Ia3Config { targets: owned(layers.scaled), feedforward: owned(layers.feedforward) };
    }
}

impl AdapterHooks for Ia3 {
    fn linear_input(&self, layer: &Linear, x: Var) -> clinpeft_nn::Result<Var> {
        self.scale(layer, End::Input, x)
    }

    fn linear(&self, call: &LinearCall<'_>, y: Var, _: &ForwardCtx) -> clinpeft_nn::Result<Var> {
        self.scale(call.layer, End::Output, y)
    }
}

impl Adapter for Ia3 {
    fn method(&self) -> &'static str {
        Ia3::NAME
    }

    fn parameters(&self) -> Vec<&Parameter> {
        self.vectors.values().map(|(_, l)| l).collect()
    }

    fn parameters_mut(&mut self) -> Vec<&mut Parameter> {
        self.vectors.values_mut().map(|(_, l)| l).collect()
    }

    fn saved(&self) -> Result<Saved> {
        let mut keys = default_keys(Ia3::PEFT_TYPE);
        keys.insert("target_modules".into(), json!(self.config.targets));
        keys.insert("feedforward_modules".into(), json!(self.config.feedforward));
        let named = |l: &Parameter| (format!("{PEFT_ROOT}{}", l.name()), l.value().clone());
        Ok(Saved {
            peft_type: Ia3::PEFT_TYPE,
            keys,
            tensors: self.parameters().into_iter().map(named).collect(),
            encoder: TensorMap::new(),
            head_prefix: PEFT_ROOT,
        })
    }

    fn file_keys(&self) -> &FileKeys {
        &self.files
    }

    fn mergeable(&self) -> Vec<String> {
        self.vectors.keys().cloned().collect()
    }

    fn update(&self, module: &str, _: &Parameter) -> Result<Update> {
        let Some((end, l)) = self.vectors.get(module) else {
            return Err(Error::Config(format!("the adapter has no layer `{module}`\nhint: see its targets")));
        };
        let factors = l.value().to_f64_vec()?;
        Ok(match end {
            End::Input => Update::ScaleInputs(factors),
            End::Output => Update::ScaleOutputs(factors),
        })
    }
}
