//! One case: every quantity measured against the reference.

use super::batch::{Front, Input, Observers};
use super::manifest::{Case, Manifest};
use super::record::Record;
use super::world::{Base, World, folders};
use clinpeft_autodiff::{Gradients, Var, backward, ops};
use clinpeft_experiment::{Error, Pretraining, Result};
use clinpeft_nn::{AdapterHooks, Checkpointing, ForwardCtx, Hidden, HiddenRows, Pooling, class_loss};
use clinpeft_peft::{ModelShape, Stack, load_adapter, merge, save_adapter};
use clinpeft_rng::Seed;
use clinpeft_tensor::{DType, Device, Tensor};
use clinpeft_text::PaddedMap;
use clinpeft_train::{Optimizer, OptimizerSettings};
use clinpeft_weights::{Checkpoint, Keep, TensorMap, encode};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What a case reads.
pub(super) struct Measured<'a> {
    dir: &'a Path,
    name: &'a str,
    case: &'a Case,
    manifest: &'a Manifest,
    device: &'a Device,
    out: Checkpoint,
    inputs: BTreeMap<String, Input>,
    task: Task,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    NextToken,
    Classes,
}

/// One run of a model on a batch.
struct Ran {
    /// Of each row, for next tokens.
    hidden: Option<Var>,
    logits: Var,
    loss: Var,
    /// Where each compared row of logits is in the reference.
    cells: Vec<(usize, usize)>,
}

impl<'a> Measured<'a> {
    /// Opens the files of a case. Errors are those of a folder that cannot be read.
    pub(super) fn open(
        dir: &'a Path,
        manifest: &'a Manifest,
        name: &'a str,
        case: &'a Case,
        device: &'a Device,
    ) -> Result<Measured<'a>> {
        let missing = |what: &str, key: &str| Error::Options(format!("case `{name}`: there is no {what} `{key}`"));
        let set = manifest.batch_sets.get(&case.batch_set);
        let set = set.ok_or_else(|| missing("batch set", &case.batch_set))?;
        let file = Checkpoint::open_file(&dir.join(&set.path))?;
        let load = |b: &String| Ok((b.clone(), Input::load(&file, b)?));
        Ok(Measured {
            dir,
            name,
            case,
            manifest,
            device,
            out: Checkpoint::open_file(&dir.join(format!("cases/{name}/out.safetensors")))?,
            inputs: set.batches.iter().map(load).collect::<Result<_>>()?,
            task: match set.task.as_str() {
                "clm" => Task::NextToken,
                "cls" => Task::Classes,
                other => return Err(missing("task", other)),
            },
        })
    }

    /// Measures everything. Whatever goes wrong on the way is a failure of the case.
    pub(super) fn run(&self, record: &mut Record) {
        if let Err(e) = self.measure(record) {
            record.failure("case", e.to_string());
        }
    }

    fn measure(&self, record: &mut Record) -> Result<()> {
        let model = self.manifest.models.get(&self.case.model);
        let model = model.ok_or_else(|| Error::Options(format!("there is no model `{}`", self.case.model)))?;
        let mut world = World::load(self.dir, self.case, model, self.device)?;
        if let (Some(want), true) = (model.parameters, self.case.adapter.is_none()) {
            record.equal("model parameters", want, count(&world));
        }
        for batch in self.case.batches.keys() {
            self.outputs(&world, batch, "", record)?;
        }
        self.files(record)?;
        self.merged(&world, record)?;
        if self.case.adapter.is_some() && self.trains() {
            let before = Checkpoint::open_file(&self.file("params_before"))?;
            world.set_parameters(&folders(self.dir, self.case), &before)?;
            for batch in self.case.batches.keys() {
                self.outputs(&world, batch, " from parameters", record)?;
            }
        }
        self.names(&world, record);
        for batch in &self.case.grad_batches {
            self.gradients(&world, batch, record)?;
        }
        if !self.case.step_batches.is_empty() {
            self.steps(&mut world, record)?;
        }
        Ok(())
    }

    fn trains(&self) -> bool {
        !self.case.grad_batches.is_empty() || !self.case.step_batches.is_empty()
    }

    fn file(&self, stem: &str) -> std::path::PathBuf {
        self.dir.join(format!("cases/{}/{stem}.safetensors", self.name))
    }

    /// The names and the number of what learns.
    fn names(&self, world: &World, record: &mut Record) {
        record.equal("trainable parameters", self.case.trainable_count, count(world));
        let mut ours: Vec<String> = world.trainable().into_iter().map(|(n, _)| n).collect();
        let mut want = self.case.trainable.clone();
        ours.sort();
        want.sort();
        let stranger = ours.iter().find(|n| !want.contains(n)).map(|n| format!("`{n}` does not learn there"));
        let missing = want.iter().find(|n| !ours.contains(n)).map(|n| format!("`{n}` does not learn here"));
        match stranger.or(missing) {
            Some(what) => record.failure("trainable names", what),
            None => record.equal("trainable names", want.len(), ours.len()),
        }
    }

    fn forward(&self, world: &World, batch: &str, ctx: &ForwardCtx) -> Result<Ran> {
        let about = &self.case.batches[batch];
        let input = self.inputs.get(batch);
        let input = input.ok_or_else(|| Error::Options(format!("the batch set has no batch `{batch}`")))?;
        let hooks: Arc<dyn AdapterHooks> = Arc::new(world.stack.clone());
        let front = Front {
            virtual_rows: hooks.inputs(ctx)?.map_or(0, |p| p.dims()[0]),
            prefix: hooks.keys_values(ctx)?.and_then(|p| Some(p.first()?.0.dims()[0])).unwrap_or(0),
        };
        // Behind a prompt the reference pools the last position, and in a BERT the first one, be it a pad token.
        let pooling = match world.model.family.pretraining() {
            Pretraining::MaskedTokens => Pooling::FirstPosition,
            Pretraining::NextToken if front.virtual_rows > 0 => Pooling::LastPosition,
            Pretraining::NextToken => Pooling::LastToken,
        };
        let pad_probes = match (self.task, pooling) {
            (Task::NextToken, _) => Observers::BeforeTargets,
            (Task::Classes, Pooling::LastPosition) => Observers::LastPosition,
            (Task::Classes, Pooling::FirstPosition) => Observers::FirstPosition,
            (Task::Classes, _) => Observers::Never,
        };
        let (ragged, map) = input.ragged(about, front, pad_probes).map_err(Error::Options)?;
        let failed = |e: clinpeft_autodiff::Error| Error::Model(e.into());
        if self.task == Task::NextToken {
            let ragged = ragged.with_targets(input.targets(&map).map_err(Error::Options)?)?;
            let backbone = &world.model.backbone;
            let hidden = backbone.hidden(&ragged, &hooks, ctx, HiddenRows::All)?;
            let (sum, n) = backbone.language_loss(&hidden, &ragged)?;
            return Ok(Ran {
                hidden: Some(hidden.rows.clone()),
                logits: world.model.logits(&hidden)?,
                loss: ops::scale(&sum, 1.0 / n.max(1) as f64).map_err(failed)?,
                cells: token_cells(&hidden, &map),
            });
        }
        let (_, head) = world.head.as_ref().ok_or_else(|| Error::Options("there is no head".into()))?;
        let pooled = world.model.backbone.hidden(&ragged, &hooks, ctx, HiddenRows::Pooled(pooling))?;
        let logits = head.forward(&pooled.rows)?;
        let classes: Vec<u32> = input.labels.iter().map(|l| u32::try_from(*l).unwrap_or(u32::MAX)).collect();
        let sum = class_loss(&logits, &classes, &vec![1.0; head.classes()])?;
        Ok(Ran {
            hidden: None,
            logits,
            loss: ops::scale(&sum, 1.0 / classes.len().max(1) as f64).map_err(failed)?,
            cells: (0..classes.len()).map(|row| (row, 0)).collect(),
        })
    }

    fn outputs(&self, world: &World, batch: &str, how: &str, record: &mut Record) -> Result<()> {
        let ran = self.forward(world, batch, &ForwardCtx::evaluate())?;
        self.logits(&format!("logits{how} ({batch})"), batch, &ran, 2e-5, record)?;
        let reference = format!("{batch}.hidden_f64");
        if let (Some(hidden), true) = (&ran.hidden, self.out.has(&reference)) {
            let want = self.out.any(&reference, Keep::Stored)?;
            let (error, _, scale) = rows_apart(hidden.value(), &ran.cells, &want, &want)?;
            record.measured(&format!("hidden states ({batch})"), error, 2e-5 * scale);
        }
        let want = self.case.batches[batch].loss_f64;
        let loss = item(&ran.loss)?;
        record.measured(&format!("loss{how} ({batch})"), relative(loss, want), 1e-5);
        Ok(())
    }

    /// Largest error of the logits where there is a token; `tolerance` is relative to the largest logit.
    fn logits(&self, what: &str, batch: &str, ran: &Ran, tolerance: f64, record: &mut Record) -> Result<()> {
        let want = self.out.any(&format!("{batch}.logits_f64"), Keep::Stored)?;
        let reference = self.out.any(&format!("{batch}.logits_f32"), Keep::Stored)?;
        let (error, own, scale) = rows_apart(ran.logits.value(), &ran.cells, &want, &reference)?;
        record.measured(what, error, (tolerance * scale).max(4.0 * own));
        Ok(())
    }

    /// Every adapter folder loaded, saved and loaded again.
    fn files(&self, record: &mut Record) -> Result<()> {
        let model = &self.manifest.models[&self.case.model];
        let shape = || -> Result<ModelShape> {
            let base = Base::load(self.dir, model, Keep::Stored, &Device::Cpu)?;
            Ok(ModelShape::of(&*base.backbone))
        };
        for folder in folders(self.dir, self.case) {
            let shape = shape()?;
            let copy = tempfile::tempdir().map_err(clinpeft_files::at("create a folder beside", self.dir))?;
            let frozen = clinpeft_nn::Trainability::Frozen;
            let loaded = load_adapter(&folder.path, &shape, frozen)?;
            save_adapter(copy.path(), &*loaded.adapter, None, &loaded.head)?;
            load_adapter(copy.path(), &shape, frozen)?;
            let what = format!("files ({})", folder.name);
            match differing(&folder.path, copy.path())? {
                Some(difference) => record.failure(&what, difference),
                None => record.measured(&what, 0.0, 0.0),
            }
        }
        Ok(())
    }

    /// The model with its low-rank updates in its weights.
    fn merged(&self, world: &World, record: &mut Record) -> Result<()> {
        let entries = world.stack.entries();
        if entries.is_empty() || entries.iter().any(|e| e.adapter.mergeable().is_empty()) {
            return Ok(());
        }
        let model = &self.manifest.models[&self.case.model];
        let mut model = Base::load(self.dir, model, Keep::As(DType::F32), self.device)?;
        for e in entries {
            merge(&mut *model.backbone, &*e.adapter)?;
        }
        let merged = World { model, stack: Stack::new(), head: world.head.clone() };
        for batch in self.case.batches.keys() {
            let ran = self.forward(&merged, batch, &ForwardCtx::evaluate())?;
            self.logits(&format!("merged ({batch})"), batch, &ran, 5e-5, record)?;
        }
        Ok(())
    }

    fn gradients(&self, world: &World, batch: &str, record: &mut Record) -> Result<()> {
        let file = Checkpoint::open_file(&self.file("grads"))?;
        for (memory, how) in [(Checkpointing::None, ""), (Checkpointing::Full, " recomputed")] {
            let ran = self.forward(world, batch, &ForwardCtx::train(Seed(0), memory))?;
            let gradients = walk(&ran.loss)?;
            let mut worst = 0f64;
            for (name, p) in world.trainable() {
                if self.case.zero_gradient_tensors.contains(&name) {
                    continue;
                }
                let want = values(&file.tensor(&format!("{batch}.{name}"), p.value().dims(), Keep::Stored)?)?;
                let got = match gradients.of(p.var()) {
                    Some(g) => values(g)?,
                    None => vec![0.0; want.len()],
                };
                let scale = want.iter().fold(0f64, |m, x| m.max(x.abs()));
                let error = largest_difference(&got, &want);
                worst = worst.max(if scale > 0.0 { error / scale } else { error });
            }
            record.measured(&format!("gradients{how} ({batch})"), worst, 1e-4);
        }
        Ok(())
    }

    fn steps(&self, world: &mut World, record: &mut Record) -> Result<()> {
        let o = &self.manifest.optimizer;
        if o.name != "AdamW" {
            record.failure("steps", format!("the optimizer `{}` is not supported", o.name));
            return Ok(());
        }
        let mut optimizer = Optimizer::new(OptimizerSettings {
            beta1: o.betas[0],
            beta2: o.betas[1],
            eps: o.eps,
            weight_decay: o.weight_decay,
            clip: o.grad_clip,
        });
        let mut worst = 0f64;
        for (i, batch) in self.case.step_batches.iter().enumerate() {
            let ran = self.forward(world, batch, &ForwardCtx::train(Seed(i as u64), Checkpointing::None))?;
            let want = self.case.step_losses_f64.get(i).copied().unwrap_or(f64::NAN);
            worst = worst.max(nan_is_large(relative(item(&ran.loss)?, want)));
            let gradients = walk(&ran.loss)?;
            optimizer.step(world.trainable_mut(), &gradients, o.lr)?;
        }
        record.measured("step losses", worst, 1e-4);
        if let (Some(want), Some(last)) = (self.case.loss_after_f64, self.loss_after_batch(world)?) {
            record.measured("loss after the steps", nan_is_large(relative(last, want)), 1e-4);
        }
        let after = Checkpoint::open_file(&self.file("params_after"))?;
        let (mut error, mut share) = (0f64, 0f64);
        for (name, p) in world.trainable() {
            let want = values(&after.tensor(&name, p.value().dims(), Keep::Stored)?)?;
            let noise = self.case.params_after_f32_vs_f64.get(&name).map_or(0.0, |n| n.max);
            let difference = largest_difference(&values(p.value())?, &want);
            if !self.case.zero_gradient_tensors.contains(&name) {
                error = error.max(difference);
                share = share.max(difference / 1e-3f64.max(4.0 * noise));
            }
        }
        let tolerance = if share > 0.0 { error / share } else { 1e-3 };
        record.measured("parameters after the steps", error, tolerance);
        Ok(())
    }

    /// The loss after the last step, on the first of the step batches.
    fn loss_after_batch(&self, world: &World) -> Result<Option<f64>> {
        let Some(batch) = self.case.step_batches.first() else {
            return Ok(None);
        };
        let ran = self.forward(world, batch, &ForwardCtx::evaluate())?;
        Ok(Some(item(&ran.loss)?))
    }
}

/// Largest difference of our rows from `want`, that of `reference` from it, and the largest value of `want`. The rows of `got`
/// stand in `cells` of the others, `[b, t, width]`, or `[b, width]` where t is 1.
fn rows_apart(got: &Tensor, cells: &[(usize, usize)], want: &Tensor, reference: &Tensor) -> Result<(f64, f64, f64)> {
    let (rows, width) = match want.dims() {
        [_, rows, width] => (*rows, *width),
        [_, width] => (1, *width),
        dims => return Err(Error::Options(format!("a tensor of the reference has the shape {dims:?}"))),
    };
    let (got, want, reference) = (values(got)?, values(want)?, values(reference)?);
    let scale = want.iter().fold(0f64, |m, x| m.max(x.abs()));
    let (mut error, mut own) = (0f64, 0f64);
    for (i, (row, column)) in cells.iter().enumerate() {
        for j in 0..width {
            let at = (row * rows + column) * width + j;
            error = error.max(nan_is_large((got[i * width + j] - want[at]).abs()));
            own = own.max((reference[at] - want[at]).abs());
        }
    }
    Ok((error, own, scale))
}

/// Where the rows of a hidden state stand in the padded logits of the reference.
fn token_cells(hidden: &Hidden, map: &PaddedMap) -> Vec<(usize, usize)> {
    let n = hidden.virtual_rows;
    let mut cells = Vec::new();
    for row in 0..map.b {
        cells.extend((0..n).map(|column| (row, column)));
        let own = map.cells.iter().filter(|c| c.0 == row);
        cells.extend(own.map(|(row, column)| (*row, column + n)));
    }
    cells
}

fn count(world: &World) -> usize {
    world.trainable().iter().map(|(_, p)| p.value().count()).sum()
}

fn walk(loss: &Var) -> Result<Gradients> {
    backward(loss).map_err(|e| Error::Model(e.into()))
}

fn values(t: &Tensor) -> Result<Vec<f64>> {
    t.to_f64_vec().map_err(|e| Error::Model(e.into()))
}

fn item(loss: &Var) -> Result<f64> {
    loss.value().item().map_err(|e| Error::Model(e.into()))
}

fn relative(got: f64, want: f64) -> f64 {
    (got - want).abs() / want.abs().max(f64::MIN_POSITIVE)
}

fn nan_is_large(x: f64) -> f64 {
    if x.is_nan() { f64::INFINITY } else { x }
}

fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).fold(0f64, |m, (x, y)| m.max(nan_is_large((x - y).abs())))
}

/// What two adapter folders differ in: a tensor, or a key of the first.
fn differing(first: &Path, second: &Path) -> Result<Option<String>> {
    let all = |dir: &Path| -> Result<BTreeMap<String, Vec<u8>>> {
        let path = dir.join("adapter_model.safetensors");
        let file = Checkpoint::open_file(&path)?;
        let one = |name: &String| {
            let tensor = TensorMap::from([(name.clone(), file.any(name, Keep::Stored)?)]);
            Ok((name.clone(), encode(&path, &tensor, &BTreeMap::new())?))
        };
        file.tensors().keys().map(one).collect()
    };
    let (a, b) = (all(first)?, all(second)?);
    if let Some(name) = a.keys().find(|n| a.get(*n) != b.get(*n)).or(b.keys().find(|n| !a.contains_key(*n))) {
        return Ok(Some(format!("tensor `{name}` is not the same")));
    }
    let keys = |dir: &Path| -> Result<BTreeMap<String, serde_json::Value>> {
        Ok(clinpeft_files::read_json(&dir.join("adapter_config.json"))?)
    };
    let (a, b) = (keys(first)?, keys(second)?);
    let changed = a.keys().find(|k| a.get(*k) != b.get(*k));
    Ok(changed.map(|k| format!("key `{k}` of adapter_config.json is not the same")))
}
