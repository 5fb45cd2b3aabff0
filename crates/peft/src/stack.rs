//! The ordered list of adapters.

use crate::{Adapter, AdapterName, Error, GradSqNorms, Result, StepInfo, StepValues};
use clinpeft_autodiff::{Var, ops};
use clinpeft_nn::{AdapterHooks, AttentionCall, ForwardCtx, Linear, LinearCall, Parameter, Trainability};
use clinpeft_tensor::Device;
use clinpeft_weights::{TensorMap, nearest};
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Whether an adapter takes part in the forward pass. Independent of whether it learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// It does.
    Active,
    /// It is there and does nothing.
    Inactive,
}

/// One adapter of a stack.
#[derive(Debug)]
pub struct Entry {
    /// Unique within the stack.
    pub name: AdapterName,
    /// Whether it takes part.
    pub activity: Activity,
    /// The adapter; its parameters know whether they learn.
    pub adapter: Box<dyn Adapter>,
}

impl Clone for Entry {
    fn clone(&self) -> Entry {
        Entry { name: self.name.clone(), activity: self.activity, adapter: self.adapter.clone_box() }
    }
}

impl Entry {
    /// Whether any of its parameters learns.
    pub fn trainability(&self) -> Trainability {
        let any = self.adapter.parameters().iter().any(|p| p.trainability() == Trainability::Trainable);
        if any { Trainability::Trainable } else { Trainability::Frozen }
    }

    /// Euclidean norm over its parameters, or `None` if none has a gradient.
    fn gradient_norm(&self, squares: &GradSqNorms) -> Option<f64> {
        let parameters = self.adapter.parameters();
        norm(squares, parameters.iter().map(|p| named(&self.name, p)))
    }
}

/// Euclidean norm of the gradients of the parameters with these names, or `None` if none has one.
pub fn norm(squares: &GradSqNorms, names: impl Iterator<Item = String>) -> Option<f64> {
    let own = names.filter_map(|name| squares.get(&name));
    own.fold(None, |sum, square| Some(sum.unwrap_or(0.0) + square)).map(f64::sqrt)
}

/// Adapters in order. The order matters only to adapters at the same hook point that do not commute.
#[derive(Debug, Clone, Default)]
pub struct Stack {
    entries: Vec<Entry>,
}

/// One line of the table that a run prints.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// Name in the stack.
    pub name: String,
    /// Method.
    pub method: &'static str,
    /// Whether it takes part.
    pub activity: Activity,
    /// Whether it learns.
    pub learning: Trainability,
    /// Number of its parameters.
    pub parameters: usize,
    /// Euclidean norm of its gradient, once there is one.
    pub gradient_norm: Option<f64>,
}

impl Stack {
    /// A stack without adapters.
    pub fn new() -> Stack {
        Stack::default()
    }

    /// Puts an adapter on top. Changes nothing of those that are there. Errors if the name breaks the rule of [`AdapterName`], is
    /// taken, or is another one with a dot and more behind it: parameters are called `<adapter>.<parameter>`.
    pub fn push(&mut self, name: &str, adapter: Box<dyn Adapter>, activity: Activity) -> Result<()> {
        let name = AdapterName::new(name)?;
        let begins = |long: &str, short: &str| long.strip_prefix(short).is_some_and(|rest| rest.starts_with('.'));
        let alike = |e: &&Entry| e.name == name || begins(&e.name, &name) || begins(&name, &e.name);
        if let Some(there) = self.entries.iter().find(alike) {
            return Err(Error::Duplicate { name: name.into(), there: there.name.to_string() });
        }
        self.entries.push(Entry { name, activity, adapter });
        Ok(())
    }

    /// The adapters in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Lets an adapter take part or not.
    pub fn set_activity(&mut self, name: &str, activity: Activity) -> Result<()> {
        self.entry(name)?.activity = activity;
        Ok(())
    }

    /// Freezes an adapter or lets it learn.
    pub fn set_trainability(&mut self, name: &str, learning: Trainability) -> Result<()> {
        for p in self.entry(name)?.adapter.parameters_mut() {
            p.set_trainability(learning);
        }
        Ok(())
    }

    fn entry(&mut self, name: &str) -> Result<&mut Entry> {
        let nearest = nearest(name, self.entries.iter().map(|e| e.name.as_str()));
        let found = self.entries.iter_mut().find(|e| &*e.name == name);
        found.ok_or_else(|| Error::Unknown { name: name.into(), nearest })
    }

    /// Parameters that learn, with names that are unique in the stack (`<adapter>.<parameter>`).
    pub fn trainable(&self) -> Vec<(String, &Parameter)> {
        self.entries.iter().flat_map(|e| trainable(&e.name, e.adapter.parameters())).collect()
    }

    /// The same for writing, in the same order.
    pub fn trainable_mut(&mut self) -> Vec<(String, &mut Parameter)> {
        self.entries.iter_mut().flat_map(|e| trainable(&e.name, e.adapter.parameters_mut())).collect()
    }

    /// What each adapter is and does; with the squares of its gradients (by the names of [`Stack::trainable`]), also their norm.
    pub fn status(&self, squares: Option<&GradSqNorms>) -> Vec<Status> {
        self.entries
            .iter()
            .map(|e| {
                let parameters = e.adapter.parameters();
                Status {
                    name: e.name.to_string(),
                    method: e.adapter.method(),
                    activity: e.activity,
                    learning: e.trainability(),
                    parameters: parameters.iter().map(|p| p.value().count()).sum(),
                    gradient_norm: squares.and_then(|all| e.gradient_norm(all)),
                }
            })
            .collect()
    }

    /// Errors with the name of a trainable adapter that no gradient reached.
    pub fn check_gradients(&self, squares: &GradSqNorms) -> Result<()> {
        for e in &self.entries {
            let reached = e.gradient_norm(squares).is_some();
            if e.trainability() == Trainability::Trainable && !reached {
                let why = match e.activity {
                    Activity::Inactive => "it is not active",
                    Activity::Active => "none of its layers took part",
                };
                return Err(Error::NoGradient { name: e.name.to_string(), why });
            }
        }
        Ok(())
    }

    /// Moves every adapter to where the model is.
    pub fn to_device(&mut self, device: &Device) -> Result<()> {
        let all = self.entries.iter_mut().flat_map(|e| e.adapter.parameters_mut());
        Ok(all.into_iter().try_for_each(|p| p.to_device(device))?)
    }

    /// What active adapters that learn add to the loss of every step; `None` if nothing.
    pub fn extra_loss(&self) -> Result<Option<Var>> {
        let mut sum: Option<Var> = None;
        let learning = |e: &&Entry| e.activity == Activity::Active && e.trainability() == Trainability::Trainable;
        for e in self.entries.iter().filter(learning) {
            let Some(hook) = e.adapter.optimizer_hook() else { continue };
            let Some(loss) = hook.extra_loss()? else { continue };
            sum = Some(match sum {
                Some(before) => ops::add(&before, &loss)?,
                None => loss,
            });
        }
        Ok(sum)
    }

    /// Parameters that [`Stack::on_step_end`] needs on the CPU after this step, by the names of [`Stack::trainable`].
    pub fn params_to_sync(&self, step: StepInfo) -> Vec<(String, &Parameter)> {
        let hooks = self.entries.iter().filter(|e| e.trainability() == Trainability::Trainable);
        let hooks = hooks.filter_map(|e| Some((&e.name, e.adapter.optimizer_hook()?)));
        hooks.flat_map(|(name, hook)| hook.params_to_sync(step).into_iter().map(|p| (named(name, p), p))).collect()
    }

    /// To be called after every optimizer step: tells each adapter that learns, with what [`Stack::params_to_sync`] asked for.
    pub fn on_step_end(&mut self, step: StepInfo, values: &StepValues) -> Result<()> {
        for e in self.entries.iter_mut().filter(|e| e.trainability() == Trainability::Trainable) {
            let Some(hook) = e.adapter.optimizer_hook_mut() else { continue };
            hook.on_step_end(step, &own(&e.name, values))?;
        }
        Ok(())
    }

    /// What a checkpoint needs beside the parameters, by `<adapter>.<name>`.
    pub fn state(&self) -> Result<TensorMap> {
        let mut all = TensorMap::new();
        for e in &self.entries {
            let Some(hook) = e.adapter.optimizer_hook() else { continue };
            all.extend(hook.state()?.into_iter().map(|(name, t)| (format!("{}.{name}", e.name), t)));
        }
        Ok(all)
    }

    /// Takes back what [`Stack::state`] gave.
    pub fn set_state(&mut self, state: &TensorMap) -> Result<()> {
        for e in &mut self.entries {
            let Some(hook) = e.adapter.optimizer_hook_mut() else { continue };
            hook.set_state(&own(&e.name, state))?;
        }
        Ok(())
    }

    fn active(&self) -> impl Iterator<Item = &dyn Adapter> {
        self.entries.iter().filter(|e| e.activity == Activity::Active).map(|e| &*e.adapter)
    }
}

/// What of `all` belongs to an adapter, by its own names.
fn own<T: Clone>(adapter: &str, all: &BTreeMap<String, T>) -> BTreeMap<String, T> {
    let name = |long: &str| Some(long.strip_prefix(adapter)?.strip_prefix('.')?.to_string());
    all.iter().filter_map(|(long, value)| Some((name(long)?, value.clone()))).collect()
}

/// Those of some parameters that learn, each called `<prefix>.<parameter>`.
pub fn trainable<P: Borrow<Parameter>>(prefix: &str, parameters: Vec<P>) -> Vec<(String, P)> {
    let learning = parameters.into_iter().filter(|p| p.borrow().trainability() == Trainability::Trainable);
    learning.map(|p| (named(prefix, p.borrow()), p)).collect()
}

fn named(adapter: &str, p: &Parameter) -> String {
    format!("{adapter}.{}", p.name())
}

/// The table as text, one line for each adapter.
pub fn status_table(rows: &[Status]) -> String {
    let mut out = format!(
        "{:<14} {:<8} {:<9} {:<10} {:>12}  gradient norm\n",
        "adapter", "method", "active", "trainable", "parameters"
    );
    for r in rows {
        let active = if r.activity == Activity::Active { "yes" } else { "no" };
        let learns = if r.learning == Trainability::Trainable { "yes" } else { "no" };
        let norm = r.gradient_norm.map_or("-".to_string(), |n| format!("{n:.3e}"));
        let _ = writeln!(out, "{:<14} {:<8} {active:<9} {learns:<10} {:>12}  {norm}", r.name, r.method, r.parameters);
    }
    out
}

impl AdapterHooks for Stack {
    fn linear_input(&self, layer: &Linear, x: Var) -> clinpeft_nn::Result<Var> {
        self.active().try_fold(x, |x, a| a.linear_input(layer, x))
    }

    fn linear(&self, call: &LinearCall<'_>, y: Var, ctx: &ForwardCtx) -> clinpeft_nn::Result<Var> {
        self.active().try_fold(y, |y, a| a.linear(call, y, ctx))
    }

    fn keys_values(&self, ctx: &ForwardCtx) -> clinpeft_nn::Result<Option<Vec<(Var, Var)>>> {
        let mut all: Option<Vec<(Var, Var)>> = None;
        for a in self.active() {
            let Some(next) = a.keys_values(ctx)? else { continue };
            all = Some(match all {
                None => next,
                Some(before) => {
                    let joined = before
                        .iter()
                        .zip(&next)
                        .map(|((k0, v0), (k, v))| Ok((ops::concat(k0, k)?, ops::concat(v0, v)?)));
                    joined.collect::<clinpeft_nn::Result<_>>()?
                }
            });
        }
        Ok(all)
    }

    fn inputs(&self, ctx: &ForwardCtx) -> clinpeft_nn::Result<Option<Var>> {
        let mut all: Option<Var> = None;
        for a in self.active() {
            let Some(rows) = a.inputs(ctx)? else { continue };
            all = Some(match all {
                None => rows,
                Some(before) => ops::concat(&before, &rows)?,
            });
        }
        Ok(all)
    }

    fn attention_output(&self, module: &AttentionCall<'_>, y: Var, ctx: &ForwardCtx) -> clinpeft_nn::Result<Var> {
        self.active().try_fold(y, |y, a| a.attention_output(module, y, ctx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Lora, LoraConfig, Scaling};
    use clinpeft_autodiff::{Norm, backward};
    use clinpeft_nn::{Linear, TargetModule};
    use clinpeft_rng::Seed;
    use clinpeft_tensor::{DType, Tensor};
    use proptest::prelude::*;

    fn lora(seed: u64, learning: Trainability) -> Box<dyn Adapter> {
        let modules = [TargetModule { name: "l.q_proj".into(), input: 3, output: 4 }];
        let config =
            LoraConfig { r: 2, alpha: 2.0, dropout: 0.0, targets: vec!["q_proj".into()], scaling: Scaling::Standard };
        Box::new(Lora::new(config, &modules, Seed(seed), learning).unwrap())
    }

    fn run(stack: &Stack) -> Var {
        let zeros = Parameter::new("w", Tensor::zeros(&[4, 3], DType::F32), Trainability::Frozen);
        let x = Var::constant(Tensor::from_vec(vec![1.0f32, -2.0, 0.5], &[1, 3]).unwrap());
        Linear::new("l.q_proj".into(), zeros).forward(&x, stack, &ForwardCtx::evaluate()).unwrap()
    }

    /// Of the gradients of all outputs.
    fn squares(stack: &Stack) -> GradSqNorms {
        let gradients = backward(&run(stack)).unwrap();
        let square = |p: &Parameter| match gradients.norm(p.var()).unwrap()? {
            Norm::Square(square) => Some(square),
            Norm::Unread(_) => None,
        };
        stack.trainable().into_iter().filter_map(|(name, p)| Some((name, square(p)?))).collect()
    }

    fn shake(stack: &mut Stack, name: &str) {
        for p in stack.entry(name).unwrap().adapter.parameters_mut() {
            let n = p.value().count();
            let dims = p.value().dims().to_vec();
            p.set_value(Tensor::from_vec((0..n).map(|i| (i as f32 * 0.7).sin()).collect(), &dims).unwrap());
        }
    }

    #[test]
    fn both_adapters_add_to_the_output() {
        let mut s = Stack::new();
        s.push("clinical", lora(1, Trainability::Frozen), Activity::Active).unwrap();
        s.push("downstream", lora(2, Trainability::Trainable), Activity::Active).unwrap();
        shake(&mut s, "clinical");
        let first = run(&s).value().to_f64_vec().unwrap();
        shake(&mut s, "downstream");
        let both = run(&s).value().to_f64_vec().unwrap();
        s.set_activity("clinical", Activity::Inactive).unwrap();
        let second = run(&s).value().to_f64_vec().unwrap();
        for i in 0..4 {
            assert!((first[i] + second[i] - both[i]).abs() < 1e-6);
        }
    }

    #[test]
    fn only_the_trainable_one_gets_a_gradient() {
        let mut s = Stack::new();
        s.push("clinical", lora(1, Trainability::Frozen), Activity::Active).unwrap();
        s.push("downstream", lora(2, Trainability::Trainable), Activity::Active).unwrap();
        let squares = squares(&s);
        let status = s.status(Some(&squares));
        assert!(status[0].gradient_norm.is_none() && status[1].gradient_norm.unwrap() > 0.0);
        s.check_gradients(&squares).unwrap();
    }

    #[test]
    fn trainable_but_inactive_adapter_is_named() {
        let mut s = Stack::new();
        s.push("clinical", lora(1, Trainability::Trainable), Activity::Active).unwrap();
        s.push("downstream", lora(2, Trainability::Trainable), Activity::Inactive).unwrap();
        let e = s.check_gradients(&squares(&s)).unwrap_err().to_string();
        assert!(e.contains("`downstream`") && e.contains("not active"), "{e}");
    }

    #[test]
    fn second_adapter_of_a_name_is_refused() {
        let mut s = Stack::new();
        s.push("a", lora(1, Trainability::Frozen), Activity::Active).unwrap();
        s.push("b.c", lora(1, Trainability::Frozen), Activity::Active).unwrap();
        for name in ["a", "a.b", "b", "b.c"] {
            let second = s.push(name, lora(2, Trainability::Frozen), Activity::Active);
            assert!(matches!(second, Err(Error::Duplicate { .. })), "{name}");
        }
        assert!(matches!(s.push("../a", lora(2, Trainability::Frozen), Activity::Active), Err(Error::Name(_))));
        assert!(matches!(s.set_activity("b", Activity::Active), Err(Error::Unknown { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(50))]
        #[test]
        fn touching_one_adapter_never_changes_another(moves in proptest::collection::vec((0usize..3, 0usize..4), 1..12)) {
            let names = ["a", "b", "c"];
            let mut s = Stack::new();
            let snapshot = |s: &Stack, name: &str| {
                s.entries().iter().find(|e| &*e.name == name).map(|e| {
                    let values: Vec<_> = e.adapter.parameters().iter().map(|p| p.value().to_f64_vec().unwrap()).collect();
                    (e.activity, e.trainability(), values)
                })
            };
            for (who, what) in moves {
                let name = names[who];
                let before: Vec<_> = names.iter().map(|n| snapshot(&s, n)).collect();
                if s.entries().iter().all(|e| &*e.name != name) {
                    s.push(name, lora(who as u64, Trainability::Frozen), Activity::Active).unwrap();
                } else {
                    match what {
                        0 => s.set_activity(name, Activity::Inactive).unwrap(),
                        1 => s.set_activity(name, Activity::Active).unwrap(),
                        2 => s.set_trainability(name, Trainability::Trainable).unwrap(),
                        _ => s.set_trainability(name, Trainability::Frozen).unwrap(),
                    }
                }
                for (i, other) in names.iter().enumerate() {
                    if i != who { prop_assert_eq!(snapshot(&s, other), before[i].clone()) }
                }
            }
        }
    }
}
