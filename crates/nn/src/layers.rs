//! Linear layer, normalisations, rotary angles.

use crate::{Error, Parameter, Result};
use clinpeft_autodiff::{Var, ops};
use clinpeft_tensor::{DType, Device, Tensor};
use std::sync::{Arc, Mutex, PoisonError};

/// `y = W x + b` in a named layer: adapters add to y. Many models have no b.
#[derive(Debug, Clone)]
pub struct Linear {
    name: String,
    weight: Parameter,
    bias: Option<Parameter>,
}

impl Linear {
    /// A layer called `name` (its weight is `<name>.weight`), W `[out, in]`, without b.
    pub fn new(name: String, weight: Parameter) -> Linear {
        Linear { name, weight, bias: None }
    }

    /// The same layer with b `[out]`, which is `<name>.bias`.
    pub fn with_bias(self, bias: Parameter) -> Linear {
        Linear { bias: Some(bias), ..self }
    }

    /// The name under which adapters know this layer.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// W.
    pub fn weight(&self) -> &Parameter {
        &self.weight
    }

    /// W for writing.
    pub fn weight_mut(&mut self) -> &mut Parameter {
        &mut self.weight
    }

    /// b, if the layer has one.
    pub fn bias(&self) -> Option<&Parameter> {
        self.bias.as_ref()
    }

    /// W, then b if the layer has one.
    pub fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        [&self.weight].into_iter().chain(&self.bias)
    }

    /// The same for writing.
    pub fn parameters_mut(&mut self) -> impl Iterator<Item = &mut Parameter> {
        [&mut self.weight].into_iter().chain(&mut self.bias)
    }

    /// `W x + b` alone.
    pub fn plain(&self, x: &Var) -> Result<Var> {
        let y = self.product(x)?;
        match &self.bias {
            Some(b) => Ok(ops::add_row(&y, b.var())?),
            None => Ok(y),
        }
    }

    /// `W x` alone.
    pub fn product(&self, x: &Var) -> Result<Var> {
        Ok(ops::linear(x, self.weight.var())?)
    }
}

/// Layer normalisation by two parameters; see [`clinpeft_tensor::ops::layer_norm`].
#[derive(Debug, Clone)]
pub struct LayerNorm {
    weight: Parameter,
    bias: Parameter,
    eps: f64,
}

impl LayerNorm {
    /// A layer with weight and bias `[d]`; `eps` is added to the variance.
    pub fn new(weight: Parameter, bias: Parameter, eps: f64) -> LayerNorm {
        LayerNorm { weight, bias, eps }
    }

    /// Weight and bias.
    pub fn parameters(&self) -> [&Parameter; 2] {
        [&self.weight, &self.bias]
    }

    /// The same for writing.
    pub fn parameters_mut(&mut self) -> [&mut Parameter; 2] {
        [&mut self.weight, &mut self.bias]
    }

    /// Every row of x `[t, d]` normalised.
    pub fn forward(&self, x: &Var) -> Result<Var> {
        Ok(ops::layer_norm(x, self.weight.var(), self.bias.var(), self.eps)?)
    }
}

/// Root-mean-square normalisation by a parameter.
pub fn norm(x: &Var, weight: &Parameter, eps: f64) -> Result<Var> {
    Ok(ops::rms_norm(x, weight.var(), eps)?)
}

/// How the angles of long contexts are stretched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// Positions divided by a factor.
    Linear {
        /// The factor.
        factor: f64,
    },
    /// LLaMA 3: low frequencies divided by a factor, high ones kept, those between blended.
    Llama3 {
        /// The factor.
        factor: f64,
        /// Below `original / low` wave lengths per context a frequency counts as low.
        low: f64,
        /// Above `original / high` it counts as high.
        high: f64,
        /// Context length of the original model.
        original: f64,
    },
}

/// Cosines and sines of the first positions.
#[derive(Debug, Clone)]
pub struct RotaryTables {
    /// `[positions, d/2]`.
    pub cos: Tensor,
    /// `[positions, d/2]`.
    pub sin: Tensor,
}

/// Angles by position. Tables of them are as long as the sequences that were asked for, not as the model's longest.
#[derive(Debug, Clone)]
pub struct Angles {
    frequencies: Vec<f32>,
    positions: usize,
    dtype: DType,
    device: Device,
    made: Arc<Mutex<Option<RotaryTables>>>,
}

impl Angles {
    /// Angles for up to `positions` positions of heads of width `d`. Frequencies and angles are rounded to f32, as the
    /// published models were trained with.
    pub fn new(positions: usize, d: usize, theta: f64, scaling: RopeScaling, dtype: DType) -> Result<Angles> {
        if d == 0 || !d.is_multiple_of(2) {
            return Err(Error::Config(format!("rotary embedding needs an even head width, not {d}")));
        }
        let frequency = |i| {
            let exponent = (2 * i) as f32 / d as f32;
            stretch(1.0 / (theta as f32).powf(exponent), scaling)
        };
        let frequencies = (0..d / 2).map(frequency).collect();
        Ok(Angles { frequencies, positions, dtype, device: Device::Cpu, made: Arc::default() })
    }

    /// The same angles on a device.
    pub fn to_device(&self, device: &Device) -> Result<Angles> {
        Ok(Angles { device: device.clone(), made: Arc::default(), ..self.clone() })
    }

    /// Number of positions that there are angles for.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// Tables of at least the first `positions` positions. Errors if there are not so many.
    pub fn up_to(&self, positions: usize) -> Result<RotaryTables> {
        if positions > self.positions {
            return Err(Error::Batch(format!(
                "a sequence of {positions} tokens is longer than the model's {}\nhint: choose a shorter `max_length`",
                self.positions
            )));
        }
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        match &*made {
            Some(turns) if turns.cos.dims()[0] >= positions => Ok(turns.clone()),
            _ => {
                // Doubled, so that a longer sequence is seldom a new table.
                let rows = positions.next_power_of_two().min(self.positions);
                let turns = RotaryTables { cos: self.table(rows, f32::cos)?, sin: self.table(rows, f32::sin)? };
                *made = Some(turns.clone());
                Ok(turns)
            }
        }
    }

    fn table(&self, rows: usize, f: fn(f32) -> f32) -> Result<Tensor> {
        let values = (0..rows).flat_map(|p| self.frequencies.iter().map(move |w| f(w * p as f32)));
        let table = Tensor::from_vec(values.collect(), &[rows, self.frequencies.len()])?.cast(self.dtype)?;
        Ok(table.to_device(&self.device)?)
    }
}

fn stretch(frequency: f32, scaling: RopeScaling) -> f32 {
    match scaling {
        RopeScaling::None => frequency,
        RopeScaling::Linear { factor } => frequency / factor as f32,
        RopeScaling::Llama3 { factor, low, high, original } => {
            let wave = 2.0 * std::f32::consts::PI / frequency;
            let (factor, low, high, original) = (factor as f32, low as f32, high as f32, original as f32);
            if wave > original / low {
                frequency / factor
            } else if wave < original / high {
                frequency
            } else {
                let smooth = (original / wave - low) / (high - low);
                (1.0 - smooth) * frequency / factor + smooth * frequency
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ForwardCtx, NoAdapters, Trainability};

    #[test]
    fn llama3_scaling_keeps_high_and_divides_low_frequencies() {
        let s = RopeScaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 8192.0 };
        assert_eq!(stretch(1.0, s), 1.0);
        assert_eq!(stretch(1e-6, s), 1e-6 / 8.0);
        let between = stretch(0.002, s);
        assert!(between > 0.002 / 8.0 && between < 0.002);
    }

    #[test]
    fn bias_is_in_the_output_but_not_in_the_product() {
        let parameter = |name: &str, values: Vec<f64>, dims: &[usize]| {
            Parameter::new(name, Tensor::from_vec(values, dims).unwrap(), Trainability::Frozen)
        };
        let layer = Linear::new("l".into(), parameter("l.weight", vec![2.0, 3.0], &[2, 1]));
        let layer = layer.with_bias(parameter("l.bias", vec![10.0, 20.0], &[2]));
        let x = Var::constant(Tensor::from_vec(vec![1.0], &[1, 1]).unwrap());
        let values = |y: Result<Var>| y.unwrap().value().to_f64_vec().unwrap();
        assert_eq!(values(layer.product(&x)), [2.0, 3.0]);
        assert_eq!(values(layer.forward(&x, &NoAdapters, &ForwardCtx::evaluate())), [12.0, 23.0]);
        let names: Vec<&str> = layer.parameters().map(Parameter::name).collect();
        assert_eq!(names, ["l.weight", "l.bias"]);
    }

    #[test]
    fn position_zero_is_not_turned() {
        let a = Angles::new(3, 4, 10_000.0, RopeScaling::None, DType::F64).unwrap();
        assert_eq!(a.up_to(3).unwrap().cos.to_f64_vec().unwrap()[..2], [1.0, 1.0]);
        assert!(Angles::new(3, 5, 1e4, RopeScaling::None, DType::F32).is_err());
    }

    #[test]
    fn tables_grow_with_the_sequences_and_keep_their_values() {
        let a = Angles::new(usize::MAX, 4, 10_000.0, RopeScaling::None, DType::F32).unwrap();
        let short = a.up_to(3).unwrap();
        assert_eq!(short.sin.dims(), [4, 2]);
        let long = a.up_to(100).unwrap();
        assert_eq!(long.sin.dims(), [128, 2]);
        assert_eq!(long.sin.to_f64_vec().unwrap()[..8], short.sin.to_f64_vec().unwrap()[..]);
        assert_eq!(a.up_to(1).unwrap().cos.dims(), [128, 2], "made once");
        let few = Angles::new(5, 4, 10_000.0, RopeScaling::None, DType::F32).unwrap();
        assert_eq!(few.up_to(5).unwrap().cos.dims(), [5, 2]);
        assert!(few.up_to(6).unwrap_err().to_string().contains("longer than the model's 5"));
    }
}
