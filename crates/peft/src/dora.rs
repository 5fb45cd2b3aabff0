//! Weight-decomposed low-rank adaptation (Liu et al. 2024, eq. 5): direction from a LoRA, length of each row its own.
//!
//! ```text
//! y = m / |W + s B A| * (W + s B A) x        m: [out], norms of rows
//! ```
//! The norm is a constant to the gradient (section 4.3 of the paper).

use crate::adapter::layer_name;
use crate::files::{ConfigFile, TensorFile};
use crate::lora::{PREFIX, Pair, settings_as_keys, targeted};
use crate::merge::Update;
use crate::{Adapter, Error, FileKeys, Lora, LoraConfig, ModelShape, Result, Saved};
use clinpeft_autodiff::{Var, ops};
use clinpeft_nn::{Backbone, Learning, LinearCall, LinearSite, Parameter, Pass, Sites};
use clinpeft_rng::Seed;
use clinpeft_tensor::Tensor;
use clinpeft_tensor::ops::{Layout, matmul};
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
    /// Squared norms of the rows of W, computed once; W is frozen.
    squares: Arc<OnceLock<Vec<f64>>>,
}

impl Rows {
    fn new(site: &str, magnitude: Tensor, learning: Learning) -> Rows {
        Rows {
            magnitude: Parameter::new(format!("{site}.lora_magnitude_vector.weight"), magnitude, learning),
            squares: Arc::default(),
        }
    }
}

impl Dora {
    /// A new adapter: a new LoRA, and the norms of the rows of W, so that it begins as no change.
    pub fn new(config: LoraConfig, backbone: &dyn Backbone, seed: Seed, learning: Learning) -> Result<Dora> {
        let lora = Lora::new(config, &backbone.linear_sites(), seed, learning)?;
        let mut rows = BTreeMap::new();
        for site in lora.pairs.keys() {
            let name = format!("{site}.weight");
            let weight = backbone.parameters().into_iter().find(|p| p.name() == name);
            let weight = weight.ok_or_else(|| Error::Config(format!("the model has no `{name}`")))?;
            let norms: Vec<f32> = squared_rows(weight.value())?.iter().map(|x| x.sqrt() as f32).collect();
            let magnitude = Tensor::from_vec(norms, &[weight.value().dims()[0]])?;
            rows.insert(site.clone(), Rows::new(site, magnitude, learning));
        }
        Ok(Dora { lora, rows })
    }

    pub(crate) fn load(
        config: ConfigFile,
        tensors: &TensorFile,
        shape: &ModelShape,
        learning: Learning,
    ) -> Result<Dora> {
        let lora = Lora::load(config, tensors, shape, learning)?;
        let mut rows = BTreeMap::new();
        for (site, pair) in &lora.pairs {
            let name = format!("{PREFIX}{site}.lora_magnitude_vector");
            let magnitude = tensors.tensor(&name, &[pair.b.value().dims()[0]])?;
            rows.insert(site.clone(), Rows::new(site, magnitude, learning));
        }
        Ok(Dora { lora, rows })
    }

    /// Number of parameters: those of the LoRA, and one for each output of each target.
    pub fn count(config: &LoraConfig, sites: &[LinearSite]) -> Result<usize> {
        let outputs: usize = targeted(config, sites)?.iter().map(|s| s.output).sum();
        Ok(config.count(sites)? + outputs)
    }

    /// `1 / |W + s B A|` for each row, from `|W|^2 + 2 s B . (W A^T) + s^2 B (A A^T) B^T`.
    pub(crate) fn inverse_norms(&self, site: &str, weight: &Parameter) -> Result<Tensor> {
        let (pair, s) = (&self.lora.pairs[site], self.lora.config.scale());
        let w = weight.value();
        let squares = match (self.rows[site].squares.get(), weight.learning()) {
            (Some(known), Learning::Frozen) => known.clone(),
            (None, Learning::Frozen) => {
                let fresh = squared_rows(w)?;
                self.rows[site].squares.get_or_init(|| fresh).clone()
            }
            (_, Learning::Trainable) => squared_rows(w)?,
        };
        let (a, b) = (pair.a.value(), pair.b.value());
        let (out, r) = (b.dims()[0], b.dims()[1]);
        let aw = matmul(a, w, Layout::RightTransposed)?.to_f64_vec()?;
        let aa = matmul(a, a, Layout::RightTransposed)?.to_f64_vec()?;
        let b = b.to_f64_vec()?;
        let inverse = |o: usize| {
            let row = &b[o * r..(o + 1) * r];
            let cross: f64 = (0..r).map(|i| row[i] * aw[i * out + o]).sum();
            let own: f64 = (0..r).map(|i| row[i] * (0..r).map(|j| aa[i * r + j] * row[j]).sum::<f64>()).sum();
            (squares[o] + 2.0 * s * cross + s * s * own).max(f64::MIN_POSITIVE).sqrt().recip()
        };
        let values: Vec<f64> = (0..out).map(inverse).collect();
        let norms = Tensor::from_vec(values, &[out])?.cast(a.dtype())?;
        Ok(norms.to_device(&a.device())?)
    }

    fn change(&self, pair: &Pair, call: &LinearCall<'_>, pass: &Pass) -> Result<Var> {
        let site = call.layer.site();
        let dropped = self.lora.dropped(site, call.x, pass)?;
        let x = dropped.as_ref().unwrap_or(call.x);
        // The lengths are those of W, so the bias of the layer takes no part.
        let base =
            if dropped.is_none() && call.layer.bias().is_none() { call.base.clone() } else { call.layer.product(x)? };
        let inverse = Var::constant(self.inverse_norms(site, call.layer.weight())?);
        let ratio = ops::mul(self.rows[site].magnitude.var(), &inverse)?;
        let ones = Tensor::from_vec(vec![-1.0f64; ratio.dims()[0]], ratio.dims())?.cast(ratio.dtype())?;
        let beyond = ops::add(&ratio, &Var::constant(ones.to_device(&ratio.value().device())?))?;
        let update = ops::linear(&ops::linear(x, pair.a.var())?, pair.b.var())?;
        let update = ops::mul_row(&ops::scale(&update, self.lora.config.scale())?, &ratio)?;
        Ok(ops::add(&ops::mul_row(&base, &beyond)?, &update)?)
    }
}

/// Squared norm of every row, in f64.
fn squared_rows(weight: &Tensor) -> Result<Vec<f64>> {
    let width = weight.dims()[1].max(1);
    let values = weight.to_f64_vec()?;
    Ok(values.chunks_exact(width).map(|row| row.iter().map(|x| x * x).sum()).collect())
}

impl Sites for Dora {
    fn linear(&self, call: &LinearCall<'_>, y: Var, pass: &Pass) -> clinpeft_nn::Result<Var> {
        let Some(pair) = self.lora.pairs.get(call.layer.site()) else {
            return Ok(y);
        };
        let change = self.change(pair, call, pass);
        let change = change.map_err(|e| clinpeft_nn::Error::Adapter(e.to_string()))?;
        Ok(ops::add(&y, &change)?)
    }
}

impl Adapter for Dora {
    fn method(&self) -> &'static str {
        "dora"
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
        for (site, rows) in &self.rows {
            let name = format!("{PREFIX}{site}.lora_magnitude_vector");
            saved.tensors.insert(name, rows.magnitude.value().clone());
        }
        Ok(saved)
    }

    fn file_keys(&self) -> &FileKeys {
        self.lora.file_keys()
    }

    fn peft_name(&self, parameter: &str, adapter: &str) -> String {
        layer_name(parameter, adapter)
    }

    fn low_rank_sites(&self) -> Vec<String> {
        self.lora.low_rank_sites()
    }

    fn update(&self, site: &str, weight: &Parameter) -> Result<Update> {
        let mut update = self.lora.update(site, weight)?;
        let inverse = self.inverse_norms(site, weight)?.to_f64_vec()?;
        let lengths = self.rows[site].magnitude.value().to_f64_vec()?;
        update.rows = Some(lengths.iter().zip(&inverse).map(|(m, i)| m * i).collect());
        Ok(update)
    }

    fn boxed(&self) -> Box<dyn Adapter> {
        Box::new(self.clone())
    }
}
