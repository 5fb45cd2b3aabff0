//! The loss of sixteen outputs, as a problem of `argmin`:
//!
//! ```text
//! f(W, a) = 1/n sum over rows of the loss of (X - mean of X) W + s a  +  |W|^2 / (2 C n)
//! loss      one versus rest: sum over labels of ln(1 + e^z) - y z        softmax: ln(sum of e^z) - z of the class
//! ```
//!
//! The solution has the intercepts `b = s a - mean W`. Centred columns and the scale `s` = [`SCALE`] change the solution by nothing and
//! the number of steps by much: without them each output has two directions far steeper than all others.

use crate::error::Error;
use crate::sparse::SparseMatrix;
use crate::weights::{LANES, Lane, Weights};
use argmin::core::{CostFunction, Gradient};
use rayon::prelude::*;
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};

/// Rows, or columns, of one task.
const TASK: usize = 256;

/// Intercepts are this share of their variables, so that both kinds of variables have about the same curvature.
const SCALE: f64 = 0.05;

/// What is summed over the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    OneVsRest,
    Softmax,
}

/// One problem: up to sixteen outputs that share the rows.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) x: &'a SparseMatrix,
    /// The same by columns.
    pub(crate) transposed: &'a SparseMatrix,
    /// The mean of each column.
    pub(crate) means: &'a [f32],
    pub(crate) loss: Loss,
    /// Outputs that are used; the other lanes stay at zero.
    pub(crate) outputs: usize,
    /// For each row a bit for each output that it has.
    pub(crate) y: &'a [u16],
    pub(crate) stop: &'a AtomicBool,
}

/// [`Rows`] at one strength of the regularisation.
pub(crate) struct Objective<'a> {
    pub(crate) rows: Rows<'a>,
    /// 1 / (C n).
    pub(crate) penalty: f64,
    /// Where it was evaluated last, for cost and gradient are asked for one after the other.
    pub(crate) last: RefCell<Option<Evaluated>>,
}

pub(crate) struct Evaluated {
    at: Weights,
    cost: f64,
    /// Derivative of the mean loss by the outputs of each row.
    residuals: Vec<Lane>,
}

impl Rows<'_> {
    /// Weights and intercepts of a model as variables.
    pub(crate) fn variables(&self, mut model: Weights) -> Weights {
        let shift = model.at(self.means);
        let b = &mut model.lanes_mut()[self.means.len()].0;
        *b = std::array::from_fn(|i| ((f64::from(b[i]) + shift[i]) / SCALE) as f32);
        model
    }

    /// The weights and intercepts of a model that variables stand for.
    pub(crate) fn model(&self, mut variables: Weights) -> Weights {
        let b = self.intercepts(&variables);
        variables.lanes_mut()[self.means.len()] = b;
        variables
    }

    fn intercepts(&self, variables: &Weights) -> Lane {
        let (shift, a) = (variables.at(self.means), variables.lanes()[self.means.len()].0);
        Lane(std::array::from_fn(|i| (f64::from(a[i]) * SCALE - shift[i]) as f32))
    }
}

impl Objective<'_> {
    fn evaluate(&self, at: &Weights) -> Result<(), argmin::core::Error> {
        let rows = self.rows;
        if rows.stop.load(Ordering::Relaxed) {
            return Err(Error::Stopped.into());
        }
        if self.last.borrow().as_ref().is_some_and(|last| last.at == *at) {
            return Ok(());
        }
        let mut residuals = rows.x.times(at.lanes(), rows.intercepts(at));
        let scale = 1.0 / rows.y.len() as f64;
        let tasks = residuals.par_chunks_mut(TASK).zip(rows.y.par_chunks(TASK));
        let one = |z: &mut Lane, y: u16| match rows.loss {
            Loss::OneVsRest => one_vs_rest(z, y, rows.outputs, scale),
            Loss::Softmax => softmax(z, y, rows.outputs, scale),
        };
        let losses: Vec<f64> = tasks.map(|(z, y)| z.iter_mut().zip(y).map(|(z, y)| one(z, *y)).sum::<f64>()).collect();
        let free: f64 = at.lanes()[rows.means.len()].0.iter().map(|a| f64::from(*a).powi(2)).sum();
        let squares = at.sum(at, |a, b| a * b) - free;
        let cost = losses.iter().sum::<f64>() * scale + 0.5 * self.penalty * squares;
        *self.last.borrow_mut() = Some(Evaluated { at: at.clone(), cost, residuals });
        Ok(())
    }
}

impl CostFunction for Objective<'_> {
    type Param = Weights;
    type Output = f64;

    fn cost(&self, at: &Weights) -> Result<f64, argmin::core::Error> {
        self.evaluate(at)?;
        Ok(self.last.borrow().as_ref().map_or(f64::NAN, |last| last.cost))
    }
}

impl Gradient for Objective<'_> {
    type Param = Weights;
    type Gradient = Weights;

    fn gradient(&self, at: &Weights) -> Result<Weights, argmin::core::Error> {
        self.evaluate(at)?;
        let last = self.last.borrow();
        let residuals = last.as_ref().map_or(&[][..], |last| &last.residuals);
        let mut sums = [0.0; LANES];
        for lane in residuals {
            sums.iter_mut().zip(lane.0).for_each(|(sum, value)| *sum += f64::from(value));
        }
        let (rows, penalty) = (self.rows, self.penalty);
        let weight = |(feature, (at, mean)): (usize, (&Lane, &f32))| {
            let start = |i: usize| f64::from(at.0[i]) * penalty - f64::from(*mean) * sums[i];
            let mut lane = Lane(std::array::from_fn(|i| start(i) as f32));
            rows.transposed.accumulate(feature, residuals, &mut lane);
            lane
        };
        let lanes = at.lanes().par_iter().with_min_len(TASK).zip(rows.means).enumerate();
        let mut gradient: Vec<Lane> = Vec::with_capacity(at.lanes().len());
        gradient.par_extend(lanes.map(weight));
        gradient.push(Lane(sums.map(|sum| (sum * SCALE) as f32)));
        Ok(Weights::from(gradient))
    }
}

/// The loss of a row, whose outputs are replaced by its derivatives times `scale`.
fn one_vs_rest(z: &mut Lane, y: u16, outputs: usize, scale: f64) -> f64 {
    let mut loss = 0.0;
    for (i, z) in z.0.iter_mut().enumerate() {
        if i >= outputs {
            *z = 0.0;
            continue;
        }
        let (value, known) = (f64::from(*z), y >> i & 1 == 1);
        let small = (-value.abs()).exp();
        let probability = if value < 0.0 { small / (1.0 + small) } else { 1.0 / (1.0 + small) };
        let target = f64::from(u8::from(known));
        loss += value.max(0.0) + small.ln_1p() - target * value;
        *z = ((probability - target) * scale) as f32;
    }
    loss
}

fn softmax(z: &mut Lane, y: u16, outputs: usize, scale: f64) -> f64 {
    let all = z.0.map(f64::from);
    let most = all[..outputs].iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = all[..outputs].iter().map(|z| (z - most).exp()).sum();
    let mut loss = most + sum.ln();
    for (i, z) in z.0.iter_mut().enumerate() {
        let target = f64::from(y >> i & 1);
        let probability = if i < outputs { (all[i] - most).exp() / sum } else { 0.0 };
        loss -= target * all[i];
        *z = ((probability - target) * scale) as f32;
    }
    loss
}
