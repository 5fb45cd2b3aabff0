//! One layer of the model.

use crate::Config;
use clinpeft_autodiff::{Var, ops};
use clinpeft_nn::{AdapterHooks, AttentionCall, ForwardCtx, Linear, Parameter, Result, RotaryTables, norm};
use clinpeft_tensor::Tensor;
use clinpeft_tensor::ops::{AttentionShape, CuSeqlens};

#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) index: usize,
    shape: AttentionShape,
    pub(crate) input_norm: Parameter,
    pub(crate) query: Linear,
    pub(crate) key: Linear,
    pub(crate) value: Linear,
    pub(crate) output: Linear,
    pub(crate) mlp_norm: Parameter,
    pub(crate) gate: Linear,
    pub(crate) up: Linear,
    pub(crate) down: Linear,
}

/// What is the same for every layer of a run.
pub(crate) struct Place {
    pub(crate) positions: Tensor,
    pub(crate) cu_seqlens: CuSeqlens,
    /// Which rows of `[prefix; keys]` each segment sees, where they are not simply its own.
    pub(crate) keys: Option<Tensor>,
    pub(crate) offsets: Vec<u32>,
    pub(crate) virtual_rows: usize,
    pub(crate) turns: RotaryTables,
    pub(crate) eps: f64,
}

/// One row for each sequence, each of which sees all of it.
pub(crate) struct Only {
    rows: Tensor,
    positions: Tensor,
    cu_seqlens: CuSeqlens,
    keys: Option<Tensor>,
}

impl Only {
    /// The given rows of a run.
    pub(crate) fn new(rows: &Tensor, place: &Place) -> Result<Only> {
        let device = place.positions.device();
        let b = rows.count();
        let positions = {
            let (all, rows) = (place.positions.to_cpu()?, rows.to_cpu()?);
            let (all, rows) = (all.as_slice::<u32>()?, rows.as_slice::<u32>()?);
            Tensor::from_vec(rows.iter().map(|r| all[*r as usize]).collect(), &[b])?
        };
        let cu_seqlens = CuSeqlens { queries: (0..=b).collect(), keys: place.cu_seqlens.keys[..=b].to_vec() };
        // The keys of pad probes come last and are not needed.
        let count = cu_seqlens.keys[b];
        let keys = place.keys.as_ref().map(|k| -> Result<Tensor> {
            let own = k.to_cpu()?.as_slice::<u32>()?[..count].to_vec();
            Ok(Tensor::from_vec(own, &[count])?.to_device(&device)?)
        });
        Ok(Only { rows: rows.clone(), positions: positions.to_device(&device)?, cu_seqlens, keys: keys.transpose()? })
    }
}

impl Layer {
    pub(crate) fn build(
        index: usize,
        c: &Config,
        get: &mut impl FnMut(&str, &[usize]) -> Result<Parameter>,
    ) -> Result<Layer> {
        let (d, inner) = (c.hidden_size, c.intermediate_size);
        let (wide, narrow) = (c.num_attention_heads * c.head_width(), c.kv_heads() * c.head_width());
        let root = format!("model.layers.{index}");
        let mut linear = |part: &str, out: usize, input: usize| -> Result<Linear> {
            let name = format!("{root}.{part}");
            let weight = get(&format!("{name}.weight"), &[out, input])?;
            let biased = c.has_qkv_bias() && ["q_proj", "k_proj", "v_proj"].iter().any(|own| part.ends_with(own));
            let bias = biased.then(|| get(&format!("{name}.bias"), &[out])).transpose()?;
            let linear = Linear::new(name, weight);
            Ok(match bias {
                Some(bias) => linear.with_bias(bias),
                None => linear,
            })
        };
        let query = linear("self_attn.q_proj", wide, d)?;
        let key = linear("self_attn.k_proj", narrow, d)?;
        let value = linear("self_attn.v_proj", narrow, d)?;
        let output = linear("self_attn.o_proj", d, wide)?;
        let gate = linear("mlp.gate_proj", inner, d)?;
        let up = linear("mlp.up_proj", inner, d)?;
        let down = linear("mlp.down_proj", d, inner)?;
        let input_norm = get(&format!("{root}.input_layernorm.weight"), &[d])?;
        let mlp_norm = get(&format!("{root}.post_attention_layernorm.weight"), &[d])?;
        let shape = c.attention_shape(index);
        Ok(Layer { index, shape, input_norm, query, key, value, output, mlp_norm, gate, up, down })
    }

    pub(crate) fn linears(&self) -> [&Linear; 7] {
        [&self.query, &self.key, &self.value, &self.output, &self.gate, &self.up, &self.down]
    }

    pub(crate) fn forward(
        &self,
        x: &Var,
        prefix: Option<(&Var, &Var)>,
        hooks: &dyn AdapterHooks,
        place: &Place,
        ctx: &ForwardCtx,
        only: Option<&Only>,
    ) -> Result<Var> {
        let h = norm(x, &self.input_norm, place.eps)?;
        let attended = self.attention(&h, prefix, hooks, place, ctx, only)?;
        let x = match only {
            Some(only) => ops::add(&ops::embedding(x, &only.rows)?, &attended)?,
            None => ops::add(x, &attended)?,
        };
        let h = norm(&x, &self.mlp_norm, place.eps)?;
        let gated = ops::silu_mul(&self.gate.forward(&h, hooks, ctx)?, &self.up.forward(&h, hooks, ctx)?)?;
        Ok(ops::add(&x, &self.down.forward(&gated, hooks, ctx)?)?)
    }

    fn attention(
        &self,
        h: &Var,
        prefix: Option<(&Var, &Var)>,
        hooks: &dyn AdapterHooks,
        place: &Place,
        ctx: &ForwardCtx,
        only: Option<&Only>,
    ) -> Result<Var> {
        let turn = |x: Var, at: &Tensor| ops::rotary(&x, &place.turns.cos, &place.turns.sin, at);
        let k = turn(self.key.forward(h, hooks, ctx)?, &place.positions)?;
        let v = self.value.forward(h, hooks, ctx)?;
        let (q, cu_seqlens, seen) = match only {
            None => (turn(self.query.forward(h, hooks, ctx)?, &place.positions)?, &place.cu_seqlens, &place.keys),
            Some(only) => {
                let q = self.query.forward(&ops::embedding(h, &only.rows)?, hooks, ctx)?;
                (turn(q, &only.positions)?, &only.cu_seqlens, &only.keys)
            }
        };
        let all = |own: Var, before: Option<&Var>| -> Result<Var> {
            let both = match before {
                Some(before) => ops::concat(before, &own)?,
                None => own,
            };
            match seen {
                Some(rows) => Ok(ops::embedding(&both, rows)?),
                None => Ok(both),
            }
        };
        let (k, v) = (all(k, prefix.map(|p| p.0))?, all(v, prefix.map(|p| p.1))?);
        let a = ops::attention(&q, &k, &v, &self.shape, cu_seqlens)?;
        let y = self.output.forward(&a, hooks, ctx)?;
        let call = AttentionCall {
            layer: self.index,
            queries: &q,
            key: &self.key,
            value: &self.value,
            output: &self.output,
            shape: &self.shape,
            cu_seqlens,
        };
        hooks.attention_output(&call, y, ctx)
    }
}
