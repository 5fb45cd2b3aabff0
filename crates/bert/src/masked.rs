//! The head that predicts masked tokens (Devlin et al. 2019, section 3.1).
//!
//! ```text
//! z = E LN(gelu(W h + c)) + b        W: [d, d]   c: [d]   E: [v, d], the word table   b: [v]
//! ```

use crate::files::Source;
use crate::layer::{Get, layer_norm, linear, untrained};
use crate::{Bert, Config};
use clinpeft_autodiff::{Var, ops};
use clinpeft_nn::{Error, Hidden, LayerNorm, Linear, Parameter, Result, Trainability};
use clinpeft_rng::Seed;
use clinpeft_tensor::{Device, Tensor};
use clinpeft_weights::Keep;
use std::path::Path;

const ROOT: &str = "cls.predictions";

/// W, c, the normalisation and b; E stays with the model.
#[derive(Debug, Clone)]
pub struct MaskedHead {
    transform: Linear,
    norm: LayerNorm,
    bias: Parameter,
}

/// Tokens that were masked, and what stood there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskedTokens {
    /// Rows of the hidden state.
    pub rows: Vec<u32>,
    /// The token of each row before it was masked.
    pub tokens: Vec<u32>,
}

impl MaskedHead {
    /// Loads the head of a `BertForMaskedLM` folder, frozen. Errors if a tensor is missing or has another shape than
    /// `config.json` says.
    pub fn load(dir: &Path, keep: Keep, device: &Device) -> Result<MaskedHead> {
        let config = Config::load(dir)?;
        let source = Source::open(dir, keep, device)?;
        MaskedHead::build(&config, &mut |name, dims| {
            // Some folders hold the bias under its other name only.
            let other = format!("{ROOT}.decoder.bias");
            if name == format!("{ROOT}.bias") && !source.has(name) && source.has(&other) {
                let found = source.parameter(&other, dims)?;
                return Ok(Parameter::new(name, found.value().clone(), Trainability::Frozen));
            }
            source.parameter(name, dims)
        })
    }

    /// An untrained head: W from N(0, 0.02), norm one, biases zero.
    pub fn random(config: &Config, seed: Seed, learning: Trainability) -> Result<MaskedHead> {
        config.check()?;
        MaskedHead::build(config, &mut |name, dims| untrained(name, dims, seed, learning))
    }

    fn build(config: &Config, get: &mut Get<'_>) -> Result<MaskedHead> {
        let (d, root) = (config.hidden_size, format!("{ROOT}.transform"));
        Ok(MaskedHead {
            transform: linear(format!("{root}.dense"), [d, d], get)?,
            norm: layer_norm(&root, config, get)?,
            bias: get(&format!("{ROOT}.bias"), &[config.vocab_size])?,
        })
    }

    /// All parameters, in the order of the network.
    pub fn parameters(&self) -> Vec<&Parameter> {
        let before = self.transform.parameters().chain(self.norm.parameters());
        before.chain([&self.bias]).collect()
    }

    /// The same for writing.
    pub fn parameters_mut(&mut self) -> Vec<&mut Parameter> {
        let before = self.transform.parameters_mut().chain(self.norm.parameters_mut());
        before.chain([&mut self.bias]).collect()
    }

    /// Logits over the vocabulary `[n, v]` of hidden rows `[n, d]`. Errors if the model has another width or vocabulary.
    pub fn logits(&self, model: &Bert, rows: &Var) -> Result<Var> {
        let words = model.words();
        if words.value().dims() != [self.bias.value().count(), self.transform.weight().value().dims()[1]] {
            return Err(Error::Config(
                "the masked-token head is for a model of another width or vocabulary\nhint: load both from one folder"
                    .into(),
            ));
        }
        let h = self.norm.forward(&ops::gelu(&self.transform.plain(rows)?)?)?;
        Ok(ops::add_row(&ops::linear(&h, words.var())?, self.bias.var())?)
    }

    /// Sum of the cross-entropies of masked tokens, and their number.
    pub fn loss(&self, model: &Bert, hidden: &Hidden, masked: &MaskedTokens) -> Result<(Var, usize)> {
        let n = masked.rows.len();
        if n != masked.tokens.len() {
            return Err(Error::Batch(format!(
                "{n} masked rows, but {} tokens\nhint: one token for each row",
                masked.tokens.len()
            )));
        }
        let device = hidden.rows.value().device();
        let ids = |all: &[u32]| Tensor::from_vec(all.to_vec(), &[n])?.to_device(&device);
        let logits = self.logits(model, &ops::embedding(&hidden.rows, &ids(&masked.rows)?)?)?;
        let weights = Tensor::from_vec(vec![1.0f64; n], &[n])?.cast(logits.dtype())?.to_device(&device)?;
        Ok((ops::cross_entropy(&logits, &ids(&masked.tokens)?, &weights)?, n))
    }
}
