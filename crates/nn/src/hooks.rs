//! The hook points where adapters attach.

use crate::{ForwardCtx, Linear, Result};
use clinpeft_autodiff::Var;
use clinpeft_tensor::ops::{AttentionShape, CuSeqlens};

/// Name and shape of a linear layer that an adapter may target (PEFT: target module).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetModule {
    /// Full name, for example `model.layers.0.self_attn.q_proj`.
    pub name: String,
    /// Input width.
    pub input: usize,
    /// Output width.
    pub output: usize,
}

/// What is known at a linear layer.
#[derive(Clone, Copy)]
pub struct LinearCall<'a> {
    /// The layer, with its name and weight.
    pub layer: &'a Linear,
    /// Its input, `[t, in]`.
    pub x: &'a Var,
    /// Its output without any adapter, `[t, out]`.
    pub base: &'a Var,
}

/// What is known at the output of an attention block.
pub struct AttentionCall<'a> {
    /// Number of the layer.
    pub layer: usize,
    /// Queries after the rotary embedding, `[t, h*d]`.
    pub queries: &'a Var,
    /// The key projection.
    pub key: &'a Linear,
    /// The value projection.
    pub value: &'a Linear,
    /// The output projection.
    pub output: &'a Linear,
    /// Heads and scale.
    pub shape: &'a AttentionShape,
    /// Where sequences begin.
    pub cu_seqlens: &'a CuSeqlens,
}

/// What a model offers to adapters. Each method returns its value changed or as it came; the defaults change nothing.
pub trait AdapterHooks: Send + Sync {
    /// Before hook 1: the input `x` `[t, in]` of a linear layer, which the layer and [`AdapterHooks::linear`] then see.
    fn linear_input(&self, layer: &Linear, x: Var) -> Result<Var> {
        let _ = layer;
        Ok(x)
    }

    /// Hook 1: after `y = W x`; `y` is what the layer and the adapters before this one made.
    fn linear(&self, call: &LinearCall<'_>, y: Var, ctx: &ForwardCtx) -> Result<Var> {
        let _ = (call, ctx);
        Ok(y)
    }

    /// Hook 2: keys and values, each `[n, kv*d]`, in front of every sequence, one pair for each layer in order. Asked for
    /// once in a pass.
    fn keys_values(&self, ctx: &ForwardCtx) -> Result<Option<Vec<(Var, Var)>>> {
        let _ = ctx;
        Ok(None)
    }

    /// Hook 3: rows `[n, d]` in front of every embedded sequence.
    fn inputs(&self, ctx: &ForwardCtx) -> Result<Option<Var>> {
        let _ = ctx;
        Ok(None)
    }

    /// Hook 4: after the output projection of an attention block.
    fn attention_output(&self, call: &AttentionCall<'_>, y: Var, ctx: &ForwardCtx) -> Result<Var> {
        let _ = (call, ctx);
        Ok(y)
    }
}

impl Linear {
    /// What an adapter needs to know of the layer before it exists.
    pub fn describe(&self) -> TargetModule {
        let dims = self.weight().value().dims();
        TargetModule { name: self.name().into(), input: dims[1], output: dims[0] }
    }

    /// `W x + b` with whatever the adapters add; x `[t, in]`.
    pub fn forward(&self, x: &Var, hooks: &dyn AdapterHooks, ctx: &ForwardCtx) -> Result<Var> {
        let x = &hooks.linear_input(self, x.clone())?;
        let base = self.plain(x)?;
        let call = LinearCall { layer: self, x, base: &base };
        hooks.linear(&call, base.clone(), ctx)
    }
}

/// A model on its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoAdapters;

impl AdapterHooks for NoAdapters {}
