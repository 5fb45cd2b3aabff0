//! The training loop.

use crate::batch_schedule::MicroBatches;
use crate::state::{self, Exact, State};
use crate::{
    BatchSchedule, Error, Event, EventLog, LossReduction, Objective, Optimizer, OptimizerStep, Rate, Result, Schedule,
    Selection, Settings,
};
use clinpeft_autodiff::{Gradients, Norm, backward, ops};
use clinpeft_nn::ForwardCtx;
use clinpeft_peft::{GradSqNorms, Status, StepInfo, StepParam, StepValues, status_table};
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

/// How training ended.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainReport {
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

/// Trains an [`Objective`]: where it reads and writes, and whom it tells.
pub struct Trainer<'a, O> {
    /// The batches.
    pub batches: &'a BatchSchedule,
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
    /// Called with every event and the number of all steps.
    pub on_event: &'a mut dyn FnMut(&Event, u64),
    /// Set from outside to stop with a checkpoint, within one micro-batch.
    pub stop: &'a AtomicBool,
}

impl<'a, O: Objective> Trainer<'a, O> {
    /// Trains `objective`, from its checkpoint if there is one. At the end its parameters are those of the selected epoch.
    ///
    /// Errors with [`Error::Damaged`] if the checkpoint or the event file is not as it was written; without both, the run begins
    /// anew.
    pub fn train(self, objective: &'a mut O) -> Result<TrainReport> {
        Running::start(objective, self)?.run()
    }
}

/// What stands before the state of the adapters among the best parameters.
const STACK: &str = "(stack) ";

/// A trainer at work.
struct Running<'a, O> {
    objective: &'a mut O,
    run: Trainer<'a, O>,
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

impl<'a, O: Objective> Running<'a, O> {
    fn start(objective: &'a mut O, run: Trainer<'a, O>) -> Result<Running<'a, O>> {
        run.settings.check()?;
        if objective.parameters().is_empty() {
            return Err(Error::Settings("there is nothing to learn\nhint: let an adapter or the head learn".into()));
        }
        let (total, rate) = (run.batches.steps(), run.settings.rate);
        let micro = if rate == Rate::Published { run.batches.micro_batches()? } else { total };
        let schedule = Schedule::new(run.settings.learning_rate, rate, total, micro)?;
        let mut optimizer = Optimizer::new(run.settings.optimizer);
        let (state, best) = if run.checkpoint.exists() {
            state::read(run.checkpoint, objective, &mut optimizer)?
        } else {
            (State::default(), TensorMap::new())
        };
        let done = state.validated.saturating_mul(run.batches.steps_per_epoch());
        let end = done.saturating_add(run.batches.steps_per_epoch()).min(total);
        if !(done..=end).contains(&state.step) {
            return Err(Error::Checkpoint("belongs to a run with other batches".into()));
        }
        let log = EventLog::open(run.events, state.lines)?;
        let now = Instant::now();
        let before = state.seconds.0;
        Ok(Running { objective, run, optimizer, schedule, log, state, best, total, started: now, before, saved: now })
    }

    fn run(mut self) -> Result<TrainReport> {
        if self.log.lines() == 0 {
            let rows = self.objective.status(None);
            self.tell(status_event(0, &rows))?;
        }
        while self.state.validated < self.run.batches.epochs() && !self.out_of_patience() {
            if self.epoch()? == Went::Stopped {
                self.save()?;
                return Ok(self.report(false));
            }
        }
        if self.run.settings.selection == Selection::BestValidation && !self.best.is_empty() {
            self.take_best()?;
        }
        Ok(self.report(true))
    }

    /// The rest of the running epoch, and its end.
    fn epoch(&mut self) -> Result<Went> {
        let (epoch, batches) = (self.state.validated, self.run.batches);
        let first = epoch * batches.steps_per_epoch();
        for (number, micro) in (first..).zip(batches.epoch(epoch)?) {
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
        Ok(self.objective.parts_mut().stack.set_state(&adapters.collect())?)
    }

    /// What the micro-batches of a step give; `None` if it was told to stop between them.
    fn gather(&self, step: OptimizerStep, micro: &MicroBatches) -> Result<Option<Gathered>> {
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
            let divisor = match self.run.settings.reduction {
                LossReduction::WholeStep => divisor,
                LossReduction::MicroBatch { full } => self.objective.denominator(rows) * full.max(1) as f64,
            };
            let mean = ops::scale(&part.loss, 1.0 / divisor)?;
            all.losses.push(mean.value().clone());
            all.tokens += part.tokens;
            all.gradients.add(backward(&mean)?)?;
        }
        if let Some(extra) = self.objective.parts().stack.extra_loss()? {
            all.losses.push(extra.value().clone());
            all.gradients.add(backward(&extra)?)?;
        }
        Ok(Some(all))
    }

    fn step(&mut self, step: OptimizerStep, micro: &MicroBatches) -> Result<Went> {
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
        let made = StepInfo { number, total: self.total };
        let rate = self.schedule.rate(step);
        let synced = self.objective.parts().stack.params_to_sync(made).into_iter();
        let synced: BTreeMap<String, Tensor> =
            synced.filter_map(|(name, p)| Some((name, gradients.of(p.var())?.clone()))).collect();
        let measured = norms.iter().map(|(_, norm)| norm);
        self.optimizer.step_measured(self.objective.parameters_mut(), &gradients, measured, rate)?;
        let stats = self.read(losses, norms, synced)?;
        let loss = stats.loss;
        if !loss.is_finite() {
            return Err(Error::NotFinite { step: step.0, loss });
        }
        if step.0 == 0 {
            self.objective.check_gradients(&stats.grad_sq_norms)?;
            let rows = self.objective.status(Some(&stats.grad_sq_norms));
            self.tell(status_event(1, &rows))?;
        }
        self.objective.parts_mut().stack.on_step_end(made, &stats.synced)?;
        self.state.step = number;
        self.state.last_loss = Exact(loss);
        self.state.epoch_loss.0.0 += loss;
        self.state.epoch_loss.1 += 1;
        if log_now {
            let (tokens, gradient_norms) =
                (self.state.tokens, norms_of(&self.objective.status(Some(&stats.grad_sq_norms))));
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
    fn read(
        &self,
        losses: Vec<Tensor>,
        norms: Vec<(String, Norm)>,
        synced: BTreeMap<String, Tensor>,
    ) -> Result<StepStats> {
        // What is synchronised has a gradient, so it is among what learns.
        let values = self.objective.parts().stack.trainable().into_iter();
        let values: BTreeMap<String, &Tensor> = values.map(|(name, p)| (name, p.value())).collect();
        let mut wanted: Vec<&Tensor> = losses.iter().collect();
        wanted.extend(norms.iter().filter_map(|(_, norm)| match norm {
            Norm::Unread(norm) => Some(norm),
            Norm::Square(_) => None,
        }));
        wanted.extend(synced.iter().flat_map(|(name, gradient)| [values[name], gradient]));
        let mut read = Tensor::all_to_cpu(&wanted)?.into_iter();
        let mut next = || read.next().expect("as many as were asked for");
        let mut loss = 0.0;
        for _ in 0..losses.len() {
            loss += next().item()?;
        }
        let mut grad_sq_norms = GradSqNorms::new();
        for (name, norm) in norms {
            let square = match norm {
                Norm::Square(square) => square,
                Norm::Unread(_) => next().item()?.powi(2),
            };
            grad_sq_norms.insert(name, square);
        }
        let synced = synced.into_keys().map(|name| (name, StepParam { value: next(), gradient: next() })).collect();
        Ok(StepStats { loss, grad_sq_norms, synced })
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
            let adapters = self.objective.parts().stack.state()?;
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
        (self.run.on_event)(&event, self.total);
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

    fn report(&self, finished: bool) -> TrainReport {
        let best = self.state.best.filter(|_| self.run.settings.selection == Selection::BestValidation);
        TrainReport {
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

/// Whether training goes on.
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
struct StepStats {
    loss: f64,
    grad_sq_norms: GradSqNorms,
    /// What [`clinpeft_peft::Stack::params_to_sync`] asked for.
    synced: StepValues,
}

fn norms_of(rows: &[Status]) -> BTreeMap<String, f64> {
    rows.iter().filter_map(|r| Some((r.name.clone(), r.gradient_norm?))).collect()
}

fn status_event(step: u64, rows: &[Status]) -> Event {
    Event::Status { step, table: status_table(rows), gradient_norms: norms_of(rows) }
}
