//! What is trained.

use crate::Result;
use clinpeft_autodiff::Var;
use clinpeft_nn::{ForwardCtx, Parameter};
use clinpeft_peft::{GradSqNorms, Stack, Status, trainable};

/// The loss of some examples.
pub struct MicroBatchLoss {
    /// Sum over the examples; not divided.
    pub loss: Var,
    /// Tokens that were run.
    pub tokens: u64,
}

/// A model with its adapters and data, seen by the training loop.
pub trait Objective {
    /// What the summed loss of these examples is divided by: predictions, notes, or class weights.
    fn denominator(&self, rows: &[usize]) -> f64;
    /// Summed loss of these examples.
    fn loss(&self, rows: &[usize], ctx: &ForwardCtx) -> Result<MicroBatchLoss>;
    /// What it is made of.
    fn parts(&self) -> Parts<'_>;
    /// The same for writing.
    fn parts_mut(&mut self) -> PartsMut<'_>;
    /// What learns, with unique names.
    fn parameters(&self) -> Vec<(String, &Parameter)> {
        let Parts { base, stack, head } = self.parts();
        [trainable("base", base), stack.trainable(), trainable("head", head)].into_iter().flatten().collect()
    }
    /// The same for writing, in the same order.
    fn parameters_mut(&mut self) -> Vec<(String, &mut Parameter)> {
        let PartsMut { base, stack, head } = self.parts_mut();
        [trainable("base", base), stack.trainable_mut(), trainable("head", head)].into_iter().flatten().collect()
    }
    /// Adapters and head: who takes part, who learns; with the squares of the gradients of [`Objective::parameters`], also
    /// their norms.
    fn status(&self, squares: Option<&GradSqNorms>) -> Vec<Status> {
        self.parts().stack.status(squares)
    }
    /// Errors if something that should learn got no gradient.
    fn check_gradients(&self, squares: &GradSqNorms) -> Result<()> {
        Ok(self.parts().stack.check_gradients(squares)?)
    }
}

/// The parameters of an objective.
pub struct Parts<'a> {
    /// Of the model, those that do not learn among them.
    pub base: Vec<&'a Parameter>,
    /// Of its adapters.
    pub stack: &'a Stack,
    /// Of its head, where it is none of the model.
    pub head: Vec<&'a Parameter>,
}

/// The same for writing.
pub struct PartsMut<'a> {
    /// Of the model, those that do not learn among them.
    pub base: Vec<&'a mut Parameter>,
    /// Of its adapters.
    pub stack: &'a mut Stack,
    /// Of its head, where it is none of the model.
    pub head: Vec<&'a mut Parameter>,
}
