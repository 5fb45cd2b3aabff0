//! The model.

use crate::Config;
use crate::arrangement::Arrangement;
use crate::layer::{Layer, Only, Place};
use clinpeft_autodiff::{Var, checkpoint, ops};
use clinpeft_nn::{
    AdapterHooks, Angles, Backbone, Checkpointing, Error, ForwardCtx, Hidden, HiddenRows, Linear, PadProbe, Parameter,
    Pooling, RaggedBatch, Result, TargetModule, Trainability, next_token_loss, norm, sequence_losses,
};
use clinpeft_rng::{Seed, normal};
use clinpeft_tensor::ops::AttentionShape;
use clinpeft_tensor::{DType, Device, Tensor};
use clinpeft_weights::{Checkpoint, Keep};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// A LLaMA.
#[derive(Debug, Clone)]
pub struct Llama {
    config: Arc<Config>,
    embedding: Parameter,
    layers: Vec<Layer>,
    norm: Parameter,
    /// Absent where the head is the embedding table, or where the folder has none (classifiers).
    head: Option<Parameter>,
    angles: Angles,
}

impl Llama {
    /// Loads a Hugging Face folder. Weights are frozen; `keep` says in which dtype the matrices stay (norms are f32).
    ///
    /// Errors if a tensor is missing or has another shape than `config.json` says.
    pub fn load(dir: &Path, keep: Keep, device: &Device) -> Result<Llama> {
        let config = Config::load(dir)?;
        let file = Checkpoint::open(dir)?;
        let has_head = file.has("lm_head.weight");
        Llama::build(config, has_head, |name, dims| {
            let keep = if dims.len() == 1 && keep != Keep::As(DType::F64) { Keep::As(DType::F32) } else { keep };
            let value = file.tensor(name, dims, keep)?.to_device(device)?;
            Ok(Parameter::new(name, value, Trainability::Frozen))
        })
    }

    /// An untrained model: matrices from N(0, 0.02), norms one, biases zero.
    pub fn random(config: Config, seed: Seed, learning: Trainability) -> Result<Llama> {
        Llama::build(config, true, |name, dims| {
            let n = dims.iter().product();
            let mut rng = seed.stream(name);
            let values: Vec<f32> = match (dims.len(), name.ends_with(".bias")) {
                (1, true) => vec![0.0; n],
                (1, false) => vec![1.0; n],
                _ => (0..n).map(|_| (0.02 * normal(&mut rng)) as f32).collect(),
            };
            Ok(Parameter::new(name, Tensor::from_vec(values, dims)?, learning))
        })
    }

    /// A model whose parameters come from `get`, by name and shape, with a head.
    pub fn made_of(config: Config, get: impl FnMut(&str, &[usize]) -> Result<Parameter>) -> Result<Llama> {
        Llama::build(config, true, get)
    }

    fn build(
        config: Config,
        has_head: bool,
        mut get: impl FnMut(&str, &[usize]) -> Result<Parameter>,
    ) -> Result<Llama> {
        config.check()?;
        let (d, v) = (config.hidden_size, config.vocab_size);
        let embedding = get("model.embed_tokens.weight", &[v, d])?;
        let layers =
            (0..config.num_hidden_layers).map(|i| Layer::build(i, &config, &mut get)).collect::<Result<_>>()?;
        let norm = get("model.norm.weight", &[d])?;
        let head = if has_head && !config.tie_word_embeddings { Some(get("lm_head.weight", &[v, d])?) } else { None };
        let dtype = norm.value().dtype();
        let width = config.head_width();
        let angles = Angles::new(config.max_position_embeddings, width, config.theta(), config.scaling()?, dtype)?;
        let device = norm.value().device();
        let angles = angles.to_device(&device)?;
        Ok(Llama { config: Arc::new(config), embedding, layers, norm, head, angles })
    }

    /// Its sizes.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Embeds the batch, with the virtual rows in front of every sequence; `prefix` keys stand before those.
    fn with_inputs(&self, batch: &RaggedBatch, prompt: Option<Var>, prefix: usize) -> Result<(Var, Place)> {
        let device = self.norm.value().device();
        let on_device = |rows: Vec<u32>| -> Result<Tensor> {
            let n = rows.len();
            Ok(Tensor::from_vec(rows, &[n])?.to_device(&device)?)
        };
        let mut ids = batch.ids.to_cpu()?.as_slice::<u32>()?.to_vec();
        ids.extend(batch.pad_probes.iter().map(|o| o.id));
        let tokens = ops::embedding(self.embedding.var(), &on_device(ids)?)?;
        let n = prompt.as_ref().map_or(0, |p| p.dims()[0]);
        let rows = Arrangement::new(batch, n, prefix);
        let x = match prompt {
            None => tokens,
            Some(p) => ops::embedding(&ops::concat(&p, &tokens)?, &on_device(rows.tokens)?)?,
        };
        self.check_pad_probes(batch, n + prefix)?;
        let longest = rows.positions.iter().max().map_or(0, |p| *p as usize + 1);
        let turns = self.angles.up_to(longest)?;
        let keys = if prefix > 0 || !batch.pad_probes.is_empty() { Some(on_device(rows.keys)?) } else { None };
        let place = Place {
            positions: on_device(rows.positions)?,
            cu_seqlens: rows.cu_seqlens,
            keys,
            offsets: rows.offsets,
            virtual_rows: n,
            turns,
            eps: self.config.rms_norm_eps,
        };
        Ok((x, place))
    }

    /// Errors if a window of the model ends in front of the pads up to a pad probe: attention counts the keys that a row sees,
    /// and pads are none. `before` rows are in front of every sequence.
    fn check_pad_probes(&self, batch: &RaggedBatch, before: usize) -> Result<()> {
        let window = (0..self.layers.len()).filter_map(|layer| self.config.window(layer)).min();
        let Some(window) = window else { return Ok(()) };
        let cut = |p: &&PadProbe| before + p.sees as usize > 0 && before + p.position as usize >= window;
        match batch.pad_probes.iter().find(cut) {
            None => Ok(()),
            Some(probe) => Err(Error::Batch(format!(
                "the pad token at position {} is behind the model's sliding window of {window} tokens\nhint: choose a shorter \
                 `max_length`, or pool the last token",
                probe.position
            ))),
        }
    }

    /// Logits of every row over the vocabulary; for tests and generation, not for training.
    pub fn logits(&self, hidden: &Hidden) -> Result<Var> {
        Ok(ops::linear(&hidden.rows, self.language_head()?.var())?)
    }

    fn language_head(&self) -> Result<&Parameter> {
        match &self.head {
            Some(head) => Ok(head),
            None if self.config.tie_word_embeddings => Ok(&self.embedding),
            None => Err(Error::Config("this folder has no language-model head (`lm_head.weight`)".into())),
        }
    }
}

impl Backbone for Llama {
    fn hidden(
        &self,
        batch: &RaggedBatch,
        hooks: &Arc<dyn AdapterHooks>,
        ctx: &ForwardCtx,
        want: HiddenRows,
    ) -> Result<Hidden> {
        let prefixes = hooks.keys_values(ctx)?;
        if prefixes.as_ref().is_some_and(|p| p.len() != self.layers.len()) {
            return Err(Error::Adapter(format!(
                "a prefix for {} layers on a model with {}",
                prefixes.map_or(0, |p| p.len()),
                self.layers.len()
            )));
        }
        let length = prefixes.as_ref().and_then(|p| p.first()).map_or(0, |(k, _)| k.dims()[0]);
        let (mut x, place) = self.with_inputs(batch, hooks.inputs(ctx)?, length)?;
        let pooled = match want {
            HiddenRows::All => None,
            HiddenRows::Pooled(pooling) => {
                let rows = pooling.rows(&place.offsets, place.virtual_rows, &batch.pad_probes)?;
                Some(rows.to_device(&self.norm.value().device())?)
            }
        };
        let place = Arc::new(place);
        for (i, layer) in self.layers.iter().enumerate() {
            let (layer, hooks, place, ctx) = (layer.clone(), hooks.clone(), place.clone(), *ctx);
            // The last layer answers for rows that see their whole sequence; the others it only reads as keys and values.
            let first = matches!(want, HiddenRows::Pooled(Pooling::FirstToken | Pooling::FirstPosition));
            let last = i + 1 == self.layers.len() && !first;
            let only = pooled.as_ref().filter(|_| last).map(|rows| Only::new(rows, &place)).transpose()?;
            let mut inputs = vec![&x];
            inputs.extend(prefixes.iter().flat_map(|p| [&p[i].0, &p[i].1]));
            let block = move |inputs: &[Var]| {
                let prefix = inputs.get(1).zip(inputs.get(2));
                layer.forward(&inputs[0], prefix, &*hooks, &place, &ctx, only.as_ref())
            };
            x = match ctx.checkpointing {
                Checkpointing::Full => checkpoint(&inputs, block)?,
                Checkpointing::None => block(&inputs.into_iter().cloned().collect::<Vec<_>>())?,
            };
        }
        if let (Some(rows), HiddenRows::Pooled(Pooling::FirstToken | Pooling::FirstPosition)) = (&pooled, want) {
            x = ops::embedding(&x, rows)?;
        }
        let rows = norm(&x, &self.norm, self.config.rms_norm_eps)?;
        Ok(Hidden {
            rows,
            offsets: place.offsets.clone(),
            virtual_rows: place.virtual_rows,
            pad_probes: batch.pad_probes.clone(),
        })
    }

    fn to_device(&mut self, device: &Device) -> Result<()> {
        self.angles = self.angles.to_device(device)?;
        Ok(self.parameters_mut().into_iter().try_for_each(|p| p.to_device(device))?)
    }

    fn language_loss(&self, hidden: &Hidden, batch: &RaggedBatch) -> Result<(Var, usize)> {
        next_token_loss(hidden, self.language_head()?.var(), batch)
    }

    fn sequence_losses(&self, batch: &RaggedBatch, hooks: &Arc<dyn AdapterHooks>) -> Result<Vec<(f64, usize)>> {
        let hidden = self.hidden(batch, hooks, &ForwardCtx::evaluate(), HiddenRows::All)?;
        sequence_losses(&hidden, self.language_head()?.var(), batch)
    }

    fn width(&self) -> usize {
        self.config.hidden_size
    }

    fn layers(&self) -> usize {
        self.layers.len()
    }

    fn attention_shape(&self) -> AttentionShape {
        self.config.attention_shape(0)
    }

    fn embed(&self, ids: &[u32]) -> Result<Tensor> {
        let ids = Tensor::from_vec(ids.to_vec(), &[ids.len()])?.to_device(&self.norm.value().device())?;
        Ok(clinpeft_tensor::ops::embedding(self.embedding.value(), &ids)?.to_cpu()?.cast(DType::F32)?)
    }

    fn vocabulary(&self) -> usize {
        self.config.vocab_size
    }

    fn max_length(&self) -> usize {
        self.angles.positions()
    }

    fn target_modules(&self) -> Vec<TargetModule> {
        self.layers.iter().flat_map(|l| l.linears().map(Linear::describe)).collect()
    }

    fn head_name(&self) -> Option<&str> {
        self.language_head().ok().map(Parameter::name)
    }

    fn config_json(&self) -> Value {
        json!(*self.config)
    }

    fn parameters(&self) -> Vec<&Parameter> {
        let mut all = vec![&self.embedding];
        for l in &self.layers {
            all.extend([&l.input_norm, &l.mlp_norm]);
            all.extend(l.linears().into_iter().flat_map(Linear::parameters));
        }
        all.push(&self.norm);
        all.extend(&self.head);
        all
    }

    fn parameters_mut(&mut self) -> Vec<&mut Parameter> {
        let mut all = vec![&mut self.embedding];
        for l in &mut self.layers {
            all.extend([&mut l.input_norm, &mut l.mlp_norm]);
            all.extend(
                [&mut l.query, &mut l.key, &mut l.value, &mut l.output, &mut l.gate, &mut l.up, &mut l.down]
                    .into_iter()
                    .flat_map(Linear::parameters_mut),
            );
        }
        all.push(&mut self.norm);
        all.extend(&mut self.head);
        all
    }
}

#[cfg(test)]
mod tests;
