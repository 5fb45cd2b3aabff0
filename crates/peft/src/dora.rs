//! Weight-decomposed low-rank adaptation (Liu et al. 2024, eq. 5): direction from a LoRA, length of each row its own.
//!
//! ```text
//! y = m / |W + s B A| * (W + s B A) x        m: [out], norms of rows
//! ```
//! The norm is a constant to the gradient (section 4.3 of the paper).

use crate::adapter::PEFT_ROOT;
use crate::files::{ConfigFile, TensorFile};
use crate::lora::{Pair, settings_as_keys, targeted};
use crate::method::owned;
use crate::{
    Adapter, AdapterMethod, Error, FamilyTargets, FileKeys, Lora, LoraConfig, ModelShape, Result, Saved, Update,
};
use clinpeft_autodiff::{Var, ops};
use clinpeft_nn::{AdapterHooks, Backbone, ForwardCtx, LinearCall, Parameter, Trainability};
use clinpeft_rng::Seed;
use clinpeft_tensor::ops::{Layout, add, embedding, inverse_sqrt, matmul, mul, scale, sum_rows};
use clinpeft_tensor::{Device, Tensor};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// A DoRA on some linear layers of a model.
#[derive(Debug, Clone)]
pub struct Dora {
    lora: Lora,
    rows: BTreeMap<String, Rows>,
}

#[derive(Debug, Clone)]
struct Rows {
    /// m, `[out]`.
    magnitude: Parameter,
    /// `|W|^2` for each row, computed once where W is frozen; see [`squared_rows`].
    squares: Arc<OnceLock<Tensor>>,
}

impl Rows {
    fn new(module: &str, magnitude: Tensor, learning: Trainability, squares: OnceLock<Tensor>) -> Rows {
        Rows {
            magnitude: Parameter::new(format!("{module}.lora_magnitude_vector.weight"), magnitude, learning),
            squares: Arc::new(squares),
        }
    }
}

impl Dora {
    /// A new adapter: a new LoRA, and the norms of the rows of W, so that it begins as no change.
    pub fn new(config: LoraConfig, backbone: &dyn Backbone, seed: Seed, learning: Trainability) -> Result<Dora> {
        let lora = Lora::new(config, &backbone.target_modules(), seed, learning)?;
        let mut rows = BTreeMap::new();
        for module in lora.pairs.keys() {
            let name = format!("{module}.weight");
            let weight = backbone.parameters().into_iter().find(|p| p.name() == name);
            let weight = weight.ok_or_else(|| Error::Config(format!("the model has no `{name}`")))?;
            let squares = squared_rows(&weight.value().to_cpu()?)?;
            let norms: Vec<f32> = squares.to_f64_vec()?.iter().map(|x| x.sqrt() as f32).collect();
            let magnitude = Tensor::from_vec(norms, &[weight.value().dims()[0]])?;
            rows.insert(module.clone(), Rows::new(module, magnitude, learning, squares.into()));
        }
        Ok(Dora { lora, rows })
    }

    /// `1 / |W + s B A|` for each row, `[out]`, from `|W|^2 + 2 s B . (W A^T) + s^2 B . (B A A^T)`. Nothing is read from a
    /// device.
    pub(crate) fn inverse_norms(&self, module: &str, weight: &Parameter) -> Result<Tensor> {
        let (pair, s) = (&self.lora.pairs[module], self.lora.config.scale());
        let (a, b) = (pair.a.value(), pair.b.value());
        let aw = matmul(a, weight.value(), Layout::RightTransposed)?;
        let own = matmul(&matmul(a, a, Layout::RightTransposed)?, b, Layout::RightTransposed)?;
        let turned = matmul(&identity(b.dims()[1], b)?, b, Layout::RightTransposed)?;
        let beyond = mul(&turned, &add(&scale(&aw, 2.0 * s)?, &scale(&own, s * s)?)?)?;
        Ok(inverse_sqrt(&add(&self.squares(module, weight, a)?, &sum_rows(&beyond)?)?)?)
    }

    /// `|W|^2` for each row, `[out]`, in the type of `like` and where it is.
    fn squares(&self, module: &str, weight: &Parameter, like: &Tensor) -> Result<Tensor> {
        let known = &self.rows[module].squares;
        let squares = match (known.get(), weight.trainability()) {
            (Some(known), Trainability::Frozen) => known.clone(),
            (None, Trainability::Frozen) => {
                let fresh = squared_rows(weight.value())?;
                known.get_or_init(|| fresh).clone()
            }
            (_, Trainability::Trainable) => squared_rows(weight.value())?,
        };
        if squares.device() == Device::Cpu {
            return Ok(squares.cast(like.dtype())?.to_device(&like.device())?);
        }
        Ok(squares)
    }

    fn change(&self, pair: &Pair, call: &LinearCall<'_>, ctx: &ForwardCtx) -> Result<Var> {
        let module = call.layer.name();
        let dropped = self.lora.dropped(module, call.x, ctx)?;
        let x = dropped.as_ref().unwrap_or(call.x);
        // The lengths are those of W, so the bias of the layer takes no part.
        let base =
            if dropped.is_none() && call.layer.bias().is_none() { call.base.clone() } else { call.layer.product(x)? };
        let inverse = Var::constant(self.inverse_norms(module, call.layer.weight())?);
        let ratio = ops::mul(self.rows[module].magnitude.var(), &inverse)?;
        let ones = Tensor::from_vec(vec![-1.0f64; ratio.dims()[0]], ratio.dims())?.cast(ratio.dtype())?;
        let beyond = ops::add(&ratio, &Var::constant(ones.to_device(&ratio.value().device())?))?;
        let update = ops::linear(&ops::linear(x, pair.a.var())?, pair.b.var())?;
        let update = ops::mul_row(&ops::scale(&update, self.lora.config.scale())?, &ratio)?;
        Ok(ops::add(&ops::mul_row(&base, &beyond)?, &update)?)
    }
}

/// Squared norm of every row, `[rows]`: in f64 on the CPU, in f32 on a device.
fn squared_rows(weight: &Tensor) -> Result<Tensor> {
    let (rows, width) = weight.rows_and_width();
    if weight.device() == Device::Cpu {
        let values = weight.to_f64_vec()?;
        let squares = values.chunks_exact(width.max(1)).map(|row| row.iter().map(|x| x * x).sum::<f64>());
        return Ok(Tensor::from_vec(squares.collect(), &[rows])?);
    }
    // As rows of a table the weights come in f32, however they are stored.
    let ids = Tensor::from_vec((0..rows as u32).collect(), &[rows])?.to_device(&weight.device())?;
    let values = embedding(weight, &ids)?;
    let ones = Tensor::from_vec(vec![1f32; width], &[1, width])?.to_device(&weight.device())?;
    Ok(matmul(&ones, &mul(&values, &values)?, Layout::RightTransposed)?.reshape(&[rows])?)
}

/// The identity of `n` rows, in the type of `like` and where it is.
fn identity(n: usize, like: &Tensor) -> Result<Tensor> {
    let ones = (0..n * n).map(|i| if i % (n + 1) == 0 { 1.0 } else { 0.0 }).collect();
    Ok(Tensor::from_vec::<f64>(ones, &[n, n])?.cast(like.dtype())?.to_device(&like.device())?)
}

impl AdapterMethod for Dora {
    const NAME: &'static str = "dora";
    const PEFT_TYPE: &'static str = "LORA";
    type Config = LoraConfig;

    fn recognizes(config: &mut ConfigFile) -> Result<bool> {
        Ok(config.get("use_dora")? == Some(true))
    }

    fn retarget(config: &mut LoraConfig, layers: FamilyTargets) {
        config.targets = owned(layers.low_rank);
    }

    fn count(config: &LoraConfig, shape: &ModelShape) -> Result<usize> {
        let outputs: usize = targeted(config, &shape.modules)?.iter().map(|s| s.output).sum();
        Ok(Lora::count(config, shape)? + outputs)
    }

    fn build(config: LoraConfig, backbone: &dyn Backbone, seed: Seed, learning: Trainability) -> Result<Dora> {
        Dora::new(config, backbone, seed, learning)
    }

    fn load(config: ConfigFile, tensors: &TensorFile, shape: &ModelShape, learning: Trainability) -> Result<Dora> {
        let lora = Lora::load(config, tensors, shape, learning)?;
        let mut rows = BTreeMap::new();
        for (module, pair) in &lora.pairs {
            let name = format!("{PEFT_ROOT}{module}.lora_magnitude_vector");
            let magnitude = tensors.tensor(&name, &[pair.b.value().dims()[0]])?;
            rows.insert(module.clone(), Rows::new(module, magnitude, learning, OnceLock::new()));
        }
        Ok(Dora { lora, rows })
    }
}

impl AdapterHooks for Dora {
    fn linear(&self, call: &LinearCall<'_>, y: Var, ctx: &ForwardCtx) -> clinpeft_nn::Result<Var> {
        let Some(pair) = self.lora.pairs.get(call.layer.name()) else {
            return Ok(y);
        };
        let change = self.change(pair, call, ctx);
        let change = change.map_err(|e| clinpeft_nn::Error::Adapter(e.to_string()))?;
        Ok(ops::add(&y, &change)?)
    }
}

impl Adapter for Dora {
    fn method(&self) -> &'static str {
        Dora::NAME
    }

    fn parameters(&self) -> Vec<&Parameter> {
        let magnitudes = self.rows.values().map(|r| &r.magnitude);
        self.lora.parameters().into_iter().chain(magnitudes).collect()
    }

    fn parameters_mut(&mut self) -> Vec<&mut Parameter> {
        let magnitudes = self.rows.values_mut().map(|r| &mut r.magnitude);
        self.lora.parameters_mut().into_iter().chain(magnitudes).collect()
    }

    fn saved(&self) -> Result<Saved> {
        let mut saved = self.lora.saved()?;
        saved.keys = settings_as_keys(&self.lora.config);
        saved.keys.insert("use_dora".into(), true.into());
        for (module, rows) in &self.rows {
            let name = format!("{PEFT_ROOT}{module}.lora_magnitude_vector");
            saved.tensors.insert(name, rows.magnitude.value().clone());
        }
        Ok(saved)
    }

    fn file_keys(&self) -> &FileKeys {
        self.lora.file_keys()
    }

    fn mergeable(&self) -> Vec<String> {
        self.lora.mergeable()
    }

    fn update(&self, module: &str, weight: &Parameter) -> Result<Update> {
        let Update::Add(sum) = self.lora.update(module, weight)? else {
            return Err(Error::Config(format!("`{module}` has no low-rank update")));
        };
        let inverse = self.inverse_norms(module, weight)?.to_f64_vec()?;
        let lengths = self.rows[module].magnitude.value().to_f64_vec()?;
        Ok(Update::AddAndScaleRows(sum, lengths.iter().zip(&inverse).map(|(m, i)| m * i).collect()))
    }
}
