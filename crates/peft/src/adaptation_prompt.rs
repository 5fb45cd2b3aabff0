//! Adaptation prompt (LLaMA-Adapter, Zhang et al. 2023, eq. 4-6): gated extra attention in the last layers.
//!
//! ```text
//! k = W_k P,  v = W_v P  (no rotary)      y += W_o (gate * softmax(q k^T / sqrt(d)) v)      P: [m, width]  gate: [1]
//! ```
//! The gate begins at zero, so the adapter begins as no change. W_k, W_v and W_o are those of the frozen layer.

use crate::adapter::PEFT_ROOT;
use crate::defaults::default_keys;
use crate::encoder::{Table, table};
use crate::files::{ConfigFile, TensorFile};
use crate::limits;
use crate::{Adapter, AdapterMethod, Error, FileKeys, ModelShape, Result, Saved};
use clinpeft_autodiff::{Var, ops};
use clinpeft_nn::{AdapterHooks, AttentionCall, Backbone, ForwardCtx, Parameter, Trainability};
use clinpeft_rng::Seed;
use clinpeft_tensor::ops::{AttentionShape, CuSeqlens, Layout, Mask};
use clinpeft_tensor::{DType, Tensor};
use clinpeft_weights::TensorMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Settings of an adaptation prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdaptationPromptConfig {
    /// m, the rows of each prompt.
    pub length: usize,
    /// How many layers, counted from the last.
    pub layers: usize,
}

impl AdaptationPromptConfig {
    pub(crate) fn check(&self, shape: &ModelShape) -> Result<()> {
        if (1..=limits::ROWS).contains(&self.length) && (1..=shape.layers).contains(&self.layers) {
            return Ok(());
        }
        Err(Error::Config(format!(
            "an adaptation prompt of {} rows in {} layers on a model with {} layers\nhint: at least one of each, at most {} rows, and no more layers than there are",
            self.length,
            self.layers,
            shape.layers,
            limits::ROWS
        )))
    }
}

/// Prompts in the last layers.
#[derive(Debug, Clone)]
pub struct AdaptationPrompt {
    config: AdaptationPromptConfig,
    prompts: BTreeMap<usize, GatedPrompt>,
    files: FileKeys,
}

#[derive(Debug, Clone)]
struct GatedPrompt {
    /// `[1]`.
    gate: Parameter,
    /// `[1, m, width]`.
    rows: Parameter,
}

impl GatedPrompt {
    fn new(layer: usize, gate: Tensor, rows: Tensor, learning: Trainability) -> GatedPrompt {
        let name = |part: &str| format!("model.layers.{layer}.self_attn.{part}");
        GatedPrompt {
            gate: Parameter::new(name("adaption_gate"), gate, learning),
            rows: Parameter::new(name("adaption_prompt"), rows, learning),
        }
    }
}

impl AdaptationPrompt {
    /// New prompts from N(0, 1) with closed gates. Errors if the model has fewer layers.
    pub fn new(
        config: AdaptationPromptConfig,
        shape: &ModelShape,
        seed: Seed,
        learning: Trainability,
    ) -> Result<AdaptationPrompt> {
        config.check(shape)?;
        let one = |layer: usize| -> Result<(usize, GatedPrompt)> {
            let name = format!("{layer}.adaption_prompt");
            let rows = table(&[1, config.length, shape.width], Table::Normal, &name, seed)?;
            let gate = Tensor::zeros(&[1], DType::F32);
            Ok((layer, GatedPrompt::new(layer, gate, rows, learning)))
        };
        let prompts = (shape.layers - config.layers..shape.layers).map(one).collect::<Result<_>>()?;
        Ok(AdaptationPrompt { config, prompts, files: FileKeys::default() })
    }
}

impl GatedPrompt {
    fn attend(&self, module: &AttentionCall<'_>) -> clinpeft_nn::Result<Var> {
        let m = self.rows.value().dims()[1];
        let rows = self.rows.var().reshape(&[m, self.rows.value().dims()[2]])?;
        let (k, v) = (module.key.plain(&rows)?, module.value.plain(&rows)?);
        // The gate scales the weights; scaling the few values is the same.
        let v = ops::mul(&v, &spread(self.gate.var(), m, v.dims()[1])?)?;
        let cu_seqlens = CuSeqlens { queries: vec![0, module.queries.dims()[0]], keys: vec![0, m] };
        let shape = AttentionShape { mask: Mask::Full, dropout: None, ..*module.shape };
        let out = ops::attention(module.queries, &k, &v, &shape, &cu_seqlens)?;
        module.output.plain(&out)
    }
}

/// One number, `[1]`, in every place of `[rows, columns]`.
fn spread(gate: &Var, rows: usize, columns: usize) -> clinpeft_nn::Result<Var> {
    let ones = |n: usize| -> clinpeft_nn::Result<Var> {
        let ones = Tensor::from_vec(vec![1.0f64; n], &[n, 1])?.cast(gate.dtype())?;
        Ok(Var::constant(ones.to_device(&gate.value().device())?))
    };
    let row = ops::matmul(&gate.reshape(&[1, 1])?, &ones(columns)?, Layout::RightTransposed)?;
    Ok(ops::matmul(&ones(rows)?, &row, Layout::Normal)?)
}

fn keys(config: &AdaptationPromptConfig) -> Map<String, Value> {
    let mut keys = default_keys(AdaptationPrompt::PEFT_TYPE);
    keys.insert("adapter_len".into(), config.length.into());
    keys.insert("adapter_layers".into(), config.layers.into());
    keys
}

impl AdapterMethod for AdaptationPrompt {
    const NAME: &'static str = "adaptation_prompt";
    const PEFT_TYPE: &'static str = "ADAPTION_PROMPT";
    type Config = AdaptationPromptConfig;

    fn count(config: &AdaptationPromptConfig, shape: &ModelShape) -> Result<usize> {
        config.check(shape)?;
        Ok(config.layers * (config.length * shape.width + 1))
    }

    fn build(
        config: AdaptationPromptConfig,
        backbone: &dyn Backbone,
        seed: Seed,
        learning: Trainability,
    ) -> Result<AdaptationPrompt> {
        AdaptationPrompt::new(config, &ModelShape::of(backbone), seed, learning)
    }

    fn load(
        mut file: ConfigFile,
        tensors: &TensorFile,
        shape: &ModelShape,
        learning: Trainability,
    ) -> Result<AdaptationPrompt> {
        let config = AdaptationPromptConfig { length: file.need("adapter_len")?, layers: file.need("adapter_layers")? };
        config.check(shape)?;
        let one = |layer: usize| -> Result<(usize, GatedPrompt)> {
            let name = |part: &str| format!("{PEFT_ROOT}model.layers.{layer}.self_attn.{part}");
            let gate = tensors.tensor(&name("adaption_gate"), &[1])?;
            let rows = tensors.tensor(&name("adaption_prompt"), &[1, config.length, shape.width])?;
            Ok((layer, GatedPrompt::new(layer, gate, rows, learning)))
        };
        let prompts = (shape.layers - config.layers..shape.layers).map(one).collect::<Result<_>>()?;
        let files = file.finish(&keys(&config), tensors)?;
        Ok(AdaptationPrompt { config, prompts, files })
    }
}

impl AdapterHooks for AdaptationPrompt {
    fn attention_output(&self, module: &AttentionCall<'_>, y: Var, _: &ForwardCtx) -> clinpeft_nn::Result<Var> {
        match self.prompts.get(&module.layer) {
            Some(prompt) => Ok(ops::add(&y, &prompt.attend(module)?)?),
            None => Ok(y),
        }
    }
}

impl Adapter for AdaptationPrompt {
    fn method(&self) -> &'static str {
        AdaptationPrompt::NAME
    }

    fn parameters(&self) -> Vec<&Parameter> {
        self.prompts.values().flat_map(|p| [&p.gate, &p.rows]).collect()
    }

    fn parameters_mut(&mut self) -> Vec<&mut Parameter> {
        self.prompts.values_mut().flat_map(|p| [&mut p.gate, &mut p.rows]).collect()
    }

    fn saved(&self) -> Result<Saved> {
        let named = |p: &Parameter| (format!("{PEFT_ROOT}{}", p.name()), p.value().clone());
        Ok(Saved {
            peft_type: AdaptationPrompt::PEFT_TYPE,
            keys: keys(&self.config),
            tensors: self.parameters().into_iter().map(named).collect(),
            encoder: TensorMap::new(),
            head_prefix: PEFT_ROOT,
        })
    }

    fn file_keys(&self) -> &FileKeys {
        &self.files
    }
}
