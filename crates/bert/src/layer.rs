//! One layer of the encoder, normalised behind each part.
//!
//! ```text
//! a = LN(x + drop(W_o attention(W_q x, W_k x, W_v x)))        y = LN(a + drop(W_2 gelu(W_1 a)))
//! ```
//! Every W has a bias.

use crate::Config;
use clinpeft_autodiff::{Var, ops};
use clinpeft_nn::{
    AdapterHooks, AttentionCall, ForwardCtx, LayerNorm, Linear, Parameter, RaggedBatch, Result, Trainability,
};
use clinpeft_rng::{Seed, normal};
use clinpeft_tensor::ops::{AttentionDropout, AttentionShape, CuSeqlens};
use clinpeft_tensor::{Device, Tensor};

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
    /// One segment for each sequence, then one for each pad probe.
    pub(crate) cu_seqlens: CuSeqlens,
    /// Which rows each segment sees, where they are not simply its own.
    pub(crate) keys: Option<Tensor>,
    pub(crate) shape: AttentionShape,
    /// Share dropped behind each part in training.
    pub(crate) dropout: f64,
    /// Share of attention weights dropped in training.
    pub(crate) attention_dropout: f64,
}

impl Place {
    /// Where the tokens of `batch` stand, and behind them its pad probes, which see all tokens of their sequence.
    pub(crate) fn new(batch: &RaggedBatch, config: &Config, shape: AttentionShape, device: &Device) -> Result<Place> {
        let mut cu_seqlens = CuSeqlens::same(&batch.offsets);
        let mut keys: Vec<u32> = (0..batch.tokens() as u32).collect();
        for (i, o) in batch.pad_probes.iter().enumerate() {
            let s = o.sequence as usize;
            keys.extend(batch.offsets[s]..batch.offsets[s + 1]);
            cu_seqlens.keys.push(keys.len());
            cu_seqlens.queries.push(batch.tokens() + i + 1);
        }
        let keys = if batch.pad_probes.is_empty() { None } else { Some(on_device(keys, device)?) };
        Ok(Place {
            cu_seqlens,
            keys,
            shape,
            dropout: config.hidden_dropout_prob,
            attention_dropout: config.attention_probs_dropout_prob,
        })
    }
}

/// Indices as a tensor.
pub(crate) fn on_device(rows: Vec<u32>, device: &Device) -> Result<Tensor> {
    let n = rows.len();
    Ok(Tensor::from_vec(rows, &[n])?.to_device(device)?)
}

/// Some rows, one for each sequence, which alone are wanted of a layer. Each sees all tokens of its sequence.
pub(crate) struct Only {
    rows: Tensor,
    cu_seqlens: CuSeqlens,
    keys: Option<Tensor>,
}

impl Only {
    pub(crate) fn new(rows: &Tensor, place: &Place) -> Result<Only> {
        let b = rows.count();
        let keys = place.cu_seqlens.keys[..=b].to_vec();
        let tokens = keys[b] as u32;
        // Without pad probes the tokens are all rows there are.
        let own = place.keys.as_ref();
        let own = own.map(|_| on_device((0..tokens).collect(), &rows.device()));
        Ok(Only {
            rows: rows.clone(),
            cu_seqlens: CuSeqlens { queries: (0..=b).collect(), keys },
            keys: own.transpose()?,
        })
    }
}

/// Reads a parameter by its name and shape.
pub(crate) type Get<'a> = dyn FnMut(&str, &[usize]) -> Result<Parameter> + 'a;

/// A linear layer with its bias.
pub(crate) fn linear(name: String, [out, input]: [usize; 2], get: &mut Get<'_>) -> Result<Linear> {
    let weight = get(&format!("{name}.weight"), &[out, input])?;
    let bias = get(&format!("{name}.bias"), &[out])?;
    Ok(Linear::new(name, weight).with_bias(bias))
}

/// A normalisation whose weight is `<name>.LayerNorm.weight`.
pub(crate) fn layer_norm(name: &str, config: &Config, get: &mut Get<'_>) -> Result<LayerNorm> {
    let d = config.hidden_size;
    let weight = get(&format!("{name}.LayerNorm.weight"), &[d])?;
    let bias = get(&format!("{name}.LayerNorm.bias"), &[d])?;
    Ok(LayerNorm::new(weight, bias, config.layer_norm_eps))
}

/// Dropout of this pass at the place called `name`.
pub(crate) fn drop(x: Var, rate: f64, name: &str, ctx: &ForwardCtx) -> Result<Var> {
    match ctx.dropout_key(name) {
        Some(key) if rate > 0.0 => Ok(ops::dropout(&x, rate, key)?),
        _ => Ok(x),
    }
}

impl Layer {
    pub(crate) fn build(index: usize, config: &Config, get: &mut Get<'_>) -> Result<Layer> {
        let (d, wide) = (config.hidden_size, config.intermediate_size);
        let root = format!("bert.encoder.layer.{index}");
        let name = |part: &str| format!("{root}.{part}");
        Ok(Layer {
            index,
            query: linear(name("attention.self.query"), [d, d], get)?,
            key: linear(name("attention.self.key"), [d, d], get)?,
            value: linear(name("attention.self.value"), [d, d], get)?,
            attended: linear(name("attention.output.dense"), [d, d], get)?,
            attended_norm: layer_norm(&name("attention.output"), config, get)?,
            inner: linear(name("intermediate.dense"), [wide, d], get)?,
            output: linear(name("output.dense"), [d, wide], get)?,
            output_norm: layer_norm(&name("output"), config, get)?,
            root,
        })
    }

    pub(crate) fn linears(&self) -> [&Linear; 6] {
        [&self.query, &self.key, &self.value, &self.attended, &self.inner, &self.output]
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
        hooks: &dyn AdapterHooks,
        place: &Place,
        ctx: &ForwardCtx,
        only: Option<&Only>,
    ) -> Result<Var> {
        let own = match only {
            Some(only) => ops::embedding(x, &only.rows)?,
            None => x.clone(),
        };
        let y = self.attention(&own, x, hooks, place, ctx, only)?;
        let y = drop(y, place.dropout, &format!("{}.attention.output", self.root), ctx)?;
        let x = self.attended_norm.forward(&ops::add(&own, &y)?)?;
        let inner = ops::gelu(&self.inner.forward(&x, hooks, ctx)?)?;
        let y = self.output.forward(&inner, hooks, ctx)?;
        let y = drop(y, place.dropout, &format!("{}.output", self.root), ctx)?;
        self.output_norm.forward(&ops::add(&x, &y)?)
    }

    /// Attention of the rows of `own` to the tokens of their sequences in `x`.
    fn attention(
        &self,
        own: &Var,
        x: &Var,
        hooks: &dyn AdapterHooks,
        place: &Place,
        ctx: &ForwardCtx,
        only: Option<&Only>,
    ) -> Result<Var> {
        let (cu_seqlens, keys) = match only {
            Some(only) => (&only.cu_seqlens, &only.keys),
            None => (&place.cu_seqlens, &place.keys),
        };
        let seen = |all: Var| -> Result<Var> {
            match keys {
                Some(rows) => Ok(ops::embedding(&all, rows)?),
                None => Ok(all),
            }
        };
        let q = self.query.forward(own, hooks, ctx)?;
        let k = seen(self.key.forward(x, hooks, ctx)?)?;
        let v = seen(self.value.forward(x, hooks, ctx)?)?;
        let key = ctx.dropout_key(&format!("{}.attention.self", self.root));
        let rate = place.attention_dropout;
        let dropping = AttentionShape {
            dropout: key.filter(|_| rate > 0.0).map(|key| AttentionDropout { rate, key }),
            ..place.shape
        };
        let a = ops::attention(&q, &k, &v, &dropping, cu_seqlens)?;
        let y = self.attended.forward(&a, hooks, ctx)?;
        let call = AttentionCall {
            layer: self.index,
            queries: &q,
            key: &self.key,
            value: &self.value,
            output: &self.attended,
            shape: &place.shape,
            cu_seqlens,
        };
        hooks.attention_output(&call, y, ctx)
    }
}

/// A parameter before training: matrices from N(0, 0.02), weights of normalisations one, biases zero.
pub(crate) fn untrained(name: &str, dims: &[usize], seed: Seed, learning: Trainability) -> Result<Parameter> {
    let n = dims.iter().product();
    let mut rng = seed.stream(name);
    let values: Vec<f32> = if dims.len() > 1 {
        (0..n).map(|_| (0.02 * normal(&mut rng)) as f32).collect()
    } else if name.ends_with("bias") {
        vec![0.0; n]
    } else {
        vec![1.0; n]
    };
    Ok(Parameter::new(name, Tensor::from_vec(values, dims)?, learning))
}
