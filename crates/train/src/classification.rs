//! Step 2: labels of notes.

use crate::data::{by_length, go_on, length, ragged};
use crate::{Error, Examples, MicroBatchLoss, Objective, Parts, PartsMut, Result, Targets};
use clinpeft_autodiff::{Var, no_grad, ops};
use clinpeft_nn::{
    AdapterHooks, Backbone, ForwardCtx, HiddenRows, PadProbe, Parameter, Pooling, RaggedBatch, Trainability,
    binary_loss, class_loss,
};
use clinpeft_peft::{Activity, GradSqNorms, Head, Stack, Status, norm};
use clinpeft_tensor::Tensor;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The model itself in tables of what learns.
const BASE: &str = "(base)";

/// A model with a head that scores classes or labels.
pub struct Classification {
    /// The model.
    pub backbone: Box<dyn Backbone>,
    /// Its adapters.
    pub stack: Stack,
    /// The head.
    pub head: Head,
    /// Which row stands for a note.
    pub pooling: Pooling,
    /// Whether rows are padded to a length, which matters only where the last position is pooled.
    pub padding: Option<Padding>,
    /// What it learns from.
    pub data: Examples,
    /// Weight of each class in the loss; empty for label sets.
    pub class_weights: Vec<f64>,
}

/// Padding of every row on the right, as the published code does before it pools the last position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Padding {
    /// The pad token.
    pub id: u32,
    /// Length of a padded row.
    pub length: usize,
}

impl Padding {
    /// A pad token behind each shorter sequence: the one that would be pooled.
    fn apply(self, batch: RaggedBatch) -> Result<RaggedBatch> {
        let lengths = batch.offsets.windows(2).map(|w| w[1] - w[0]).enumerate();
        let short = lengths.filter(|(_, n)| (*n as usize) < self.length);
        let last = |(s, n): (usize, u32)| PadProbe {
            sequence: s as u32,
            sees: n,
            id: self.id,
            position: self.length as u32 - 1,
        };
        let pad_probes = short.map(last).collect();
        Ok(batch.with_pad_probes(pad_probes)?)
    }
}

/// Logits of every example, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// `n * c` values.
    pub logits: Vec<f64>,
    /// c.
    pub columns: usize,
}

impl Classification {
    /// Balanced class weights `n / (c * n_c)` (paper of the method, section on imbalance); classes that never occur get 0.
    pub fn balanced_weights(targets: &Targets) -> Vec<f64> {
        let Targets::Classes { labels, count } = targets else {
            return Vec::new();
        };
        let mut seen = vec![0usize; *count];
        for l in labels {
            seen[*l as usize] += 1;
        }
        let weight = |n: &usize| {
            if *n == 0 { 0.0 } else { labels.len() as f64 / (*count as f64 * *n as f64) }
        };
        seen.iter().map(weight).collect()
    }

    /// True if everything below the head stays as it is, so that each note has to be run only once.
    pub fn only_the_head_learns(&self) -> bool {
        self.learning_base().is_empty()
            && self
                .stack
                .entries()
                .iter()
                .all(|e| e.activity == Activity::Inactive || e.trainability() == Trainability::Frozen)
    }

    /// Runs the model once over `data` and keeps the pooled rows. Only valid if [`Self::only_the_head_learns`]. Errors with
    /// [`Error::Stopped`] before the next batch once `stop` is set.
    pub fn keep_features(&self, data: &mut Examples, tokens: usize, stop: &AtomicBool) -> Result<()> {
        let width = self.backbone.width();
        let mut all = vec![0f32; data.sequences.len() * width];
        for rows in by_length(&data.sequences, tokens) {
            go_on(stop)?;
            let pooled = no_grad(|| self.pooled(data, &rows, &ForwardCtx::evaluate()));
            let pooled = pooled?.value().to_cpu()?;
            for (row, values) in rows.iter().zip(pooled.as_slice::<f32>()?.chunks_exact(width)) {
                all[row * width..(row + 1) * width].copy_from_slice(values);
            }
        }
        let device = self.head.classifier.weight().value().device();
        data.features = Some(Tensor::from_vec(all, &[data.sequences.len(), width])?.to_device(&device)?);
        Ok(())
    }

    /// The same for the training data.
    pub fn keep_training_features(&mut self, tokens: usize, stop: &AtomicBool) -> Result<()> {
        let mut data = self.data.clone();
        self.keep_features(&mut data, tokens, stop)?;
        self.data = data;
        Ok(())
    }

    /// Logits of every example of `data`. Errors with [`Error::Stopped`] before the next batch once `stop` is set.
    pub fn evaluate(&self, data: &Examples, tokens: usize, stop: &AtomicBool) -> Result<Scores> {
        let columns = self.head.classifier.classes();
        let mut logits = vec![0.0; data.sequences.len() * columns];
        for rows in by_length(&data.sequences, tokens) {
            go_on(stop)?;
            let z = no_grad(|| -> Result<Var> {
                Ok(self.head.classifier.forward(&self.pooled(data, &rows, &ForwardCtx::evaluate())?)?)
            });
            let z = z?.value().to_f64_vec()?;
            for (row, values) in rows.iter().zip(z.chunks_exact(columns)) {
                logits[row * columns..(row + 1) * columns].copy_from_slice(values);
            }
        }
        Ok(Scores { logits, columns })
    }

    /// What learns of the model itself: all of it in full fine-tuning, otherwise nothing.
    fn learning_base(&self) -> Vec<&Parameter> {
        self.backbone.parameters().into_iter().filter(|p| p.trainability() == Trainability::Trainable).collect()
    }

    fn pooled(&self, data: &Examples, rows: &[usize], ctx: &ForwardCtx) -> Result<Var> {
        if let Some(features) = &data.features {
            let ids = Tensor::from_vec(rows.iter().map(|r| *r as u32).collect(), &[rows.len()])?;
            let ids = ids.to_device(&features.device())?;
            return Ok(ops::embedding(&Var::constant(features.clone()), &ids)?);
        }
        let batch = ragged(&data.sequences, rows)?;
        let batch = match self.padding {
            Some(padding) => padding.apply(batch)?,
            None => batch,
        };
        let hooks: Arc<dyn AdapterHooks> = Arc::new(self.stack.clone());
        Ok(self.backbone.hidden(&batch, &hooks, ctx, HiddenRows::Pooled(self.pooling))?.rows)
    }
}

impl Objective for Classification {
    fn denominator(&self, rows: &[usize]) -> f64 {
        match &self.data.targets {
            Targets::Classes { labels, .. } => rows.iter().map(|r| self.class_weights[labels[*r] as usize]).sum(),
            Targets::Labels { .. } => rows.len() as f64,
        }
    }

    fn loss(&self, rows: &[usize], ctx: &ForwardCtx) -> Result<MicroBatchLoss> {
        let logits = self.head.classifier.forward(&self.pooled(&self.data, rows, ctx)?)?;
        let loss = match &self.data.targets {
            Targets::Classes { labels, count } => {
                if self.class_weights.len() != *count {
                    return Err(Error::Settings(format!("{} weights for {count} classes", self.class_weights.len())));
                }
                let classes: Vec<u32> = rows.iter().map(|r| labels[*r]).collect();
                class_loss(&logits, &classes, &self.class_weights)?
            }
            Targets::Labels { sets, count } => {
                let mut cells = vec![0.0; rows.len() * count];
                for (i, r) in rows.iter().enumerate() {
                    for l in &sets[*r] {
                        cells[i * count + *l as usize] = 1.0;
                    }
                }
                binary_loss(&logits, cells)?
            }
        };
        let tokens = rows.iter().map(|r| length(&self.data.sequences, *r) as u64).sum();
        Ok(MicroBatchLoss { loss, tokens })
    }

    fn parts(&self) -> Parts<'_> {
        Parts {
            base: self.backbone.parameters(),
            stack: &self.stack,
            head: self.head.classifier.parameters().collect(),
        }
    }

    fn parts_mut(&mut self) -> PartsMut<'_> {
        let head = self.head.classifier.parameters_mut().collect();
        PartsMut { base: self.backbone.parameters_mut(), stack: &mut self.stack, head }
    }

    fn status(&self, squares: Option<&GradSqNorms>) -> Vec<Status> {
        let row = |name: &str, method, prefix: &str, all: &[&Parameter]| Status {
            name: name.into(),
            method,
            activity: Activity::Active,
            learning: Trainability::Trainable,
            parameters: all.iter().map(|p| p.value().count()).sum(),
            gradient_norm: squares.and_then(|s| norm_of(s, prefix, all)),
        };
        let base = self.learning_base();
        let base = if base.is_empty() { None } else { Some(row(BASE, "full", "base", &base)) };
        let mut all: Vec<Status> = base.into_iter().chain(self.stack.status(squares)).collect();
        let head: Vec<&Parameter> = self.head.classifier.parameters().collect();
        let learning = self.head.classifier.weight().trainability();
        all.push(Status { learning, ..row("(head)", "linear", "head", &head) });
        all
    }

    fn check_gradients(&self, squares: &GradSqNorms) -> Result<()> {
        let base = self.learning_base();
        if !base.is_empty() && norm_of(squares, "base", &base).is_none_or(|n| n == 0.0) {
            return Err(Error::Settings(format!("{BASE} should learn, but gets no gradient")));
        }
        Ok(self.stack.check_gradients(squares)?)
    }
}

/// Euclidean norm of the gradients of some parameters; `None` if none has one.
fn norm_of(squares: &GradSqNorms, prefix: &str, all: &[&Parameter]) -> Option<f64> {
    norm(squares, all.iter().map(|p| format!("{prefix}.{}", p.name())))
}
