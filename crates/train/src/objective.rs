//! What is trained.

use crate::Result;
use clinpeft_autodiff::Var;
use clinpeft_nn::{ForwardCtx, Parameter};
use clinpeft_peft::{GradSqNorms, Stack, Status};

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
    /// What learns, with unique names.
    fn parameters(&self) -> Vec<(String, &Parameter)>;
    /// The same for writing, in the same order.
    fn parameters_mut(&mut self) -> Vec<(String, &mut Parameter)>;
    /// Adapters and head: who takes part, who learns; with the squares of the gradients of [`Objective::parameters`], also
    /// their norms.
    fn status(&self, squares: Option<&GradSqNorms>) -> Vec<Status>;
    /// Its adapters.
    fn stack(&self) -> &Stack;
    /// Its adapters for writing.
    fn stack_mut(&mut self) -> &mut Stack;
    /// Errors if something that should learn got no gradient.
    fn check_gradients(&self, squares: &GradSqNorms) -> Result<()>;
}
