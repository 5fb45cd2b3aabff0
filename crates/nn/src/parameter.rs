//! Named tensors that may be trainable.

use clinpeft_autodiff::Var;
use clinpeft_tensor::{Device, Result, Tensor};

/// Whether values change during training. Independent of whether an adapter is active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trainability {
    /// No gradient and nothing on the tape.
    #[default]
    Frozen,
    /// Requires a gradient; the optimizer updates it.
    Trainable,
}

/// A named tensor of a model, an adapter or a head.
#[derive(Debug, Clone)]
pub struct Parameter {
    name: String,
    var: Var,
}

impl Parameter {
    /// A parameter with its full name.
    pub fn new(name: impl Into<String>, value: Tensor, trainability: Trainability) -> Parameter {
        let var = match trainability {
            Trainability::Frozen => Var::constant(value),
            Trainability::Trainable => Var::leaf(value),
        };
        Parameter { name: name.into(), var }
    }

    /// Its full name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its value on the tape.
    pub fn var(&self) -> &Var {
        &self.var
    }

    /// Its value.
    pub fn value(&self) -> &Tensor {
        self.var.value()
    }

    /// Whether it is trainable.
    pub fn trainability(&self) -> Trainability {
        if self.var.requires_grad() { Trainability::Trainable } else { Trainability::Frozen }
    }

    /// Replaces the value; its trainability stays.
    pub fn set_value(&mut self, value: Tensor) {
        *self = Parameter::new(std::mem::take(&mut self.name), value, self.trainability());
    }

    /// Moves the value to a device; its trainability stays.
    pub fn to_device(&mut self, device: &Device) -> Result<()> {
        let value = self.value().to_device(device)?;
        self.set_value(value);
        Ok(())
    }

    /// Freezes or unfreezes it; the value stays.
    pub fn set_trainability(&mut self, trainability: Trainability) {
        *self = Parameter::new(std::mem::take(&mut self.name), self.value().clone(), trainability);
    }

    /// Takes the value out for an update in place, so that no second copy is made; put it back with
    /// [`Parameter::set_value`].
    pub fn take_value(&mut self) -> Tensor {
        let trainability = self.trainability();
        let value = self.value().clone();
        *self = Parameter::new(std::mem::take(&mut self.name), Tensor::zeros(&[0], value.dtype()), trainability);
        value
    }
}
