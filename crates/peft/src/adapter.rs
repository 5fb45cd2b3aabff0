//! What every adapter method provides.

use crate::{Error, FileKeys, Result, Saved, Update};
use clinpeft_autodiff::Var;
use clinpeft_nn::{AdapterHooks, Parameter};
use clinpeft_tensor::Tensor;
use clinpeft_weights::TensorMap;
use std::collections::BTreeMap;
use std::fmt::Debug;

/// An optimizer step that was just made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepInfo {
    /// Its number, from 1.
    pub number: u64,
    /// Number of all steps of the run.
    pub total: u64,
}

/// A parameter after a step, on the CPU, and the gradient that made the step.
#[derive(Debug, Clone)]
pub struct StepParam {
    /// What it is now.
    pub value: Tensor,
    /// Its gradient.
    pub gradient: Tensor,
}

/// What [`OptimizerHook::params_to_sync`] asked for, by the names of parameters.
pub type StepValues = BTreeMap<String, StepParam>;

/// Squares of the norms of the gradients of a step, by the names of parameters; of those that have one.
pub type GradSqNorms = BTreeMap<String, f64>;

/// A method of parameter-efficient fine-tuning: what it does at the four hook points, its parameters and its files.
pub trait Adapter: AdapterHooks + CloneAdapter + Debug {
    /// Name of the method, for example `lora`.
    fn method(&self) -> &'static str;
    /// Its parameters, each with a name that is unique within the adapter.
    fn parameters(&self) -> Vec<&Parameter>;
    /// Its parameters for writing, in the same order.
    fn parameters_mut(&mut self) -> Vec<&mut Parameter>;
    /// What is in its files. [`crate::save_adapter`] writes them.
    fn saved(&self) -> Result<Saved>;
    /// Keys of the file it came from that say nothing about its mathematics.
    fn file_keys(&self) -> &FileKeys;
    /// What it does beside an optimizer step; most methods do nothing.
    fn optimizer_hook(&self) -> Option<&dyn OptimizerHook> {
        None
    }
    /// The same for writing.
    fn optimizer_hook_mut(&mut self) -> Option<&mut dyn OptimizerHook> {
        None
    }
    /// Linear layers whose weights it can be merged into; none if it changes no weight.
    fn mergeable(&self) -> Vec<String> {
        Vec::new()
    }
    /// What it makes of the weight of one of those layers.
    fn update(&self, module: &str, weight: &Parameter) -> Result<Update> {
        let _ = weight;
        Err(Error::Config(format!(
            "a {} adapter has no update of `{module}`\nhint: LoRA, DoRA, AdaLoRA and IA3 can be merged",
            self.method()
        )))
    }
}

/// Copies an adapter whatever its method; values are shared until one of them is written to.
pub trait CloneAdapter {
    /// The copy.
    fn clone_box(&self) -> Box<dyn Adapter>;
}

impl<A: Adapter + Clone + 'static> CloneAdapter for A {
    fn clone_box(&self) -> Box<dyn Adapter> {
        Box::new(self.clone())
    }
}

/// What a method such as AdaLoRA does beside every optimizer step.
pub trait OptimizerHook {
    /// Added to the loss of every step, not divided by anything.
    fn extra_loss(&self) -> Result<Option<Var>>;
    /// Parameters that [`OptimizerHook::on_step_end`] needs on the CPU after this step: a device is read once for all of them.
    fn params_to_sync(&self, step: StepInfo) -> Vec<&Parameter>;
    /// Called after every optimizer step, with what [`OptimizerHook::params_to_sync`] asked for as far as it had a gradient.
    fn on_step_end(&mut self, step: StepInfo, values: &StepValues) -> Result<()>;
    /// What a resumed run needs beside the parameters.
    fn state(&self) -> Result<TensorMap>;
    /// Takes back what [`OptimizerHook::state`] gave.
    fn set_state(&mut self, state: &TensorMap) -> Result<()>;
}

/// What PEFT puts before the name of a layer in the model.
pub(crate) const PEFT_ROOT: &str = "base_model.model.";
/// What it puts before the name of a head beside a prompt.
pub(crate) const PROMPT_ROOT: &str = "base_model.";
