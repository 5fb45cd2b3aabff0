//! What every adapter method provides.

use crate::{Error, FileKeys, Result, Saved, Update};
use clinpeft_autodiff::Var;
use clinpeft_nn::{AdapterHooks, Parameter, Trainability};
use clinpeft_rng::Seed;
use clinpeft_tensor::{Device, Tensor};
use clinpeft_weights::TensorMap;
use std::collections::BTreeMap;
use std::fmt::Debug;

/// An optimizer step that was just made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Its number, from 1.
    pub number: u64,
    /// Number of all steps of the run.
    pub total: u64,
}

/// A parameter after a step, on the CPU, and the gradient that made the step.
#[derive(Debug, Clone)]
pub struct Stepped {
    /// What it is now.
    pub value: Tensor,
    /// Its gradient.
    pub gradient: Tensor,
}

/// What [`Adapter::watched`] asked for, by the names of parameters.
pub type StepValues = BTreeMap<String, Stepped>;

/// Squares of the norms of the gradients of a step, by the names of parameters; of those that have one.
pub type Squares = BTreeMap<String, f64>;

/// A method of parameter-efficient fine-tuning: what it does at the four sites, its parameters and its files.
pub trait Adapter: AdapterHooks + Debug {
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
    /// Name of a parameter in a PEFT model, where this adapter is called `adapter`.
    fn peft_name(&self, parameter: &str, adapter: &str) -> String;
    /// Added to the loss of every step, not divided by anything.
    fn extra_loss(&self) -> Result<Option<Var>> {
        Ok(None)
    }
    /// Parameters that [`Adapter::after_step`] needs on the CPU after this step: a device is read once for all of them.
    fn watched(&self, step: Step) -> Vec<&Parameter> {
        let _ = step;
        Vec::new()
    }
    /// Told of every optimizer step after it was made, with what [`Adapter::watched`] asked for as far as it had a gradient.
    fn after_step(&mut self, step: Step, values: &StepValues) -> Result<()> {
        let _ = (step, values);
        Ok(())
    }
    /// What a resumed run needs beside the parameters.
    fn state(&self) -> Result<TensorMap> {
        Ok(TensorMap::new())
    }
    /// Takes back what [`Adapter::state`] gave.
    fn set_state(&mut self, state: &TensorMap) -> Result<()> {
        let _ = state;
        Ok(())
    }
    /// Moves the parameters to where the model is.
    fn to_device(&mut self, device: &Device) -> Result<()> {
        Ok(self.parameters_mut().into_iter().try_for_each(|p| p.to_device(device))?)
    }
    /// A new adapter with the same settings that holds everything training needs; `None` if this one does. Some files hold
    /// only the result of a network, which runs but cannot be trained further.
    fn renewed(&self, seed: Seed, learning: Trainability) -> Result<Option<Box<dyn Adapter>>> {
        let _ = (seed, learning);
        Ok(None)
    }
    /// Linear layers whose weights it can be merged into; none if it changes no weight.
    fn mergeable(&self) -> Vec<String> {
        Vec::new()
    }
    /// What it makes of the weight of one of those layers.
    fn update(&self, site: &str, weight: &Parameter) -> Result<Update> {
        let _ = weight;
        Err(Error::Config(format!(
            "a {} adapter has no update of `{site}`\nhint: LoRA, DoRA, AdaLoRA and IA3 can be merged",
            self.method()
        )))
    }
    /// A copy; values are shared until one of them is written to.
    fn boxed(&self) -> Box<dyn Adapter>;
}

/// What PEFT puts before the name of a layer in the model.
pub(crate) const PEFT_ROOT: &str = "base_model.model.";
/// What it puts before the name of a head beside a prompt.
pub(crate) const PROMPT_ROOT: &str = "base_model.";

/// How PEFT names the parameters of layers: `base_model.model.<layer>.<part>.<adapter>.weight`.
pub(crate) fn layer_name(parameter: &str, adapter: &str) -> String {
    match parameter.strip_suffix(".weight") {
        Some(stem) => format!("{PEFT_ROOT}{stem}.{adapter}.weight"),
        None => format!("{PEFT_ROOT}{parameter}.{adapter}"),
    }
}

/// How PEFT names the parameters of prompts: `prompt_encoder.<adapter>.<parameter>`.
pub(crate) fn prompt_name(parameter: &str, adapter: &str) -> String {
    format!("prompt_encoder.{adapter}.{parameter}")
}
