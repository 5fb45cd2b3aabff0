//! Step 1: next-token prediction.

use crate::data::{by_length, go_on, length, ragged};
use crate::{MicroBatchLoss, Objective, Parts, PartsMut, Result};
use clinpeft_autodiff::no_grad;
use clinpeft_nn::{AdapterHooks, Backbone, ForwardCtx, HiddenRows};
use clinpeft_peft::Stack;
use clinpeft_text::Sequences;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A model that learns to continue text, through its adapters or as a whole.
pub struct LanguageModelling {
    /// The model.
    pub backbone: Box<dyn Backbone>,
    /// Its adapters.
    pub stack: Stack,
    /// What it reads.
    pub data: Sequences,
}

/// Loss of one sequence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoteLoss {
    /// Sum of the negative log-likelihoods of its predictions.
    pub nll: f64,
    /// Number of predictions.
    pub predictions: usize,
}

impl LanguageModelling {
    /// Loss of every sequence of `data`, one after another in batches of about `tokens` tokens. Errors with
    /// [`crate::Error::Stopped`] before the next batch once `stop` is set.
    pub fn evaluate(&self, data: &Sequences, tokens: usize, stop: &AtomicBool) -> Result<Vec<NoteLoss>> {
        let hooks: Arc<dyn AdapterHooks> = Arc::new(self.stack.clone());
        let mut out = vec![NoteLoss { nll: 0.0, predictions: 0 }; data.len()];
        for rows in by_length(data, tokens) {
            go_on(stop)?;
            let batch = ragged(data, &rows)?;
            let losses = no_grad(|| self.backbone.sequence_losses(&batch, &hooks));
            for (row, (nll, predictions)) in rows.iter().zip(losses?) {
                out[*row] = NoteLoss { nll, predictions };
            }
        }
        Ok(out)
    }
}

impl Objective for LanguageModelling {
    fn denominator(&self, rows: &[usize]) -> f64 {
        // Behind a prompt the first token is predicted too.
        let prompt = no_grad(|| self.stack.inputs(&ForwardCtx::evaluate()));
        let first = if matches!(prompt, Ok(Some(_))) { 0.0 } else { 1.0 };
        rows.iter().map(|r| length(&self.data, *r) as f64 - first).sum()
    }

    fn loss(&self, rows: &[usize], ctx: &ForwardCtx) -> Result<MicroBatchLoss> {
        let batch = ragged(&self.data, rows)?;
        let hooks: Arc<dyn AdapterHooks> = Arc::new(self.stack.clone());
        let hidden = self.backbone.hidden(&batch, &hooks, ctx, HiddenRows::All)?;
        let (loss, _) = self.backbone.language_loss(&hidden, &batch)?;
        Ok(MicroBatchLoss { loss, tokens: batch.tokens() as u64 })
    }

    fn parts(&self) -> Parts<'_> {
        Parts { base: self.backbone.parameters(), stack: &self.stack, head: Vec::new() }
    }

    fn parts_mut(&mut self) -> PartsMut<'_> {
        PartsMut { base: self.backbone.parameters_mut(), stack: &mut self.stack, head: Vec::new() }
    }
}
