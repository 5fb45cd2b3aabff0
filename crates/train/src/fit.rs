//! The training loop.

use crate::plan::Step;
use crate::state::{self, Exact, State};
use crate::{
    Division, Error, Event, EventLog, Objective, Optimizer, OptimizerStep, Plan, Rate, Result, Schedule, Selection,
    Settings,
};
use clinpeft_autodiff::{Gradients, Norm, backward, ops};
use clinpeft_nn::ForwardCtx;
use clinpeft_peft::{Squares, Status, StepValues, Stepped, status_table};
use clinpeft_tensor::Tensor;
use clinpeft_weights::TensorMap;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

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
    /// Optimizer steps done.
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
    /// Scores the state after an epoch; `None` where there is no validation. One that ends with [`Error::Stopped`] was told to
    /// stop: the epoch has not ended then, and a resumed run begins with the whole validation.
    #[allow(clippy::type_complexity, reason = "a callback with its borrowed state")]
    pub validate: Option<&'a mut dyn FnMut(&O) -> Result<Validation>>,
    /// Told of every event.
    pub observe: &'a mut dyn FnMut(&Event, u64),
    /// Set from outside to stop with a checkpoint, within one micro-batch.
    pub stop: &'a AtomicBool,
}

/// Trains `objective`, from its checkpoint if there is one. At the end its parameters are those of the selected epoch.
///
/// Errors with [`Error::Damaged`] if the checkpoint or the event file is not as it was written; without both, the run begins
/// anew.
pub fn fit<'a, O: Objective>(objective: &'a mut O, run: Fit<'a, O>) -> Result<Outcome> {
    Loop::start(objective, run)?.run()
}

/// What stands before the state of the adapters among the best parameters.
const STACK: &str = "(stack) ";

struct Loop<'a, O> {
    objective: &'a mut O,
    run: Fit<'a, O>,
    optimizer: Optimizer,
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
        run.settings.check()?;
        if objective.parameters().is_empty() {
            return Err(Error::Settings("there is nothing to learn\nhint: let an adapter or the head learn".into()));
        }
        let (total, rate) = (run.plan.steps(), run.settings.rate);
        let micro = if rate == Rate::Published { run.plan.micro_batches()? } else { total };
        let schedule = Schedule::new(run.settings.learning_rate, rate, total, micro)?;
        let mut optimizer = Optimizer::new(run.settings.optimizer);
        let (state, best) = if run.checkpoint.exists() {
            state::read(run.checkpoint, objective, &mut optimizer)?
        } else {
            (State::default(), TensorMap::new())
        };
        let done = state.validated.saturating_mul(run.plan.steps_per_epoch());
        let end = done.saturating_add(run.plan.steps_per_epoch()).min(total);
        if !(done..=end).contains(&state.step) {
            return Err(Error::Checkpoint("belongs to a run with other batches".into()));
        }
        let log = EventLog::open(run.events, state.lines)?;
        let now = Instant::now();
        let before = state.seconds.0;
        Ok(Loop { objective, run, optimizer, schedule, log, state, best, total, started: now, before, saved: now })
    }

    fn run(mut self) -> Result<Outcome> {
        if self.log.lines() == 0 {
            let rows = self.objective.status(None);
            self.tell(status_event(0, &rows))?;
        }
        while self.state.validated < self.run.plan.epochs() && !self.out_of_patience() {
            if self.epoch()? == Went::Stopped {
                self.save()?;
                return Ok(self.outcome(false));
            }
        }
        if self.run.settings.selection == Selection::BestValidation && !self.best.is_empty() {
            self.take_best()?;
        }
        Ok(self.outcome(true))
    }

    /// The rest of the running epoch, and its end.
    fn epoch(&mut self) -> Result<Went> {
        let (epoch, plan) = (self.state.validated, self.run.plan);
        let first = epoch * plan.steps_per_epoch();
        for (number, micro) in (first..).zip(plan.epoch(epoch)?) {
            if number < self.state.step {
                continue;
            }
            if self.step(OptimizerStep(number), &micro)? == Went::Stopped {
                return Ok(Went::Stopped);
            }
            if self.saved.elapsed() >= self.run.settings.checkpoint_every {
                self.save()?;
            }
        }
        self.end_of_epoch(epoch + 1)
    }

    fn take_best(&mut self) -> Result<()> {
        for (name, p) in self.objective.parameters_mut() {
            let value = self.best.get(&name).filter(|v| v.dims() == p.value().dims());
            let value = value.ok_or_else(|| Error::Checkpoint(format!("best epoch lacks `{name}`")))?;
            // That of a checkpoint comes from the CPU.
            p.set_value(value.to_device(&p.value().device())?);
        }
        let adapters = self.best.iter();
        let adapters = adapters.filter_map(|(name, t)| Some((name.strip_prefix(STACK)?.to_string(), t.clone())));
        Ok(self.objective.stack_mut().set_state(&adapters.collect())?)
    }

    /// What the micro-batches of a step give; `None` if it was told to stop between them.
    fn gather(&self, step: OptimizerStep, micro: &Step) -> Result<Option<Gathered>> {
        let divisor: f64 = micro.iter().map(|rows| self.objective.denominator(rows)).sum();
        if divisor <= 0.0 {
            return Err(Error::Settings(format!("step {} has nothing to predict", step.0)));
        }
        let seed = self.run.settings.seed.part(&format!("step {}", step.0));
        let mut all = Gathered::default();
        for (i, rows) in micro.iter().enumerate() {
            if self.run.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let ctx = ForwardCtx::train(seed.part(&format!("micro-batch {i}")), self.run.settings.memory);
            let part = self.objective.loss(rows, &ctx)?;
            let divisor = match self.run.settings.division {
                Division::WholeStep => divisor,
                Division::MicroBatch { full } => self.objective.denominator(rows) * full.max(1) as f64,
            };
            let mean = ops::scale(&part.loss, 1.0 / divisor)?;
            all.losses.push(mean.value().clone());
            all.tokens += part.tokens;
            all.gradients.add(backward(&mean)?)?;
        }
        if let Some(extra) = self.objective.stack().extra_loss()? {
            all.losses.push(extra.value().clone());
            all.gradients.add(backward(&extra)?)?;
        }
        Ok(Some(all))
    }

    fn step(&mut self, step: OptimizerStep, micro: &Step) -> Result<Went> {
        let Some(Gathered { losses, gradients, tokens }) = self.gather(step, micro)? else {
            return Ok(Went::Stopped);
        };
        self.state.tokens += tokens;
        let number = step.0 + 1;
        let log_now = number.is_multiple_of(self.run.settings.log_every.max(1)) || number == self.total;
        let norms = if log_now || step.0 == 0 || self.run.settings.optimizer.clip.is_some() {
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
        self.optimizer.step_measured(self.objective.parameters_mut(), &gradients, measured, rate)?;
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
        self.state.last_loss = Exact(loss);
        self.state.epoch_loss.0.0 += loss;
        self.state.epoch_loss.1 += 1;
        if log_now {
            let (tokens, gradient_norms) = (self.state.tokens, norms_of(&self.objective.status(Some(&read.squares))));
            self.tell(Event::Step { step: number, loss, learning_rate: rate, tokens, gradient_norms })?;
        }
        Ok(Went::On)
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

    fn end_of_epoch(&mut self, epoch: u64) -> Result<Went> {
        let validation = match &mut self.run.validate {
            Some(validate) => match validate(self.objective) {
                Err(Error::Stopped) => return Ok(Went::Stopped),
                other => Some(other?),
            },
            None => None,
        };
        let score = validation.as_ref().map(|v| v.score);
        if score.is_some_and(f64::is_nan) {
            return Err(Error::Evaluation(format!(
                "the score of epoch {epoch} is not a number\nhint: lower the learning rate"
            )));
        }
        let better = |s: f64| self.state.best.is_none_or(|(_, Exact(best))| s > best);
        if score.is_some_and(better) {
            self.state.best = score.map(|s| (epoch, Exact(s)));
            let now = self.objective.parameters().into_iter().map(|(name, p)| (name, p.value().clone()));
            self.best = now.collect();
            let adapters = self.objective.stack().state()?;
            self.best.extend(adapters.into_iter().map(|(name, t)| (format!("{STACK}{name}"), t)));
        }
        self.state.validated = epoch;
        let loss = self.state.epoch_loss.0.0 / self.state.epoch_loss.1.max(1) as f64;
        self.state.epoch_loss = (Exact(0.0), 0);
        let metrics = validation.map(|v| v.metrics).unwrap_or_default();
        self.tell(Event::Epoch { epoch, step: self.state.step, loss, score, metrics })?;
        self.save()?;
        Ok(Went::On)
    }

    fn out_of_patience(&self) -> bool {
        match (self.run.settings.patience, self.state.best) {
            (Some(patience), Some((best, _))) => self.state.validated >= best.saturating_add(patience),
            _ => false,
        }
    }

    fn tell(&mut self, event: Event) -> Result<()> {
        self.log.write(&event)?;
        (self.run.observe)(&event, self.total);
        Ok(())
    }

    fn save(&mut self) -> Result<()> {
        self.log.flush()?;
        self.state.lines = self.log.lines();
        self.state.seconds = Exact(self.before + self.started.elapsed().as_secs_f64());
        state::write(self.run.checkpoint, &self.state, self.objective, &self.optimizer, &self.best)?;
        self.saved = Instant::now();
        Ok(())
    }

    fn outcome(&self, finished: bool) -> Outcome {
        let best = self.state.best.filter(|_| self.run.settings.selection == Selection::BestValidation);
        Outcome {
            finished,
            epoch: best.map_or(self.state.validated, |b| b.0),
            score: best.map(|b| b.1.0),
            steps: self.state.step,
            tokens: self.state.tokens,
            seconds: self.before + self.started.elapsed().as_secs_f64(),
            last_loss: self.state.last_loss.0,
        }
    }
}

/// Whether the loop goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Went {
    On,
    Stopped,
}

/// What the micro-batches of a step give.
#[derive(Default)]
struct Gathered {
    /// The losses of its parts, each `[1]`.
    losses: Vec<Tensor>,
    /// Of their sum.
    gradients: Gradients,
    tokens: u64,
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
