//! Named values that may learn.

use clinpeft_autodiff::Var;
use clinpeft_tensor::{Device, Result, Tensor};

/// Whether values change during training. Independent of whether an adapter is active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Learning {
    /// They stay; nothing of them is on the tape.
    #[default]
    Frozen,
    /// They get gradients and steps.
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
    pub fn new(name: impl Into<String>, value: Tensor, learning: Learning) -> Parameter {
        let var = match learning {
            Learning::Frozen => Var::constant(value),
            Learning::Trainable => Var::leaf(value),
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

    /// Whether it learns.
    pub fn learning(&self) -> Learning {
        if self.var.needs_gradient() { Learning::Trainable } else { Learning::Frozen }
    }

    /// Replaces the value; whether it learns stays.
    pub fn set_value(&mut self, value: Tensor) {
        *self = Parameter::new(std::mem::take(&mut self.name), value, self.learning());
    }

    /// Moves the value to a device; whether it learns stays.
    pub fn to_device(&mut self, device: &Device) -> Result<()> {
        let value = self.value().to_device(device)?;
        self.set_value(value);
        Ok(())
    }

    /// Freezes it or lets it learn; the value stays.
    pub fn set_learning(&mut self, learning: Learning) {
        *self = Parameter::new(std::mem::take(&mut self.name), self.value().clone(), learning);
    }

    /// Takes the value out for an update in place, so that no second copy is made; put it back with
    /// [`Parameter::set_value`].
    pub fn take_value(&mut self) -> Tensor {
        let learning = self.learning();
        let value = self.value().clone();
        *self = Parameter::new(std::mem::take(&mut self.name), Tensor::zeros(&[0], value.dtype()), learning);
        value
    }
}
