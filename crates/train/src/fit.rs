//! The training loop.

use crate::state::{self, State};
use crate::{Error, Event, EventLog, Objective, Optimiser, OptimiserSettings, OptimiserStep, Rate, Result, Schedule};
use clinpeft_autodiff::{Gradients, Norm, backward, ops};
use clinpeft_nn::{Memory, Pass};
use clinpeft_peft::{Squares, Status, StepValues, Stepped, status_table};
use clinpeft_rng::Seed;
use clinpeft_tensor::Tensor;
use clinpeft_weights::TensorMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Which epoch's parameters are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Selection {
    /// The last one.
    LastEpoch,
    /// The one with the best validation score (the first of equal ones).
    BestValidation,
}

/// Where the summed loss of a step is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Division {
    /// Once, by what the whole step holds: accumulation equals one large batch.
    WholeStep,
    /// In each micro-batch by what that one holds, then by the number of micro-batches of a full step, which makes an
    /// incomplete last step smaller; as the published code.
    MicroBatch {
        /// Micro-batches of a full step.
        full: usize,
    },
}

/// How to train.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Highest learning rate.
    pub learning_rate: f64,
    /// How the rate moves.
    pub rate: Rate,
    /// Where a loss is divided.
    pub division: Division,
    /// AdamW and clipping.
    pub optimiser: OptimiserSettings,
    /// Which epoch is kept.
    pub selection: Selection,
    /// Stop after so many epochs without a better score.
    pub patience: Option<u64>,
    /// What is kept for the backward pass.
    pub memory: Memory,
    /// Seed of the run; dropout draws from it.
    pub seed: Seed,
    /// Steps between two step events.
    pub log_every: u64,
    /// Time between two checkpoints.
    pub checkpoint_every: Duration,
}

/// Rows of every micro-batch: epoch -> step -> micro-batch -> rows. The same at every start of a run.
pub type Plan = Vec<Vec<Vec<Vec<usize>>>>;

/// What a validation says.
#[derive(Debug, Clone, Default)]
pub struct Validation {
    /// Larger is better.
    pub score: f64,
    /// Other figures for the log.
    pub metrics: BTreeMap<String, f64>,
}

/// How the loop ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// False if it was told to stop; the checkpoint holds the state.
    pub finished: bool,
    /// The epoch whose parameters are in the objective now, from 1.
    pub epoch: u64,
    /// Its validation score.
    pub score: Option<f64>,
    /// Optimiser steps done.
    pub steps: u64,
    /// Tokens run.
    pub tokens: u64,
    /// Seconds of training over all starts.
    pub seconds: f64,
    /// Loss of the last step.
    pub last_loss: f64,
}

/// Where the loop reads and writes, and whom it tells.
pub struct Fit<'a, O> {
    /// The batches.
    pub plan: &'a Plan,
    /// How to train.
    pub settings: Settings,
    /// The checkpoint file.
    pub checkpoint: &'a Path,
    /// The event file.
    pub events: &'a Path,
    /// Scores the state after an epoch; `None` where there is no validation.
    #[allow(clippy::type_complexity, reason = "a callback with its borrowed state")]
    pub validate: Option<&'a mut dyn FnMut(&O) -> Result<Validation>>,
    /// Told of every event.
    pub observe: &'a mut dyn FnMut(&Event, u64),
    /// Set from outside to stop with a checkpoint.
    pub stop: &'a AtomicBool,
}

/// Trains `objective`, from its checkpoint if there is one. At the end its parameters are those of the selected epoch.
pub fn fit<'a, O: Objective>(objective: &'a mut O, run: Fit<'a, O>) -> Result<Outcome> {
    Loop::start(objective, run)?.run()
}

/// What stands before the state of the adapters among the best parameters.
const STACK: &str = "(stack) ";

struct Loop<'a, O> {
    objective: &'a mut O,
    run: Fit<'a, O>,
    optimiser: Optimiser,
    schedule: Schedule,
    log: EventLog,
    state: State,
    best: TensorMap,
    total: u64,
    started: Instant,
    before: f64,
    saved: Instant,
}

impl<'a, O: Objective> Loop<'a, O> {
    fn start(objective: &'a mut O, run: Fit<'a, O>) -> Result<Loop<'a, O>> {
        let total: u64 = run.plan.iter().map(|e| e.len() as u64).sum();
        if objective.parameters().is_empty() || total == 0 {
            return Err(Error::Settings("there is nothing to learn, or nothing to learn from".into()));
        }
        let micro = run.plan.iter().flatten().map(|step| step.len() as u64).sum();
        let schedule = Schedule::new(run.settings.learning_rate, run.settings.rate, total, micro)?;
        let mut optimiser = Optimiser::new(run.settings.optimiser);
        let (state, best) = if run.checkpoint.exists() {
            state::read(run.checkpoint, objective, &mut optimiser)?
        } else {
            (State::default(), TensorMap::new())
        };
        let log = EventLog::open(run.events, state.lines)?;
        let now = Instant::now();
        let before = state.seconds;
        Ok(Loop { objective, run, optimiser, schedule, log, state, best, total, started: now, before, saved: now })
    }

    fn run(mut self) -> Result<Outcome> {
        if self.state.step == 0 {
            let rows = self.objective.status(None);
            self.tell(status_event(0, &rows))?;
        }
        let mut first = 0;
        let plan = self.run.plan;
        for (epoch, steps) in plan.iter().enumerate() {
            for (i, micro) in steps.iter().enumerate() {
                let number = first + i as u64;
                if number < self.state.step {
                    continue;
                }
                if self.run.stop.load(Ordering::Relaxed) {
                    self.save()?;
                    return Ok(self.outcome(false));
                }
                self.step(OptimiserStep(number), micro)?;
                if self.saved.elapsed() >= self.run.settings.checkpoint_every {
                    self.save()?;
                }
            }
            first += steps.len() as u64;
            if self.state.step == first && self.state.validated == epoch as u64 {
                self.end_of_epoch(epoch as u64 + 1)?;
            }
            if self.out_of_patience(epoch as u64 + 1) {
                break;
            }
        }
        if self.run.settings.selection == Selection::BestValidation && !self.best.is_empty() {
            for (name, p) in self.objective.parameters_mut() {
                let value = self.best.get(&name).cloned();
                let value = value.ok_or_else(|| Error::Checkpoint(format!("best epoch lacks `{name}`")))?;
                // That of a checkpoint comes from the CPU.
                p.set_value(value.to_device(&p.value().device())?);
            }
            let adapters = self.best.iter();
            let adapters = adapters.filter_map(|(name, t)| Some((name.strip_prefix(STACK)?.to_string(), t.clone())));
            self.objective.stack_mut().set_state(&adapters.collect())?;
        }
        Ok(self.outcome(true))
    }

    /// The losses of the parts of a step, each `[1]`, and the gradients of their sum.
    fn gradients(&mut self, step: OptimiserStep, micro: &[Vec<usize>]) -> Result<(Vec<Tensor>, Gradients)> {
        let divisor: f64 = micro.iter().map(|rows| self.objective.denominator(rows)).sum();
        if divisor <= 0.0 {
            return Err(Error::Settings(format!("step {} has nothing to predict", step.0)));
        }
        let seed = self.run.settings.seed.part(&format!("step {}", step.0));
        let mut gradients = Gradients::default();
        let mut losses: Vec<Tensor> = Vec::new();
        for (i, rows) in micro.iter().enumerate() {
            let pass = Pass::train(seed.part(&format!("micro-batch {i}")), self.run.settings.memory);
            let part = self.objective.loss(rows, &pass)?;
            let divisor = match self.run.settings.division {
                Division::WholeStep => divisor,
                Division::MicroBatch { full } => self.objective.denominator(rows) * full.max(1) as f64,
            };
            let mean = ops::scale(&part.loss, 1.0 / divisor)?;
            losses.push(mean.value().clone());
            self.state.tokens += part.tokens;
            gradients.add(backward(&mean)?)?;
        }
        if let Some(extra) = self.objective.stack().extra_loss()? {
            losses.push(extra.value().clone());
            gradients.add(backward(&extra)?)?;
        }
        Ok((losses, gradients))
    }

    fn step(&mut self, step: OptimiserStep, micro: &[Vec<usize>]) -> Result<()> {
        let (losses, gradients) = self.gradients(step, micro)?;
        let number = step.0 + 1;
        let log_now = number.is_multiple_of(self.run.settings.log_every.max(1)) || number == self.total;
        let norms = if log_now || step.0 == 0 || self.run.settings.optimiser.clip.is_some() {
            self.norms(&gradients)?
        } else {
            Vec::new()
        };
        let made = clinpeft_peft::Step { number, total: self.total };
        let rate = self.schedule.rate(step);
        let watched = self.objective.stack().watched(made).into_iter();
        let watched: BTreeMap<String, Tensor> =
            watched.filter_map(|(name, p)| Some((name, gradients.of(p.var())?.clone()))).collect();
        let measured = norms.iter().map(|(_, norm)| norm);
        self.optimiser.step_measured(self.objective.parameters_mut(), &gradients, measured, rate)?;
        let read = self.read(losses, norms, watched)?;
        let loss = read.loss;
        if !loss.is_finite() {
            return Err(Error::NotFinite { step: step.0, loss });
        }
        if step.0 == 0 {
            self.objective.check_gradients(&read.squares)?;
            let rows = self.objective.status(Some(&read.squares));
            self.tell(status_event(1, &rows))?;
        }
        self.objective.stack_mut().after_step(made, &read.watched)?;
        self.state.step = number;
        self.state.last_loss = loss;
        self.state.epoch_loss.0 += loss;
        self.state.epoch_loss.1 += 1;
        if log_now {
            let (tokens, gradient_norms) = (self.state.tokens, norms_of(&self.objective.status(Some(&read.squares))));
            self.tell(Event::Step { step: number, loss, learning_rate: rate, tokens, gradient_norms })?;
        }
        Ok(())
    }

    /// The norm of the gradient of each parameter that has one.
    fn norms(&self, gradients: &Gradients) -> Result<Vec<(String, Norm)>> {
        let mut all = Vec::new();
        for (name, p) in self.objective.parameters() {
            all.extend(gradients.norm(p.var())?.map(|norm| (name, norm)));
        }
        Ok(all)
    }

    /// What a step has to say, once it was made. It is the one reading of a step: a device has all of its work by now.
    fn read(&self, losses: Vec<Tensor>, norms: Vec<(String, Norm)>, watched: BTreeMap<String, Tensor>) -> Result<Read> {
        // What is watched has a gradient, so it is among what learns.
        let values = self.objective.stack().trainable().into_iter();
        let values: BTreeMap<String, &Tensor> = values.map(|(name, p)| (name, p.value())).collect();
        let mut wanted: Vec<&Tensor> = losses.iter().collect();
        wanted.extend(norms.iter().filter_map(|(_, norm)| match norm {
            Norm::Unread(norm) => Some(norm),
            Norm::Square(_) => None,
        }));
        wanted.extend(watched.iter().flat_map(|(name, gradient)| [values[name], gradient]));
        let mut read = Tensor::all_to_cpu(&wanted)?.into_iter();
        let mut next = || read.next().expect("as many as were asked for");
        let mut loss = 0.0;
        for _ in 0..losses.len() {
            loss += next().item()?;
        }
        let mut squares = Squares::new();
        for (name, norm) in norms {
            let square = match norm {
                Norm::Square(square) => square,
                Norm::Unread(_) => next().item()?.powi(2),
            };
            squares.insert(name, square);
        }
        let watched = watched.into_keys().map(|name| (name, Stepped { value: next(), gradient: next() })).collect();
        Ok(Read { loss, squares, watched })
    }

    fn end_of_epoch(&mut self, epoch: u64) -> Result<()> {
        let validation = match &mut self.run.validate {
            Some(validate) => Some(validate(self.objective)?),
            None => None,
        };
        let score = validation.as_ref().map(|v| v.score);
        let better = |s: f64| self.state.best.is_none_or(|(_, best)| s > best);
        if score.is_some_and(better) {
            self.state.best = score.map(|s| (epoch, s));
            let now = self.objective.parameters().into_iter().map(|(name, p)| (name, p.value().clone()));
            self.best = now.collect();
            let adapters = self.objective.stack().state()?;
            self.best.extend(adapters.into_iter().map(|(name, t)| (format!("{STACK}{name}"), t)));
        }
        self.state.validated = epoch;
        let loss = self.state.epoch_loss.0 / self.state.epoch_loss.1.max(1) as f64;
        self.state.epoch_loss = (0.0, 0);
        let metrics = validation.map(|v| v.metrics).unwrap_or_default();
        self.tell(Event::Epoch { epoch, step: self.state.step, loss, score, metrics })?;
        self.save()
    }

    fn out_of_patience(&self, epoch: u64) -> bool {
        match (self.run.settings.patience, self.state.best) {
            (Some(patience), Some((best, _))) => epoch >= best + patience && self.state.validated >= epoch,
            _ => false,
        }
    }

    fn tell(&mut self, event: Event) -> Result<()> {
        self.log.write(&event)?;
        (self.run.observe)(&event, self.total);
        Ok(())
    }

    fn save(&mut self) -> Result<()> {
        self.state.lines = self.log.lines();
        self.state.seconds = self.before + self.started.elapsed().as_secs_f64();
        state::write(self.run.checkpoint, &self.state, self.objective, &self.optimiser, &self.best)?;
        self.saved = Instant::now();
        Ok(())
    }

    fn outcome(&self, finished: bool) -> Outcome {
        let best = self.state.best.filter(|_| self.run.settings.selection == Selection::BestValidation);
        Outcome {
            finished,
            epoch: best.map_or(self.state.validated, |b| b.0),
            score: best.map(|b| b.1),
            steps: self.state.step,
            tokens: self.state.tokens,
            seconds: self.before + self.started.elapsed().as_secs_f64(),
            last_loss: self.state.last_loss,
        }
    }
}

/// What is read of a step.
struct Read {
    loss: f64,
    squares: Squares,
    watched: StepValues,
}

fn norms_of(rows: &[Status]) -> BTreeMap<String, f64> {
    rows.iter().filter_map(|r| Some((r.name.clone(), r.gradient_norm?))).collect()
}

fn status_event(step: u64, rows: &[Status]) -> Event {
    Event::Status { step, table: status_table(rows), gradient_norms: norms_of(rows) }
}
