//! One layer of the encoder, normalised behind each part.
//!
//! ```text
//! a = LN(x + drop(W_o attention(W_q x, W_k x, W_v x)))        y = LN(a + drop(W_2 gelu(W_1 a)))
//! ```
//! Every W has a bias.

use crate::Config;
use clinpeft_autodiff::{Var, ops};
use clinpeft_nn::{AttentionSite, LayerNorm, Linear, Parameter, Pass, Result, Sites};
use clinpeft_tensor::Tensor;
use clinpeft_tensor::ops::{AttentionShape, Segments};

#[derive(Debug, Clone)]
pub(crate) struct Layer {
    index: usize,
    root: String,
    query: Linear,
    key: Linear,
    value: Linear,
    attended: Linear,
    attended_norm: LayerNorm,
    inner: Linear,
    output: Linear,
    output_norm: LayerNorm,
}

/// What is the same for every layer of a run.
pub(crate) struct Place {
    pub(crate) segments: Segments,
    pub(crate) shape: AttentionShape,
    /// Share dropped behind each part in training.
    pub(crate) dropout: f64,
    /// Share of attention weights dropped in training.
    pub(crate) attention_dropout: f64,
}

/// Some rows, one for each sequence, which alone are wanted of a layer.
pub(crate) struct Only {
    pub(crate) rows: Tensor,
    segments: Segments,
}

impl Only {
    pub(crate) fn new(rows: &Tensor, place: &Place) -> Only {
        Only {
            rows: rows.clone(),
            segments: Segments {
                queries: (0..=rows.count()).collect(),
                keys: place.segments.keys.clone(),
            },
        }
    }
}

/// Reads a parameter by its name and shape.
pub(crate) type Get<'a> = dyn FnMut(&str, &[usize]) -> Result<Parameter> + 'a;

/// A linear layer with its bias.
pub(crate) fn linear(site: String, [out, input]: [usize; 2], get: &mut Get<'_>) -> Result<Linear> {
    let weight = get(&format!("{site}.weight"), &[out, input])?;
    let bias = get(&format!("{site}.bias"), &[out])?;
    Ok(Linear::new(site, weight).with_bias(bias))
}

/// A normalisation whose weight is `<name>.LayerNorm.weight`.
pub(crate) fn layer_norm(name: &str, config: &Config, get: &mut Get<'_>) -> Result<LayerNorm> {
    let d = config.hidden_size;
    let weight = get(&format!("{name}.LayerNorm.weight"), &[d])?;
    let bias = get(&format!("{name}.LayerNorm.bias"), &[d])?;
    Ok(LayerNorm::new(weight, bias, config.layer_norm_eps))
}

/// Dropout of this pass at the place called `name`.
pub(crate) fn drop(x: Var, rate: f64, name: &str, pass: &Pass) -> Result<Var> {
    match pass.dropout_key(name) {
        Some(key) if rate > 0.0 => Ok(ops::dropout(&x, rate, key)?),
        _ => Ok(x),
    }
}

impl Layer {
    pub(crate) fn build(index: usize, config: &Config, get: &mut Get<'_>) -> Result<Layer> {
        let (d, wide) = (config.hidden_size, config.intermediate_size);
        let root = format!("bert.encoder.layer.{index}");
        let site = |part: &str| format!("{root}.{part}");
        Ok(Layer {
            index,
            query: linear(site("attention.self.query"), [d, d], get)?,
            key: linear(site("attention.self.key"), [d, d], get)?,
            value: linear(site("attention.self.value"), [d, d], get)?,
            attended: linear(site("attention.output.dense"), [d, d], get)?,
            attended_norm: layer_norm(&site("attention.output"), config, get)?,
            inner: linear(site("intermediate.dense"), [wide, d], get)?,
            output: linear(site("output.dense"), [d, wide], get)?,
            output_norm: layer_norm(&site("output"), config, get)?,
            root,
        })
    }

    pub(crate) fn linears(&self) -> [&Linear; 6] {
        [
            &self.query,
            &self.key,
            &self.value,
            &self.attended,
            &self.inner,
            &self.output,
        ]
    }

    /// All parameters, in the order of the network.
    pub(crate) fn parameters(&self) -> Vec<&Parameter> {
        let mut all: Vec<&Parameter> = Vec::new();
        for l in [&self.query, &self.key, &self.value, &self.attended] {
            all.extend(l.parameters());
        }
        all.extend(self.attended_norm.parameters());
        all.extend(self.inner.parameters());
        all.extend(self.output.parameters());
        all.extend(self.output_norm.parameters());
        all
    }

    /// The same for writing.
    pub(crate) fn parameters_mut(&mut self) -> Vec<&mut Parameter> {
        let mut all: Vec<&mut Parameter> = Vec::new();
        for l in [&mut self.query, &mut self.key, &mut self.value, &mut self.attended] {
            all.extend(l.parameters_mut());
        }
        all.extend(self.attended_norm.parameters_mut());
        all.extend(self.inner.parameters_mut());
        all.extend(self.output.parameters_mut());
        all.extend(self.output_norm.parameters_mut());
        all
    }

    /// The layer on x `[t, d]`; only some rows of its result if `only` says so.
    pub(crate) fn forward(
        &self,
        x: &Var,
        sites: &dyn Sites,
        place: &Place,
        pass: &Pass,
        only: Option<&Only>,
    ) -> Result<Var> {
        let own = match only {
            Some(only) => ops::embedding(x, &only.rows)?,
            None => x.clone(),
        };
        let segments = only.map_or(&place.segments, |o| &o.segments);
        let y = self.attention(&own, x, segments, sites, place, pass)?;
        let y = drop(y, place.dropout, &format!("{}.attention.output", self.root), pass)?;
        let x = self.attended_norm.forward(&ops::add(&own, &y)?)?;
        let inner = ops::gelu(&self.inner.forward(&x, sites, pass)?)?;
        let y = self.output.forward(&inner, sites, pass)?;
        let y = drop(y, place.dropout, &format!("{}.output", self.root), pass)?;
        self.output_norm.forward(&ops::add(&x, &y)?)
    }

    /// Attention of the rows of `own` to those of `x`.
    fn attention(
        &self,
        own: &Var,
        x: &Var,
        segments: &Segments,
        sites: &dyn Sites,
        place: &Place,
        pass: &Pass,
    ) -> Result<Var> {
        let q = self.query.forward(own, sites, pass)?;
        let k = self.key.forward(x, sites, pass)?;
        let v = self.value.forward(x, sites, pass)?;
        let a = ops::attention(&q, &k, &v, &place.shape, segments)?;
        let y = self.attended.forward(&a, sites, pass)?;
        let site = AttentionSite {
            layer: self.index,
            queries: &q,
            key: &self.key,
            value: &self.value,
            output: &self.attended,
            shape: &place.shape,
            segments,
        };
        sites.attention_output(&site, y, pass)
    }
}
