//! What the prompt methods share: tables, small networks over them, and their keys in files.

use crate::defaults::default_keys;
use crate::files::{ConfigFile, TensorFile};
use crate::{Error, ModelShape, Result};
use clinpeft_autodiff::{Var, ops};
use clinpeft_nn::{Parameter, Trainability};
use clinpeft_rng::{RngExt, Seed, normal};
use clinpeft_tensor::Tensor;
use clinpeft_weights::TensorMap;
use serde_json::{Map, Value};

/// What new weights are drawn from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Table {
    /// N(0, 1).
    Normal,
    /// Uniform within plus and minus a bound.
    Uniform(f64),
}

/// New weights from the stream called `name`.
pub(crate) fn table(dims: &[usize], from: Table, name: &str, seed: Seed) -> Result<Tensor> {
    let n = dims.iter().product();
    let mut rng = seed.stream(name);
    let values: Vec<f32> = match from {
        Table::Normal => (0..n).map(|_| normal(&mut rng) as f32).collect(),
        Table::Uniform(bound) => (0..n).map(|_| rng.random_range(-bound..bound) as f32).collect(),
    };
    Ok(Tensor::from_vec(values, dims)?)
}

/// The rows that PEFT saves of every prompt method: `prompt_embeddings` `[n, width]`.
pub(crate) fn rows_of_the_file(
    config: &mut ConfigFile,
    tensors: &TensorFile,
    n: usize,
    width: usize,
) -> Result<Tensor> {
    let submodules: usize = config.get("num_transformer_submodules")?.unwrap_or(1);
    if submodules != 1 {
        return Err(config
            .wrong("`num_transformer_submodules` is not 1\nhint: only models without a separate encoder are known"));
    }
    for key in ["token_dim", "num_layers", "num_attention_heads"] {
        config.get::<usize>(key)?;
    }
    tensors.tensor("prompt_embeddings", &[n, width])
}

/// The keys of a prompt method with the defaults of PEFT 0.21 and the sizes of a model.
pub(crate) fn prompt_keys(kind: &str, n: usize, shape: &ModelShape) -> Map<String, Value> {
    let mut keys = default_keys(kind);
    let mut set = |key: &str, value: Value| keys.insert(key.into(), value);
    set("num_virtual_tokens", n.into());
    set("num_layers", shape.layers.into());
    set("num_attention_heads", shape.heads.into());
    set("token_dim", shape.width.into());
    keys
}

/// Parameters of a small network, in order, found by name.
#[derive(Debug, Clone)]
pub(crate) struct Network(Vec<Parameter>);

/// Name, shape and start of one parameter.
pub(crate) type Part = (String, Vec<usize>, Table);

impl Network {
    /// New parameters.
    pub(crate) fn new(parts: &[Part], seed: Seed, learning: Trainability) -> Result<Network> {
        let one = |(name, dims, from): &Part| Ok(Parameter::new(name, table(dims, *from, name, seed)?, learning));
        Ok(Network(parts.iter().map(one).collect::<Result<_>>()?))
    }

    /// The parameters of a file beside the adapter; `None` if there is none.
    pub(crate) fn load(parts: &[Part], tensors: &TensorFile, learning: Trainability) -> Result<Option<Network>> {
        let one = |(name, dims, _): &Part| {
            let value = tensors.encoder(name, dims)?;
            Ok(value.map(|v| Parameter::new(name, v, learning)))
        };
        let all: Option<Vec<Parameter>> = parts.iter().map(one).collect::<Result<_>>()?;
        Ok(all.map(Network))
    }

    /// The rows alone, where what made them is not known.
    pub(crate) fn of_rows(rows: Tensor, learning: Trainability) -> Network {
        Network(vec![Parameter::new("embedding.weight", rows, learning)])
    }

    /// A parameter by name.
    pub(crate) fn var(&self, name: &str) -> Result<&Var> {
        let found = self.0.iter().find(|p| p.name() == name).map(Parameter::var);
        found.ok_or_else(|| Error::Config(format!("the prompt encoder has no `{name}`")))
    }

    /// `W x + b` of the layer called `name`.
    pub(crate) fn linear(&self, name: &str, x: &Var) -> Result<Var> {
        let y = ops::linear(x, self.var(&format!("{name}.weight"))?)?;
        Ok(ops::add_row(&y, self.var(&format!("{name}.bias"))?)?)
    }

    /// In order.
    pub(crate) fn parameters(&self) -> Vec<&Parameter> {
        self.0.iter().collect()
    }

    /// In order, for writing.
    pub(crate) fn parameters_mut(&mut self) -> Vec<&mut Parameter> {
        self.0.iter_mut().collect()
    }

    /// Names and values.
    pub(crate) fn tensors(&self) -> TensorMap {
        self.0.iter().map(|p| (p.name().to_string(), p.value().clone())).collect()
    }
}

/// Weight and bias of a linear layer, each uniform within 1/sqrt(in), as PyTorch starts them.
pub(crate) fn linear_parts(name: &str, out: usize, input: usize) -> [Part; 2] {
    let from = Table::Uniform(1.0 / (input as f64).sqrt());
    [(format!("{name}.weight"), vec![out, input], from), (format!("{name}.bias"), vec![out], from)]
}

/// Number of weights of all parts.
pub(crate) fn count(parts: &[Part]) -> usize {
    parts.iter().map(|(_, dims, _)| dims.iter().product::<usize>()).sum()
}
