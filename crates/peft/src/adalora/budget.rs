//! Which ranks stay (Zhang et al. 2023, eq. 8 to 12 and algorithm 1).
//!
//! ```text
//! I = |p * gradient|    mean = b1 mean + (1 - b1) I    spread = b2 spread + (1 - b2) |I - mean|    score = mean * spread
//! score of rank i = score(E_i) + mean of scores of row i of A + mean of scores of column i of B
//! ranks left after step t: all until `first`, then target + (all - target) (1 - (t - first)/(total - last - first))^3
//! ```
//! The ranks with the lowest scores lose their singular value; before the last steps they may come back.

use super::config::AdaLoraConfig;
use super::triplet::Triplet;
use crate::{Error, Result, StepInfo, StepParam, StepValues};
use clinpeft_nn::Parameter;
use clinpeft_tensor::Tensor;
use clinpeft_weights::TensorMap;
use std::collections::BTreeMap;

/// The matrices of every layer.
type Triplets = BTreeMap<String, Triplet>;

/// Averages of every element, by parameter name.
#[derive(Debug, Clone, Default)]
pub(super) struct Importance {
    averages: BTreeMap<String, Averages>,
}

#[derive(Debug, Clone)]
struct Averages {
    mean: Vec<f32>,
    spread: Vec<f32>,
}

impl Importance {
    /// Takes a step of the parameter called `name` in.
    fn update(&mut self, name: &str, step: &StepParam, beta1: f64, beta2: f64) -> Result<()> {
        let (values, gradient) = (step.value.to_f64_vec()?, step.gradient.to_f64_vec()?);
        let n = values.len();
        let fresh = || Averages { mean: vec![0.0; n], spread: vec![0.0; n] };
        let a = self.averages.entry(name.into()).or_insert_with(fresh);
        for i in 0..n {
            let importance = (values[i] * gradient[i]).abs();
            let mean = beta1 * f64::from(a.mean[i]) + (1.0 - beta1) * importance;
            let spread = beta2 * f64::from(a.spread[i]) + (1.0 - beta2) * (importance - mean).abs();
            (a.mean[i], a.spread[i]) = (mean as f32, spread as f32);
        }
        Ok(())
    }

    fn scores(&self, p: &Parameter) -> Vec<f64> {
        match self.averages.get(p.name()) {
            Some(a) => a.mean.iter().zip(&a.spread).map(|(m, s)| f64::from(*m) * f64::from(*s)).collect(),
            None => vec![0.0; p.value().count()],
        }
    }

    /// The score of each rank of a layer.
    fn ranks(&self, t: &Triplet) -> Vec<f64> {
        let (r, input, output) = (t.e.value().count(), t.a.value().dims()[1], t.b.value().dims()[0]);
        let (a, e, b) = (self.scores(&t.a), self.scores(&t.e), self.scores(&t.b));
        let of_a = |i: usize| a[i * input..(i + 1) * input].iter().sum::<f64>() / input.max(1) as f64;
        let of_b = |i: usize| (0..output).map(|o| b[o * r + i]).sum::<f64>() / output.max(1) as f64;
        (0..r).map(|i| e[i] + of_a(i) + of_b(i)).collect()
    }

    /// For a checkpoint, with the ranks that are left.
    pub(super) fn state(&self, triplets: &Triplets) -> Result<TensorMap> {
        let mut all = TensorMap::new();
        for (name, a) in &self.averages {
            let n = a.mean.len();
            all.insert(format!("{name}.mean"), Tensor::from_vec(a.mean.clone(), &[n])?);
            all.insert(format!("{name}.spread"), Tensor::from_vec(a.spread.clone(), &[n])?);
        }
        for (module, t) in triplets {
            if let Some(p) = &t.pattern {
                let bits: Vec<u32> = p.iter().map(|x| u32::from(*x)).collect();
                all.insert(format!("{module}.pattern"), Tensor::from_vec(bits, &[p.len()])?);
            }
        }
        Ok(all)
    }

    /// Back from a checkpoint.
    pub(super) fn from_state(state: &TensorMap, triplets: &mut Triplets) -> Result<Importance> {
        let mut averages = BTreeMap::new();
        for (name, mean) in state.iter().filter_map(|(n, t)| Some((n.strip_suffix(".mean")?, t))) {
            let spread = state.get(&format!("{name}.spread"));
            let spread = spread.ok_or_else(|| Error::Config(format!("the state of `{name}` has no spread")))?;
            let both = Averages { mean: mean.as_slice::<f32>()?.to_vec(), spread: spread.as_slice::<f32>()?.to_vec() };
            let own = triplets.values().flat_map(|t| [&t.a, &t.e, &t.b]).find(|p| p.name() == name);
            if own.is_none_or(|p| [both.mean.len(), both.spread.len()] != [p.value().count(); 2]) {
                return Err(Error::Config(format!("the state of `{name}` is that of another adapter")));
            }
            averages.insert(name.to_string(), both);
        }
        for (module, t) in triplets {
            let bits = state.get(&format!("{module}.pattern"));
            let bits = bits.map(|b| b.as_slice::<u32>()).transpose()?;
            t.pattern = bits.map(|b| b.iter().map(|x| *x == 1).collect());
        }
        Ok(Importance { averages })
    }
}

/// The step that fixes the ranks.
fn last_allocation(c: &AdaLoraConfig, step: StepInfo) -> u64 {
    step.total.saturating_sub(c.last_steps)
}

/// Whether importance is updated after this step. Not in the step that fixes the ranks, as in PEFT.
pub(super) fn updates(c: &AdaLoraConfig, step: StepInfo) -> bool {
    step.number < last_allocation(c, step)
}

/// What an AdaLoRA does after an optimizer step.
pub(super) fn on_step_end(
    c: &AdaLoraConfig,
    triplets: &mut Triplets,
    importance: &mut Importance,
    step: StepInfo,
    values: &StepValues,
) -> Result<()> {
    let last = last_allocation(c, step);
    if c.first_steps >= last {
        return Err(Error::Config(format!(
            "AdaLoRA has no step in which ranks could fall: {} first and {} last steps of {}\nhint: lower `first_steps` or \
             `last_steps`",
            c.first_steps, c.last_steps, step.total
        )));
    }
    if step.number > last {
        return enforce(triplets);
    }
    if updates(c, step) {
        for (name, stepped) in values {
            importance.update(name, stepped, c.beta1, c.beta2)?;
        }
    }
    let due = step.number > c.first_steps && step.number.is_multiple_of(c.every);
    if due || step.number == last {
        let all = c.initial_r * triplets.len();
        let target = c.target_r * triplets.len();
        let left = 1.0 - (step.number - c.first_steps.min(step.number)) as f64 / (last - c.first_steps) as f64;
        let budget = ((all - target) as f64 * left.powi(3) + target as f64) as usize;
        allocate(triplets, importance, budget);
        enforce(triplets)?;
    }
    Ok(())
}

/// Keeps the `budget` ranks with the highest scores.
fn allocate(triplets: &mut Triplets, importance: &Importance, budget: usize) {
    let scores: BTreeMap<String, Vec<f64>> =
        triplets.iter().map(|(module, t)| (module.clone(), importance.ranks(t))).collect();
    let mut sorted: Vec<f64> = scores.values().flatten().copied().collect();
    let cut = sorted.len().saturating_sub(budget);
    if cut == 0 {
        return;
    }
    sorted.sort_by(f64::total_cmp);
    let threshold = sorted[cut - 1];
    for (module, t) in triplets {
        t.pattern = Some(scores[module].iter().map(|s| *s > threshold).collect());
    }
}

/// Sets the singular values of lost ranks to zero.
fn enforce(triplets: &mut Triplets) -> Result<()> {
    for t in triplets.values_mut() {
        let r = t.e.value().count();
        let Some(pattern) = t.pattern.as_ref().filter(|p| p.len() == r) else {
            continue;
        };
        let mask = pattern.iter().map(|kept| if *kept { 1f32 } else { 0.0 }).collect();
        let mask = Tensor::from_vec(mask, t.e.value().dims())?.to_device(&t.e.value().device())?;
        let value = clinpeft_tensor::ops::mul(t.e.value(), &mask)?;
        t.e.set_value(value);
    }
    Ok(())
}
