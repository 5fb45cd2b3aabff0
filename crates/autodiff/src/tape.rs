//! Values that record how they were computed, and the backward pass.

use clinpeft_tensor::{DType, Device, Precision, Tensor};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// What can go wrong on the tape.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operation failed.
    #[error(transparent)]
    Tensor(#[from] clinpeft_tensor::Error),
    /// The value does not depend on anything that requires a gradient.
    #[error(
        "backward: the value does not depend on any trainable parameter\nhint: mark an adapter, or the head, as trainable"
    )]
    NoGradient,
    /// The same graph was walked twice.
    #[error("backward: this graph was used before; its saved values are gone\nhint: compute the loss again")]
    UsedTwice,
    /// A recomputed block failed.
    #[error("{0}")]
    Block(Box<dyn std::error::Error + Send + Sync>),
    /// A gradient check failed.
    #[error("gradient check: {0}")]
    Gradcheck(String),
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Contributions = Vec<(Arc<Node>, Tensor)>;
type Rule = Box<dyn FnOnce(&Tensor) -> Result<Contributions> + Send>;

pub(crate) struct Node {
    /// Grows with creation, so every parent has a smaller number than its children.
    id: u64,
    /// `None` for a leaf.
    rule: Option<Mutex<Option<Rule>>>,
}

impl Node {
    fn new(rule: Option<Rule>) -> Arc<Node> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Arc::new(Node { id: NEXT.fetch_add(1, Ordering::Relaxed), rule: rule.map(|r| Mutex::new(Some(r))) })
    }
}

/// A tensor that may remember how it was made. Cloning shares the values.
#[derive(Clone)]
pub struct Var {
    value: Tensor,
    node: Option<Arc<Node>>,
    /// Set if the value came from a bf16 matmul. The copy saved for backward is then stored in bf16 and shared by all rules.
    rounded: Option<Arc<OnceLock<Tensor>>>,
}

impl fmt::Debug for Var {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Var({:?}{})", self.value, if self.requires_grad() { ", requires_grad" } else { "" })
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Tape {
    Records,
    /// Nothing is recorded; the flag says whether an operand required a gradient.
    Paused {
        grad_seen: bool,
    },
}

thread_local! {
    static TAPE: Cell<Tape> = const { Cell::new(Tape::Records) };
}

/// Runs `body` without recording it for a backward pass, like `torch.no_grad`.
pub fn no_grad<R>(body: impl FnOnce() -> R) -> R {
    no_grad_tracked(body).0
}

/// [`no_grad`], and whether any operand of `body` required a gradient.
pub(crate) fn no_grad_tracked<R>(body: impl FnOnce() -> R) -> (R, bool) {
    struct Restore(Tape);
    impl Drop for Restore {
        fn drop(&mut self) {
            TAPE.set(self.0);
        }
    }
    let before = TAPE.replace(Tape::Paused { grad_seen: false });
    let restore = Restore(before);
    let out = body();
    let grad_seen = TAPE.get() == Tape::Paused { grad_seen: true };
    drop(restore);
    if grad_seen {
        note_grad();
    }
    (out, grad_seen)
}

fn note_grad() {
    if let Tape::Paused { .. } = TAPE.get() {
        TAPE.set(Tape::Paused { grad_seen: true });
    }
}

impl Var {
    /// A value without gradient.
    pub fn constant(value: Tensor) -> Var {
        Var { value, node: None, rounded: None }
    }

    /// A leaf that requires a gradient: [`backward`] returns a gradient for it.
    pub fn leaf(value: Tensor) -> Var {
        Var { value, node: Some(Node::new(None)), rounded: None }
    }

    /// The result of an operation with its backward rule.
    ///
    /// `rule` gets the gradient of the result and says which gradients are asked for; it returns one for each parent that
    /// asked. Where no parent requires a gradient, `rule` and all that it holds are dropped at once.
    pub fn from_op<const N: usize>(
        value: Tensor,
        parents: [&Var; N],
        rule: impl FnOnce(&Tensor, [bool; N]) -> Result<[Option<Tensor>; N]> + Send + 'static,
    ) -> Var {
        let nodes = parents.map(|p| p.node.clone());
        if nodes.iter().all(Option::is_none) {
            return Var::constant(value).rounded_like(&parents);
        }
        let y = Var::recorded(value, move |g| {
            let gradients = rule(g, nodes.each_ref().map(Option::is_some))?;
            Ok(nodes.into_iter().zip(gradients).filter_map(|(n, g)| Some((n?, g?))).collect())
        });
        y.rounded_like(&parents)
    }

    /// A node with any rule; nothing while the tape is paused.
    pub(crate) fn recorded(value: Tensor, rule: impl FnOnce(&Tensor) -> Result<Contributions> + Send + 'static) -> Var {
        if TAPE.get() != Tape::Records {
            note_grad();
            return Var::constant(value);
        }
        Var { value, node: Some(Node::new(Some(Box::new(rule)))), rounded: None }
    }

    /// These values as made from `sources`: if one of them comes out of a matmul with [`Precision::Bf16`], or is a weight of
    /// such a matmul, its copy saved for backward is stored in bf16.
    pub(crate) fn rounded_like(self, sources: &[&Var]) -> Var {
        let is_rounded = |v: &&Var| v.rounded.is_some() || v.value.precision() == Precision::Bf16;
        Var { rounded: sources.iter().any(is_rounded).then(Arc::default), ..self }
    }

    /// The values for a rule.
    pub(crate) fn saved(&self) -> Result<Tensor> {
        let Some(kept) = self.rounded.as_ref().filter(|_| self.dtype() == DType::F32 && TAPE.get() == Tape::Records)
        else {
            return Ok(self.value.clone());
        };
        if let Some(kept) = kept.get() {
            return Ok(kept.clone());
        }
        let half = self.value.cast(DType::Bf16)?;
        Ok(kept.get_or_init(|| half).clone())
    }

    /// The values.
    pub fn value(&self) -> &Tensor {
        &self.value
    }

    /// Lengths of the axes.
    pub fn dims(&self) -> &[usize] {
        self.value.dims()
    }

    /// Type of the elements.
    pub fn dtype(&self) -> DType {
        self.value.dtype()
    }

    /// True if a gradient flows to or through this value.
    pub fn requires_grad(&self) -> bool {
        self.node.is_some()
    }

    /// The same values under another shape with as many places; the gradient comes back in the old one.
    pub fn reshape(&self, dims: &[usize]) -> Result<Var> {
        let before = self.dims().to_vec();
        Ok(Var::from_op(self.value.reshape(dims)?, [self], move |g, _| Ok([Some(g.reshape(&before)?)])))
    }

    /// The same values on another device; the gradient comes back to this one.
    pub fn to_device(&self, device: &Device) -> Result<Var> {
        let here = self.value.device();
        if here == *device {
            return Ok(self.clone());
        }
        Ok(Var::from_op(self.value.to_device(device)?, [self], move |g, _| Ok([Some(g.to_device(&here)?)])))
    }

    pub(crate) fn node(&self) -> Option<Arc<Node>> {
        self.node.clone()
    }
}

/// The Euclidean norm of a gradient.
#[derive(Debug, Clone)]
pub enum Norm {
    /// Its square, summed on the CPU in f64.
    Square(f64),
    /// The norm, `[1]`, summed in f32 on a device, where it waits to be read.
    Unread(Tensor),
}

impl Norm {
    /// The norm of all gradients together, where they are: `[1]`; `None` if there is none.
    pub fn of_all<'a>(norms: impl Iterator<Item = &'a Norm>) -> Result<Option<Tensor>> {
        use clinpeft_tensor::ops::{concat, norm};
        let (mut here, mut there): (Option<f64>, Option<Tensor>) = (None, None);
        for one in norms {
            match one {
                Norm::Square(square) => *here.get_or_insert(0.0) += square,
                Norm::Unread(length) => {
                    let length = length.reshape(&[1, 1])?;
                    there = Some(match there {
                        Some(before) => concat(&before, &length)?,
                        None => length,
                    });
                }
            }
        }
        let here = here.map(|square| Tensor::scalar(square.sqrt(), DType::F64));
        Ok(match (here, there) {
            (Some(here), Some(there)) => {
                let here = here.cast(there.dtype())?.reshape(&[1, 1])?.to_device(&there.device())?;
                Some(norm(&concat(&there, &here)?)?)
            }
            (None, Some(there)) => Some(norm(&there)?),
            (here, None) => here,
        })
    }
}

/// Gradients of leaves.
#[derive(Default)]
pub struct Gradients(BTreeMap<u64, (Arc<Node>, Tensor)>);

impl Gradients {
    /// The gradient of `leaf`, or `None` if the value did not depend on it.
    pub fn of(&self, leaf: &Var) -> Option<&Tensor> {
        self.0.get(&leaf.node.as_ref()?.id).map(|(_, g)| g)
    }

    /// The norm of the gradient of `leaf`; `None` if it has none.
    pub fn norm(&self, leaf: &Var) -> Result<Option<Norm>> {
        let Some(g) = self.of(leaf) else {
            return Ok(None);
        };
        Ok(Some(match g.device() {
            Device::Cpu => Norm::Square(g.to_f64_vec()?.iter().map(|x| x * x).sum()),
            Device::Other(_) => Norm::Unread(clinpeft_tensor::ops::norm(g)?),
        }))
    }

    /// Adds the gradients of another part of the same step.
    pub fn add(&mut self, other: Gradients) -> Result<()> {
        for (id, (node, g)) in other.0 {
            let sum = match self.0.remove(&id) {
                Some((_, before)) => clinpeft_tensor::ops::add(&before, &g)?,
                None => g,
            };
            self.0.insert(id, (node, sum));
        }
        Ok(())
    }

    pub(crate) fn into_contributions(self) -> Contributions {
        self.0.into_values().collect()
    }
}

/// Gradients of a scalar (one element) with respect to every leaf it depends on.
///
/// The graph is consumed: saved values are freed on the way. Errors if nothing requires a gradient or the graph was used before.
pub fn backward(loss: &Var) -> Result<Gradients> {
    let one = Tensor::from_vec(vec![1.0f64; loss.value.count()], loss.dims())?.cast(loss.dtype())?;
    backward_from(loss, one.to_device(&loss.value.device())?)
}

/// The same from a given gradient of `value`.
pub(crate) fn backward_from(value: &Var, gradient: Tensor) -> Result<Gradients> {
    let root = value.node().ok_or(Error::NoGradient)?;
    let mut waiting = BTreeMap::from([(root.id, (root, gradient))]);
    let mut leaves = Gradients::default();
    // The youngest node first: all its children have been visited by then.
    while let Some((id, (node, g))) = waiting.pop_last() {
        let Some(rule) = &node.rule else {
            leaves.0.insert(id, (node, g));
            continue;
        };
        let rule = rule.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or(Error::UsedTwice)?;
        for (parent, part) in rule(&g)? {
            let sum = match waiting.remove(&parent.id) {
                Some((_, before)) => clinpeft_tensor::ops::add(&before, &part)?,
                None => part,
            };
            waiting.insert(parent.id, (parent, sum));
        }
    }
    Ok(leaves)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops;

    fn row(v: &[f64]) -> Tensor {
        Tensor::from_vec(v.to_vec(), &[1, v.len()]).unwrap()
    }

    #[test]
    fn value_used_twice_gets_both_gradients() {
        let x = Var::leaf(row(&[2.0]));
        let y = ops::add(&x, &x).unwrap();
        assert_eq!(backward(&y).unwrap().of(&x).unwrap().as_slice::<f64>().unwrap(), [2.0]);
    }

    #[test]
    fn gradient_of_another_shape_comes_back_in_the_old_one() {
        let x = Var::leaf(row(&[2.0, 3.0]));
        let y = x.reshape(&[2, 1]).unwrap().to_device(&Device::Cpu).unwrap();
        assert_eq!(y.dims(), [2, 1]);
        assert_eq!(backward(&y).unwrap().of(&x).unwrap().dims(), [1, 2]);
        assert!(x.reshape(&[3]).is_err());
    }

    /// A gated unit behind a frozen product: its loss, its gradient, and what a rule of it would keep.
    fn gated(precision: Precision) -> (Vec<f32>, Vec<f32>, DType) {
        let numbers = |n: usize| (0..n).map(|i| ((i * 37 + 11) % 97) as f32 / 97.0 - 0.5).collect::<Vec<f32>>();
        let x = Var::leaf(Tensor::from_vec(numbers(12), &[3, 4]).unwrap());
        let w = Tensor::from_vec(numbers(20), &[5, 4]).unwrap().with_precision(precision);
        let h = ops::linear(&x, &Var::constant(w)).unwrap();
        let kept = h.saved().unwrap();
        let y = ops::silu_mul(&h, &ops::scale(&h, 2.0).unwrap()).unwrap();
        let gradient = Tensor::from_vec(vec![1.0f32; 15], &[3, 5]).unwrap();
        let gradients = backward_from(&y, gradient).unwrap();
        let values = |t: &Tensor| t.as_slice::<f32>().unwrap().to_vec();
        (values(y.value()), values(gradients.of(&x).unwrap()), kept.dtype())
    }

    #[test]
    fn the_result_of_a_bf16_matmul_is_saved_in_bf16() {
        let (exact, exact_gradient, kept) = gated(Precision::StrictF32);
        assert_eq!(kept, DType::F32);
        let (rounded, gradient, kept) = gated(Precision::Bf16);
        assert_eq!(kept, DType::Bf16);
        for (exact, rounded) in exact.iter().chain(&exact_gradient).zip(rounded.iter().chain(&gradient)) {
            // Three roundings to eight bits.
            assert!((exact - rounded).abs() <= 0.012 * exact.abs() + 0.01, "{exact} {rounded}");
        }
    }

    #[test]
    fn one_bf16_copy_is_shared_by_all_rules_and_none_is_made_under_no_grad() {
        let x = Var::leaf(row(&[2.0, 3.0])).to_device(&Device::Cpu).unwrap();
        let x = Var { value: x.value.cast(DType::F32).unwrap(), ..x };
        let w = Var::constant(Tensor::from_vec(vec![1f32; 4], &[2, 2]).unwrap().with_precision(Precision::Bf16));
        let h = ops::linear(&x, &w).unwrap();
        let at = |t: &Tensor| t.as_slice::<half::bf16>().unwrap().as_ptr();
        assert_eq!(at(&h.saved().unwrap()), at(&h.clone().saved().unwrap()));
        let kept = no_grad(|| ops::linear(&x, &w).unwrap().saved().unwrap());
        assert_eq!(kept.dtype(), DType::F32);
    }

    #[test]
    fn constants_leave_nothing_on_the_tape() {
        let x = Var::constant(row(&[2.0]));
        let y = ops::add(&x, &x).unwrap();
        assert!(!y.requires_grad());
        assert!(matches!(backward(&y), Err(Error::NoGradient)));
    }

    #[test]
    fn second_walk_is_an_error() {
        let x = Var::leaf(row(&[2.0]));
        let y = ops::add(&x, &x).unwrap();
        backward(&y).unwrap();
        assert!(matches!(backward(&y), Err(Error::UsedTwice)));
    }

    #[test]
    fn no_grad_tracked_reports_operands_that_require_gradients() {
        let x = Var::leaf(row(&[2.0]));
        let (y, grad_seen) = no_grad_tracked(|| ops::add(&x, &x).unwrap());
        assert!(grad_seen && !y.requires_grad());
        let (_, grad_seen) = no_grad_tracked(|| ops::add(&y, &y).unwrap());
        assert!(!grad_seen);
        assert!(ops::add(&x, &x).unwrap().requires_grad());
    }
}
