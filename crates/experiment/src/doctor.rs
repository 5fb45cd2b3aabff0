//! What this machine can run: `clinpeft doctor`.

use crate::data::inputs_dir::Inputs;
use crate::error::{Error, Result};
use crate::plan::filter::RowFilter;
use crate::reproduce;
use crate::resources::machine::{Machine, disk_free};
use crate::resources::memory::{Memory, adapters};
use crate::resources::sizes::Sizes;
use crate::spec::MemoryPolicy;
use crate::store::Store;
use clinpeft_kernels::State;
use serde::Serialize;
use std::fmt;
use std::path::Path;

/// The machine, its devices and what fits.
#[derive(Debug, Clone, Serialize)]
pub struct Diagnosis {
    /// The machine.
    pub machine: Machine,
    /// Free bytes on the disk of the output folder.
    pub disk_free: Option<u64>,
    /// Devices by the name that `--device` takes, with what they are or what is missing.
    pub devices: Vec<Seen>,
    /// What fits into the memory that is free.
    pub fits: Vec<Fit>,
}

/// A device.
#[derive(Debug, Clone, Serialize)]
pub struct Seen {
    /// What `--device` takes.
    pub name: String,
    /// Whether it is there.
    pub found: bool,
    /// Adapter and driver, or what is missing, with a hint.
    pub what: String,
}

/// Adaptation of LLaMA-7B with a LoRA of rank 16 in one form.
#[derive(Debug, Clone, Serialize)]
pub struct Fit {
    /// Type of the stored weights.
    pub weights: &'static str,
    /// What is kept for the backward pass.
    pub memory: MemoryPolicy,
    /// Most tokens that can be run at once (sequences x length); 0 where the weights alone do not fit.
    pub tokens: u64,
}

/// Looks around.
pub fn diagnose(out: &Path) -> Result<Diagnosis> {
    let machine = Machine::here();
    let device = |listing: clinpeft_kernels::Listing| match listing.state {
        State::Found(what) => {
            let limits = listing.limits.map(|limits| format!("\n{limits}")).unwrap_or_default();
            Seen { name: listing.name, found: true, what: what + &limits }
        }
        State::Missing(what) => Seen { name: listing.name, found: false, what },
    };
    let main = Seen { name: "cpu".into(), found: true, what: format!("main memory, {} cores", machine.cores) };
    let mut devices = vec![main];
    devices.extend(clinpeft_kernels::devices().into_iter().map(device));
    let fits = machine.memory_free.map_or(Ok(vec![]), fits)?;
    Ok(Diagnosis { disk_free: disk_free(out), devices, fits, machine })
}

/// The published adaptation in four forms, each with as many tokens at once as fit.
fn fits(free: u64) -> Result<Vec<Fit>> {
    let nowhere = Inputs::none();
    let options = reproduce::Options {
        profile: "paper",
        seeds: vec![],
        only: RowFilter { words: vec!["LLaMA + LoRA".into()], tables: vec![2] },
        fidelities: vec![],
        inputs: nowhere.clone(),
        set: Default::default(),
        threads: 1,
        device: "cpu",
    };
    let (profile, runs) = reproduce::dry_run(&Store::new(Path::new("")), &options, &mut |_| {})?;
    let Some(run) = runs.first() else { return Ok(vec![]) };
    let sizes = Sizes::of_base(&profile, profile.base("llama")?, &nowhere.folder)?;
    let (learning, _) = adapters(&run.spec, &sizes, |_| None)?;
    let mut all = Vec::new();
    for (weights, width) in [("f32", 4), ("bf16", 2)] {
        let sizes = Sizes { weight_bytes: width * sizes.parameters, ..sizes.clone() };
        for memory in [MemoryPolicy::Keep, MemoryPolicy::Recompute] {
            let need = |tokens: u64| {
                let mut spec = run.spec.clone();
                spec.training.memory = memory;
                // One sequence of that length.
                (spec.training.micro_tokens, spec.training.batch_sequences) = (1, 1);
                spec.tokens.max_length = tokens as usize;
                Memory::of(&spec, &sizes, learning, 0).total()
            };
            let mut tokens = 0;
            for step in (0..20).rev().map(|power| 64 << power) {
                if need(tokens + step) <= free {
                    tokens += step;
                }
            }
            all.push(Fit { weights, memory, tokens });
        }
    }
    Ok(all)
}

impl Diagnosis {
    /// As JSON.
    pub fn json(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self);
        Ok(text.map_err(|e| Error::Options(format!("the diagnosis cannot be written: {e}")))? + "\n")
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gib = |bytes: Option<u64>| {
            bytes.map_or_else(|| "unknown".into(), |b| format!("{:.1} GiB", b as f64 / f64::from(1 << 30)))
        };
        let m = &self.machine;
        writeln!(f, "processor  {}, {} cores", m.processor.as_deref().unwrap_or("unknown"), m.cores)?;
        let units = if m.units.is_empty() { "none that this program knows".into() } else { m.units.join(", ") };
        writeln!(f, "units      {units}")?;
        writeln!(f, "memory     {}, {} free", gib(m.memory), gib(m.memory_free))?;
        writeln!(f, "disk       {} free", gib(self.disk_free))?;
        for device in &self.devices {
            let what = device.what.replace('\n', "\n           ");
            writeln!(f, "device     {}: {}{what}", device.name, if device.found { "" } else { "missing, " })?;
        }
        writeln!(f, "\nLLaMA-7B with LoRA (r 16): tokens that fit at once (sequences x length)")?;
        for fit in &self.fits {
            let memory = match fit.memory {
                MemoryPolicy::Keep => "",
                MemoryPolicy::Recompute => ", checkpointing (training.memory=recompute)",
            };
            let tokens = if fit.tokens == 0 { "does not fit".into() } else { fit.tokens.to_string() };
            writeln!(f, "  weights in {}{memory}: {tokens}", fit.weights)?;
        }
        writeln!(
            f,
            "\nThe profiles smoke, llama and demo need less than 1 GiB. What the real matrix takes: \
                     clinpeft reproduce --profile paper --dry-run"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_is_needed_with_smaller_weights_and_recomputation() {
        let tokens = |free: u64| fits(free << 30).unwrap().iter().map(|f| f.tokens).collect::<Vec<_>>();
        let (small, large) = (tokens(16), tokens(64));
        assert_eq!(small[..2], [0, 0], "27 GB of weights do not fit into 16 GiB");
        assert!(large.iter().zip(&small).all(|(l, s)| l > s));
        assert!(large[1] > large[0] && large[3] > large[2] && large[2] > large[0]);
    }

    #[test]
    fn every_device_is_named_found_or_with_a_hint() {
        let found = diagnose(Path::new("out")).unwrap();
        assert_eq!(found.devices[0].name, "cpu");
        assert!(found.devices.iter().all(|d| d.found || d.what.contains("hint: ")));
        let text = found.to_string();
        assert!(text.contains("LLaMA-7B") && found.json().unwrap().contains("\"cores\""));
    }
}
