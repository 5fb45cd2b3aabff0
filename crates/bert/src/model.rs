//! The model.

use crate::Config;
use crate::files::Source;
use crate::layer::{Get, Layer, Only, Place, drop, layer_norm, linear, on_device, untrained};
use clinpeft_autodiff::{Var, checkpoint, ops};
use clinpeft_nn::{
    AdapterHooks, Backbone, Checkpointing, Error, ForwardCtx, Hidden, HiddenRows, LayerNorm, Linear, Parameter,
    Pooling, RaggedBatch, Result, TargetModule, Trainability,
};
use clinpeft_rng::Seed;
use clinpeft_tensor::ops::{AttentionShape, Mask};
use clinpeft_tensor::{DType, Device, Tensor};
use clinpeft_weights::Keep;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// Where dropout in front of the classifier draws from.
const POOLED: &str = "bert.pooler";

/// A BERT encoder with its pooler.
#[derive(Debug, Clone)]
pub struct Bert {
    config: Arc<Config>,
    words: Parameter,
    positions: Parameter,
    kinds: Parameter,
    norm: LayerNorm,
    layers: Vec<Layer>,
    /// Absent where the folder has none (masked-token models).
    pooler: Option<Linear>,
    shape: AttentionShape,
}

impl Bert {
    /// Loads a Hugging Face folder of any BERT class. Weights are frozen; `keep` says in which dtype the matrices stay
    /// (biases and norms are f32).
    ///
    /// Errors if a tensor is missing or has another shape than `config.json` says.
    pub fn load(dir: &Path, keep: Keep, device: &Device) -> Result<Bert> {
        let config = Config::load(dir)?;
        let source = Source::open(dir, keep, device)?;
        let has_pooler = source.has("bert.pooler.dense.weight");
        let mut model = Bert::build(config, &mut |name, dims| source.parameter(name, dims))?;
        if has_pooler {
            model.pooler = Some(pooler(&model.config, &mut |name, dims| source.parameter(name, dims))?);
        }
        Ok(model)
    }

    /// An untrained model with a pooler: matrices from N(0, 0.02), norms one, biases zero.
    pub fn random(config: Config, seed: Seed, learning: Trainability) -> Result<Bert> {
        let model = Bert::build(config, &mut |name, dims| untrained(name, dims, seed, learning))?;
        model.with_new_pooler(seed, learning)
    }

    /// Whether its folder had a pooler, or it was given one.
    pub fn has_pooler(&self) -> bool {
        self.pooler.is_some()
    }

    /// The same model with an untrained pooler, for folders that have none.
    pub fn with_new_pooler(mut self, seed: Seed, learning: Trainability) -> Result<Bert> {
        let device = self.words.value().device();
        let mut get = |name: &str, dims: &[usize]| -> Result<Parameter> {
            let mut p = untrained(name, dims, seed, learning)?;
            p.set_value(p.value().to_device(&device)?);
            Ok(p)
        };
        self.pooler = Some(pooler(&self.config, &mut get)?);
        Ok(self)
    }

    fn build(config: Config, get: &mut Get<'_>) -> Result<Bert> {
        config.check()?;
        let d = config.hidden_size;
        let root = "bert.embeddings";
        let mut table = |name: &str, rows: usize| get(&format!("{root}.{name}.weight"), &[rows, d]);
        let words = table("word_embeddings", config.vocab_size)?;
        let positions = table("position_embeddings", config.max_position_embeddings)?;
        let kinds = table("token_type_embeddings", config.type_vocab_size)?;
        let norm = layer_norm(root, &config, get)?;
        let layers = (0..config.num_hidden_layers).map(|i| Layer::build(i, &config, get)).collect::<Result<_>>()?;
        let shape = AttentionShape {
            heads: config.num_attention_heads,
            kv_heads: config.num_attention_heads,
            head_width: config.head_width(),
            scale: 1.0 / (config.head_width() as f64).sqrt(),
            mask: Mask::Full,
            dropout: None,
        };
        Ok(Bert { config: Arc::new(config), words, positions, kinds, norm, layers, pooler: None, shape })
    }

    /// Its sizes.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The word table.
    pub(crate) fn words(&self) -> &Parameter {
        &self.words
    }

    /// Word, token-type (always 0) and position rows, normalised.
    fn embedded(&self, batch: &RaggedBatch, ctx: &ForwardCtx) -> Result<Var> {
        let device = self.words.value().device();
        let mut ids = batch.ids.to_cpu()?.as_slice::<u32>()?.to_vec();
        ids.extend(batch.pad_probes.iter().map(|o| o.id));
        let mut positions = batch.positions.clone();
        positions.extend(batch.pad_probes.iter().map(|o| o.position));
        let longest = positions.iter().max().map_or(0, |p| *p as usize + 1);
        if longest > self.max_length() {
            return Err(Error::Batch(format!(
                "a sequence of {longest} tokens is longer than the model's {}\nhint: choose a shorter `max_length`",
                self.max_length()
            )));
        }
        let kinds = vec![0; ids.len()];
        let rows =
            |table: &Parameter, ids| -> Result<Var> { Ok(ops::embedding(table.var(), &on_device(ids, &device)?)?) };
        let x = ops::add(&rows(&self.words, ids)?, &rows(&self.kinds, kinds)?)?;
        let x = ops::add(&x, &rows(&self.positions, positions)?)?;
        drop(self.norm.forward(&x)?, self.config.hidden_dropout_prob, "bert.embeddings", ctx)
    }

    /// What adapters and batches may ask of LLaMA only.
    fn refuse(&self, batch: &RaggedBatch, hooks: &dyn AdapterHooks, ctx: &ForwardCtx) -> Result<()> {
        if hooks.inputs(ctx)?.is_some() || hooks.keys_values(ctx)?.is_some() {
            return Err(Error::Adapter(
                "BERT takes no prompt and no prefix\nhint: LoRA, DoRA and AdaLoRA fit its linear layers".into(),
            ));
        }
        let length = |s: usize| batch.offsets[s + 1] - batch.offsets[s];
        if let Some(o) = batch.pad_probes.iter().find(|o| o.sees != length(o.sequence as usize)) {
            return Err(Error::Batch(format!(
                "a pad probe sees {} of {} tokens of sequence {}\nhint: in BERT every row sees all tokens",
                o.sees,
                length(o.sequence as usize),
                o.sequence
            )));
        }
        Ok(())
    }

    /// `tanh(W h + b)` of the first tokens, with the dropout in front of the classifier.
    fn pooled(&self, first: &Var, hooks: &dyn AdapterHooks, ctx: &ForwardCtx) -> Result<Var> {
        let pooler = self.pooler.as_ref().ok_or_else(|| {
            Error::Config(
                "this folder has no pooler (`bert.pooler.dense.weight`)\nhint: add an untrained one with \
                 `with_new_pooler`, and let it learn"
                    .into(),
            )
        })?;
        let y = ops::tanh(&pooler.forward(first, hooks, ctx)?)?;
        drop(y, self.config.pooled_dropout(), POOLED, ctx)
    }
}

fn pooler(config: &Config, get: &mut Get<'_>) -> Result<Linear> {
    let d = config.hidden_size;
    linear("bert.pooler.dense".into(), [d, d], get)
}

impl Backbone for Bert {
    /// Rows are those of the last layer, or, pooled, those behind the pooler and its dropout. Errors, beside the others, if
    /// another token than the first is pooled.
    fn hidden(
        &self,
        batch: &RaggedBatch,
        hooks: &Arc<dyn AdapterHooks>,
        ctx: &ForwardCtx,
        want: HiddenRows,
    ) -> Result<Hidden> {
        self.refuse(batch, &**hooks, ctx)?;
        let first = match want {
            HiddenRows::All => None,
            HiddenRows::Pooled(pooling @ (Pooling::FirstToken | Pooling::FirstPosition)) => {
                let rows = pooling.rows(&batch.offsets, 0, &batch.pad_probes)?;
                Some(rows.to_device(&self.words.value().device())?)
            }
            HiddenRows::Pooled(other) => {
                return Err(Error::Config(format!(
                    "BERT does not pool the {other:?}\nhint: use the pooling `first-token`"
                )));
            }
        };
        let mut x = self.embedded(batch, ctx)?;
        let device = self.words.value().device();
        let place = Arc::new(Place::new(batch, &self.config, self.shape, &device)?);
        for (i, layer) in self.layers.iter().enumerate() {
            // The last layer answers for the first tokens alone; the others it only reads as keys and values.
            let last = i + 1 == self.layers.len();
            let only = first.as_ref().filter(|_| last).map(|rows| Only::new(rows, &place)).transpose()?;
            let (layer, hooks, place, ctx) = (layer.clone(), hooks.clone(), place.clone(), *ctx);
            let block = move |x: &[Var]| layer.forward(&x[0], &*hooks, &place, &ctx, only.as_ref());
            x = match ctx.checkpointing {
                Checkpointing::Full => checkpoint(&[&x], block)?,
                Checkpointing::None => block(&[x])?,
            };
        }
        let rows = match first {
            Some(_) => self.pooled(&x, &**hooks, ctx)?,
            None => x,
        };
        Ok(Hidden { rows, offsets: batch.offsets.clone(), virtual_rows: 0, pad_probes: batch.pad_probes.clone() })
    }

    /// An error: BERT predicts masked tokens, which a batch does not name; see [`crate::MaskedHead::loss`].
    fn language_loss(&self, _: &Hidden, _: &RaggedBatch) -> Result<(Var, usize)> {
        Err(no_next_token())
    }

    /// An error, as [`Backbone::language_loss`].
    fn sequence_losses(&self, _: &RaggedBatch, _: &Arc<dyn AdapterHooks>) -> Result<Vec<(f64, usize)>> {
        Err(no_next_token())
    }

    fn width(&self) -> usize {
        self.config.hidden_size
    }

    fn layers(&self) -> usize {
        self.layers.len()
    }

    fn attention_shape(&self) -> AttentionShape {
        self.shape
    }

    fn embed(&self, ids: &[u32]) -> Result<Tensor> {
        let ids = Tensor::from_vec(ids.to_vec(), &[ids.len()])?.to_device(&self.words.value().device())?;
        Ok(clinpeft_tensor::ops::embedding(self.words.value(), &ids)?.to_cpu()?.cast(DType::F32)?)
    }

    fn vocabulary(&self) -> usize {
        self.config.vocab_size
    }

    fn max_length(&self) -> usize {
        self.config.max_position_embeddings
    }

    fn target_modules(&self) -> Vec<TargetModule> {
        let layers = self.layers.iter().flat_map(Layer::linears);
        layers.chain(&self.pooler).map(Linear::describe).collect()
    }

    fn config_json(&self) -> Value {
        json!(*self.config)
    }

    fn parameters(&self) -> Vec<&Parameter> {
        let mut all = vec![&self.words, &self.positions, &self.kinds];
        all.extend(self.norm.parameters());
        all.extend(self.layers.iter().flat_map(Layer::parameters));
        all.extend(self.pooler.iter().flat_map(Linear::parameters));
        all
    }

    fn parameters_mut(&mut self) -> Vec<&mut Parameter> {
        let mut all = vec![&mut self.words, &mut self.positions, &mut self.kinds];
        all.extend(self.norm.parameters_mut());
        all.extend(self.layers.iter_mut().flat_map(Layer::parameters_mut));
        all.extend(self.pooler.iter_mut().flat_map(Linear::parameters_mut));
        all
    }
}

fn no_next_token() -> Error {
    Error::Config("BERT predicts masked tokens, not next ones\nhint: use a LLaMA, or the masked-token head".into())
}
