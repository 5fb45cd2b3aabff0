//! What the kinds of runs share.

use crate::error::{Error, Result};
use crate::models::loading;
use crate::spec::RunSpec;
use crate::store::{RunFolder, Store};
use clinpeft_metrics::Bootstrap;
use clinpeft_rng::Seed;
use clinpeft_tensor::Device;
use clinpeft_train::{Event, Objective, TrainReport, Trainer, Validation};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How a run is watched and stopped.
pub struct Control<'a> {
    /// Set from outside to stop with a checkpoint.
    pub stop: &'a AtomicBool,
    /// Told of every event, with the number of all steps.
    pub observe: &'a mut dyn FnMut(&Event, u64),
    /// Told how many resamples of a confidence interval are done, and of how many.
    pub resampled: &'a (dyn Fn(usize, usize) + Sync),
    /// Told of what was found damaged and is made again.
    pub warn: &'a mut dyn FnMut(&str),
    /// Time between two checkpoints.
    pub checkpoint_every: Duration,
    /// Where the model runs. No part of the spec: the same run is the same to rounding on each.
    pub device: Device,
}

/// What the kinds of runs share.
pub(crate) struct Context<'a> {
    pub spec: RunSpec,
    pub folder: RunFolder,
    pub store: Store,
    pub control: Control<'a>,
}

/// Name of the checkpoint file in its folder.
pub(super) const STATE: &str = "state.safetensors";

impl Context<'_> {
    /// The checkpoint file.
    pub fn checkpoint(&self) -> PathBuf {
        self.folder.file("checkpoint").join(STATE)
    }

    /// The dataset folder, checked to be the one of the spec.
    pub fn data(&self) -> Result<PathBuf> {
        let name = self.spec.data.as_ref().ok_or_else(|| Error::Options("this run names no data".into()))?;
        let folder = self.store.data(name);
        let hash = clinpeft_files::hash_file(&folder.join("manifest.json"))?;
        if Some(&hash) != self.spec.data_hash.as_ref() {
            let what = format!("`{}` is not the data that this run was made for", folder.display());
            return Err(Error::Options(format!("{what}\nhint: prepare it again, or plan the run again")));
        }
        Ok(folder)
    }

    /// Tells how far the intervals are, and ends them when the run is to stop.
    pub fn watch(&self) -> impl Fn(usize) -> ControlFlow<()> + Sync {
        let (stop, on_progress, total) = (self.control.stop, self.control.resampled, self.spec.bootstrap_resamples);
        move |done| {
            on_progress(done, total);
            if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }

    /// Settings of the confidence intervals.
    pub fn bootstrap(&self) -> Bootstrap {
        Bootstrap {
            resamples: self.spec.bootstrap_resamples,
            level: 0.95,
            seed: Seed(self.spec.seed).part("bootstrap"),
        }
    }

    /// Trains on sequences of these lengths, from the checkpoint if there is one.
    #[allow(clippy::type_complexity, reason = "a callback with its borrowed state")]
    pub fn fit<O: Objective>(
        &mut self,
        objective: &mut O,
        lengths: Vec<usize>,
        validate: Option<&mut dyn FnMut(&O) -> clinpeft_train::Result<Validation>>,
    ) -> Result<TrainReport> {
        let plan = loading::batches(lengths, &self.spec)?;
        let (checkpoint, events) = (self.checkpoint(), self.folder.file("events.jsonl"));
        let run = Trainer {
            batches: &plan,
            settings: self.spec.settings(self.control.checkpoint_every),
            checkpoint: &checkpoint,
            events: &events,
            // Within an option the callback does not get the shorter lifetime by itself.
            validate: validate.map(|f| f as &mut dyn FnMut(&O) -> clinpeft_train::Result<Validation>),
            on_event: self.control.observe,
            stop: self.control.stop,
        };
        let outcome = run.train(objective)?;
        if outcome.finished { Ok(outcome) } else { Err(Error::Stopped) }
    }

    /// Where a saved bundle comes from.
    pub fn provenance(&self, base_hash: &str) -> Result<BTreeMap<String, String>> {
        let mut all = BTreeMap::from([
            ("run".to_string(), self.folder.name()),
            ("base".to_string(), base_hash.to_string()),
            (
                "use".to_string(),
                "trained on clinical notes: keep it under the terms of their data use agreement".into(),
            ),
        ]);
        if let Some(hash) = &self.spec.data_hash {
            all.insert("data".into(), hash.clone());
        }
        Ok(all)
    }
}
