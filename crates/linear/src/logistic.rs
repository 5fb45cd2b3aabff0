//! L2 logistic regression along a path of `C`.

use crate::error::{Error, Result};
use crate::objective::{Loss, Objective, Rows};
use crate::sparse::SparseMatrix;
use crate::weights::{LANES, Lane, Weights};
use argmin::core::{Executor, Gradient, State};
use argmin::solver::linesearch::MoreThuenteLineSearch;
use argmin::solver::quasinewton::LBFGS;
use argmin_math::ArgminL2Norm;
use std::cell::RefCell;
use std::cmp::Reverse;
use std::sync::atomic::{AtomicBool, Ordering};

/// Steps that L-BFGS remembers.
const MEMORY: usize = 5;

/// Norm of the gradient at the solution, as a share of that at zero weights.
const TOLERANCE: f64 = 1e-3;

/// Steps for one value of `C`.
const STEPS: u64 = 300;

/// What the rows are labelled with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Sets of labels, each of which is a problem of its own.
    OneVsRest {
        /// The labels of each row, below `count`.
        sets: Vec<Vec<u32>>,
        /// Number of labels.
        count: usize,
    },
    /// One class for each row, by a softmax over at most sixteen (scikit-learn's `multinomial`).
    Softmax {
        /// The class of each row, below `count`.
        classes: Vec<u32>,
        /// Number of classes.
        count: usize,
    },
}

impl Target {
    fn check(&self, rows: usize) -> Result<()> {
        let (found, count, highest) = match self {
            Target::OneVsRest { sets, count } => (sets.len(), *count, sets.iter().flatten().max()),
            Target::Softmax { classes, count } => (classes.len(), *count, classes.iter().max()),
        };
        let wrong = |what, found, limit, hint| Err(Error::Target { what, found, limit, hint });
        if found != rows || rows == 0 {
            return wrong("labelled rows", found, rows, "there must be a row, and a label for each");
        }
        if let (Target::Softmax { .. }, true) = (self, count > LANES) {
            return wrong("classes", count, LANES, "label sets may have more");
        }
        match highest {
            Some(highest) if *highest as usize >= count => {
                wrong("number of a label", *highest as usize, count.saturating_sub(1), "labels are numbered from 0")
            }
            _ => Ok(()),
        }
    }

    fn count(&self) -> usize {
        match self {
            Target::OneVsRest { count, .. } | Target::Softmax { count, .. } => *count,
        }
    }

    /// Outputs that are solved together, at most `most` in all: labels that are about as frequent need about as many steps.
    fn blocks(&self, most: usize) -> Vec<Vec<usize>> {
        match self {
            Target::Softmax { count, .. } => vec![(0..*count).collect()],
            Target::OneVsRest { sets, count } => {
                let mut positives = vec![0; *count];
                sets.iter().flatten().for_each(|label| positives[*label as usize] += 1);
                let mut order: Vec<usize> = (0..*count).collect();
                order.sort_by_key(|label| Reverse(positives[*label]));
                let kept = most.min(*count);
                let order: Vec<usize> = (0..kept).map(|place| order[place * count / kept]).collect();
                order.chunks(LANES).map(<[usize]>::to_vec).collect()
            }
        }
    }

    /// For each row the outputs of a block that it has, as bits.
    fn bits(&self, outputs: &[usize]) -> Vec<u16> {
        let mut places = vec![None; self.count()];
        outputs.iter().enumerate().for_each(|(place, output)| places[*output] = Some(place));
        let bits = |labels: &[u32]| labels.iter().filter_map(|l| places[*l as usize]).fold(0, |all, p| all | 1 << p);
        match self {
            Target::OneVsRest { sets, .. } => sets.iter().map(|labels| bits(labels)).collect(),
            Target::Softmax { classes, .. } => classes.iter().map(|class| bits(&[*class])).collect(),
        }
    }
}

/// A fitted model.
#[derive(Debug, Clone, PartialEq)]
pub struct LogisticRegression {
    features: usize,
    outputs: usize,
    blocks: Vec<Block>,
}

/// Outputs that are solved and applied together.
#[derive(Debug, Clone, PartialEq)]
struct Block {
    outputs: Vec<usize>,
    weights: Weights,
}

impl LogisticRegression {
    /// The model of given coefficients `[outputs, features]`, row-major, and intercepts `[outputs]`.
    ///
    /// # Errors
    /// They are not as many as they should be.
    pub fn from_parts(features: usize, coefficients: &[f32], intercepts: &[f32]) -> Result<LogisticRegression> {
        let (expected, outputs) = (features.saturating_mul(intercepts.len()), intercepts.len());
        if coefficients.len() != expected {
            return Err(Error::Shape { expected, found: coefficients.len() });
        }
        let all: Vec<usize> = (0..outputs).collect();
        let block = |outputs: &[usize]| {
            let mut weights = Weights::zeros(features);
            for (place, output) in outputs.iter().enumerate() {
                let row = &coefficients[output * features..(output + 1) * features];
                let row = row.iter().chain([&intercepts[*output]]);
                weights.lanes_mut().iter_mut().zip(row).for_each(|(lane, value)| lane.0[place] = *value);
            }
            Block { outputs: outputs.to_vec(), weights }
        };
        Ok(LogisticRegression { features, outputs, blocks: all.chunks(LANES).map(block).collect() })
    }

    /// Number of outputs: labels of a set, or classes.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The coefficients `[outputs, features]`, row-major.
    pub fn coefficients(&self) -> Vec<f32> {
        let mut all = vec![0.0; self.outputs * self.features];
        for (output, place, block) in self.places() {
            let row = &mut all[output * self.features..(output + 1) * self.features];
            row.iter_mut().zip(block.weights.lanes()).for_each(|(cell, lane)| *cell = lane.0[place]);
        }
        all
    }

    /// The intercepts `[outputs]`.
    pub fn intercepts(&self) -> Vec<f32> {
        let mut all = vec![0.0; self.outputs];
        self.places().for_each(|(output, place, block)| all[output] = block.weights.lanes()[self.features].0[place]);
        all
    }

    /// The logits of each row `[rows, outputs]`, row-major.
    pub fn decision_function(&self, x: &SparseMatrix) -> Vec<f32> {
        let mut all = vec![0.0; x.rows() * self.outputs];
        for block in &self.blocks {
            for (row, lane) in x.times(block.weights.lanes(), block.weights.lanes()[self.features]).iter().enumerate() {
                for (place, output) in block.outputs.iter().enumerate() {
                    all[row * self.outputs + output] = lane.0[place];
                }
            }
        }
        all
    }

    /// Each output with its block and its place there.
    fn places(&self) -> impl Iterator<Item = (usize, usize, &Block)> {
        self.blocks.iter().flat_map(|block| block.outputs.iter().enumerate().map(move |(place, o)| (*o, place, block)))
    }
}

/// Fits for one value of `C` after another; rising values are the fastest.
pub struct LogisticPath<'a> {
    x: &'a SparseMatrix,
    transposed: SparseMatrix,
    /// The mean of each column.
    means: Vec<f32>,
    target: &'a Target,
    stop: &'a AtomicBool,
    model: LogisticRegression,
    /// Norm of the gradient of each block at zero weights.
    scales: Vec<f64>,
    steps: u64,
}

impl<'a> LogisticPath<'a> {
    /// A path on these rows, from zero weights and the logits of the labels' frequencies. `stop` ends a fit.
    ///
    /// # Errors
    /// Rows and labels differ in number, or a label is not below their count.
    pub fn new(x: &'a SparseMatrix, target: &'a Target, stop: &'a AtomicBool) -> Result<LogisticPath<'a>> {
        LogisticPath::of_labels(x, target, usize::MAX, stop)
    }

    /// As [`LogisticPath::new`] for at most `most` of a set's labels, frequent and rare ones alike; the logits of the others are 0.
    ///
    /// What holds for all labels, such as the best `C`, can be chosen on some at a fraction of the time.
    ///
    /// # Errors
    /// As [`LogisticPath::new`].
    pub fn of_labels(
        x: &'a SparseMatrix,
        target: &'a Target,
        most: usize,
        stop: &'a AtomicBool,
    ) -> Result<LogisticPath<'a>> {
        target.check(x.rows())?;
        let blocks = target.blocks(most).into_iter().map(|outputs| {
            let mut weights = Weights::zeros(x.columns());
            weights.lanes_mut()[x.columns()] = first_intercepts(target, &target.bits(&outputs), outputs.len());
            Block { outputs, weights }
        });
        let model = LogisticRegression { features: x.columns(), outputs: target.count(), blocks: blocks.collect() };
        let transposed = x.transposed();
        let means = transposed.means_of_rows();
        Ok(LogisticPath { x, transposed, means, target, stop, model, scales: Vec::new(), steps: 0 })
    }

    /// Fits with the inverse strength `c` of the regularisation (scikit-learn's `C`), from the solution before.
    ///
    /// # Errors
    /// `c` is no positive number, the solver gives up, or the fit is to stop.
    pub fn fit(&mut self, c: f64) -> Result<()> {
        if !(c.is_finite() && c > 0.0) {
            return Err(Error::Strength(c));
        }
        for i in 0..self.model.blocks.len() {
            let Block { outputs, weights } = &mut self.model.blocks[i];
            let y = self.target.bits(outputs);
            let rows = Rows {
                x: self.x,
                transposed: &self.transposed,
                means: &self.means,
                loss: match self.target {
                    Target::OneVsRest { .. } => Loss::OneVsRest,
                    Target::Softmax { .. } => Loss::Softmax,
                },
                outputs: outputs.len(),
                y: &y,
                stop: self.stop,
            };
            let objective = Objective { rows, penalty: 1.0 / (c * y.len() as f64), last: RefCell::new(None) };
            let start = rows.variables(std::mem::replace(weights, Weights::zeros(0)));
            if self.scales.len() == i {
                self.scales.push(objective.gradient(&start).map_err(|e| solver(&e, self.stop))?.l2_norm());
            }
            let (found, steps) = minimise(objective, start, TOLERANCE * self.scales[i], self.stop)?;
            *weights = rows.model(found);
            self.steps += steps;
        }
        Ok(())
    }

    /// The solution of the last fit.
    pub fn model(&self) -> &LogisticRegression {
        &self.model
    }

    /// The same, without the rest of the path.
    pub fn into_model(self) -> LogisticRegression {
        self.model
    }

    /// Steps of the solver, over all fits.
    pub fn steps(&self) -> u64 {
        self.steps
    }
}

/// Logits of how frequent each output is; of an output that no row has as if half a row had it. Those of a softmax have the mean 0.
fn first_intercepts(target: &Target, y: &[u16], outputs: usize) -> Lane {
    let n = y.len() as f64;
    let mut logits: Vec<f64> = (0..outputs)
        .map(|i| {
            let positives = y.iter().filter(|y| **y >> i & 1 == 1).count() as f64;
            let share = (positives.max(0.5) / n).min(1.0 - 0.5 / n);
            match target {
                Target::OneVsRest { .. } => (share / (1.0 - share)).ln(),
                Target::Softmax { .. } => share.ln(),
            }
        })
        .collect();
    if let Target::Softmax { .. } = target {
        let mean = logits.iter().sum::<f64>() / outputs as f64;
        logits.iter_mut().for_each(|logit| *logit -= mean);
    }
    let mut lane = Lane::ZERO;
    lane.0.iter_mut().zip(logits).for_each(|(cell, logit)| *cell = logit as f32);
    lane
}

fn minimise(objective: Objective<'_>, start: Weights, tolerance: f64, stop: &AtomicBool) -> Result<(Weights, u64)> {
    let solver_of = || LBFGS::new(MoreThuenteLineSearch::new(), MEMORY).with_tolerance_grad(tolerance);
    let run = || {
        let executor = Executor::new(objective, solver_of()?).configure(|state| state.param(start).max_iters(STEPS));
        executor.timer(false).run()
    };
    let mut state = run().map_err(|e| solver(&e, stop))?.state;
    if stop.load(Ordering::Relaxed) {
        return Err(Error::Stopped);
    }
    let steps = state.get_iter();
    let best = state.take_best_param();
    Ok((best.ok_or_else(|| Error::Solver("it took no step".into()))?, steps))
}

fn solver(error: &argmin::core::Error, stop: &AtomicBool) -> Error {
    if stop.load(Ordering::Relaxed) { Error::Stopped } else { Error::Solver(error.to_string()) }
}
