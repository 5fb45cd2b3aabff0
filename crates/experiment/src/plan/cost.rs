//! What a plan takes before it starts: steps, tokens, operations, hours, memory, disk, and what is missing.
//!
//! ```text
//! operations = passes x parameters x tokens          passes: 2 forward, 4 with adapters, 6 where all learns
//! tokens     = notes x (context + virtual rows) x epochs, at most; the head alone runs the model once
//! ```
//!
//! Attention adds less than a hundredth at these lengths and is left out, as in the published arithmetic.

use crate::data::dataset;
use crate::data::inputs_dir::Inputs;
use crate::error::{Error, Result};
use crate::plan::missing::{Missing, missing};
use crate::plan::planned::PlannedRun;
use crate::profiles::{BaseStart, Profile};
use crate::resources::device_specs::Device;
use crate::resources::machine::{Machine, disk_free};
use crate::resources::memory::{Memory, adapters, bag_of_words, gib, learns};
use crate::resources::sizes::Sizes;
use crate::spec::{BagOfWords, Base, Kind, RunSpec};
use crate::store::Store;
use clinpeft_report::{CohortCounts, Splits};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// What one run takes.
#[derive(Debug, Clone, Serialize)]
pub struct Cost {
    /// Name of its folder.
    pub run: String,
    /// Its table.
    pub table: Option<u8>,
    /// Its row.
    pub row: String,
    /// Its task.
    pub task: Option<String>,
    /// Parameters that learn, the head among them.
    pub trainable_parameters: u64,
    /// Optimizer steps.
    pub steps: u64,
    /// Tokens of training, at most.
    pub tokens: u64,
    /// Operations of training.
    pub training_flop: f64,
    /// Operations of evaluation: validation in every epoch, and the test.
    pub evaluation_flop: f64,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes that stay on disk.
    pub disk: u64,
}

/// A plan with its costs.
#[derive(Debug, Clone, Serialize)]
pub struct CostPlan {
    /// Name of the machine that hours are for.
    pub on: &'static str,
    /// Operations per second that are assumed of it.
    pub speed: f64,
    /// Bytes of memory that it has, where that is known.
    pub memory: Option<u64>,
    /// Why this speed.
    pub assumption: &'static str,
    /// Runs that train a tiny base model; they take seconds and are not counted.
    pub base_runs: usize,
    /// The others.
    pub runs: Vec<Cost>,
    /// What is missing on this machine.
    pub missing: Vec<Missing>,
    /// Free bytes on the disk of the output folder.
    pub disk_free: Option<u64>,
}

/// The costs of a plan on a machine.
pub fn plan(store: &Store, profile: &Profile, inputs: &Inputs, runs: &[PlannedRun], on: Device) -> Result<CostPlan> {
    let mut counts: BTreeMap<String, CohortCounts> = BTreeMap::new();
    let by_name: BTreeMap<&str, &RunSpec> = runs.iter().map(|r| (r.name.as_str(), &r.spec)).collect();
    let mut costs = Vec::new();
    for run in runs.iter().filter(|r| r.spec.kind != Kind::Base) {
        let name = run.spec.data.clone().unwrap_or_default();
        if !counts.contains_key(&name) {
            let ready = dataset::planned(store, &profile.data, run.spec.fidelity, inputs)?;
            counts.insert(name.clone(), ready.counts);
        }
        if let Base::BagOfWords(settings) = &run.spec.base {
            costs.push(of_bag_of_words(run, settings, &counts[&name]));
            continue;
        }
        let sizes = sizes(profile, inputs, &by_name, &run.spec)?;
        costs.push(cost(&run.name, &run.spec, &sizes, &by_name, &counts[&name])?);
    }
    Ok(CostPlan {
        on: on.name(),
        speed: on.speed(),
        memory: on.memory().or_else(|| Machine::here().memory),
        assumption: on.assumption(),
        base_runs: runs.len() - costs.len(),
        runs: costs,
        missing: missing(profile, inputs, runs),
        disk_free: disk_free(store.root()),
    })
}

/// Sizes of the model of a run: its folder, or those of the base whose run makes it.
fn sizes(profile: &Profile, inputs: &Inputs, runs: &BTreeMap<&str, &RunSpec>, spec: &RunSpec) -> Result<Sizes> {
    let same = |start: &BaseStart| match (&spec.base, start) {
        (Base::Folder { folder }, BaseStart::Folder(f)) => *folder == inputs.folder.join(&f.folder),
        _ => false,
    };
    let made = |name: &str| match &spec.base {
        Base::Run { run } => runs.get(run.as_str()).is_some_and(|s| s.row == format!("base {name}")),
        _ => false,
    };
    let found = profile.bases.iter().find(|(name, base)| same(&base.start) || made(name));
    let Some((_, base)) = found else {
        return Err(Error::Options(format!("row `{}`: its base model is not of the profile", spec.row)));
    };
    Sizes::of_base(profile, base, &inputs.folder)
}

fn cost(
    name: &str,
    spec: &RunSpec,
    sizes: &Sizes,
    runs: &BTreeMap<&str, &RunSpec>,
    counts: &CohortCounts,
) -> Result<Cost> {
    let made_by = |run: &str| runs.get(run)?.stack.first()?.adapter.clone();
    let (adapters, rows) = adapters(spec, sizes, made_by)?;
    let none = Splits { train: 0, validation: 0, test: 0 };
    let task = spec.task.and_then(|t| counts.tasks.get(t.name()));
    let splits = task.map_or(counts.adaptation.unwrap_or(none), |t| t.splits);
    let classes = task.map_or(0, |t| t.classes);
    let head = classes * sizes.shape.width as u64 + if sizes.family.head_has_bias() { classes } else { 0 };
    let learning = adapters + head;
    let length = spec.tokens.max_length as u64 + rows;
    let passes = if spec.full {
        6.0
    } else if learns(spec) {
        4.0
    } else {
        2.0
    };
    // Where only the head learns, the model runs over every note once.
    let epochs = if passes > 2.0 { spec.training.epochs } else { 1 };
    let tokens = splits.train * length * epochs;
    let evaluated = match spec.task {
        Some(_) => splits.validation * (epochs + 1) + splits.test,
        // The test notes before and after, and as many training notes.
        None => 3 * splits.test,
    };
    let parameters = sizes.parameters as f64;
    let predictions = (splits.validation + splits.test) * (5 * classes.max(1) + 16);
    let model = if spec.full { sizes.parameters } else { 0 };
    Ok(Cost {
        run: name.into(),
        table: spec.table,
        row: spec.row.clone(),
        task: spec.task.map(|t| t.to_string()),
        trainable_parameters: learning + model,
        steps: splits.train.div_ceil(spec.training.batch_sequences.max(1) as u64) * spec.training.epochs,
        tokens,
        training_flop: passes * parameters * tokens as f64,
        evaluation_flop: 2.0 * parameters * (evaluated * length) as f64,
        memory: Memory::of(spec, sizes, learning, rows).total(),
        disk: 4 * (learning + model) + predictions,
    })
}

/// At most: how many terms there are is known when the notes are read. Its minutes on a CPU are not counted.
fn of_bag_of_words(run: &PlannedRun, settings: &BagOfWords, counts: &CohortCounts) -> Cost {
    let classes = run.spec.task.and_then(|t| counts.tasks.get(t.name())).map_or(0, |task| task.classes);
    let features = settings.max_features as u64;
    let outputs = if classes == 2 { 1 } else { classes };
    Cost {
        run: run.name.clone(),
        table: run.spec.table,
        row: run.spec.row.clone(),
        task: run.spec.task.map(|t| t.to_string()),
        trainable_parameters: outputs * (features + 1),
        steps: 0,
        tokens: 0,
        training_flop: 0.0,
        evaluation_flop: 0.0,
        memory: bag_of_words(features, classes),
        disk: 4 * outputs * (features + 1),
    }
}

impl CostPlan {
    /// As JSON.
    pub fn json(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self);
        Ok(text.map_err(|e| Error::Options(format!("the plan cannot be written: {e}")))? + "\n")
    }

    fn hours(&self, flop: f64) -> f64 {
        flop / self.speed / 3600.0
    }

    /// Sums over some runs: runs, steps, tokens, hours of training and of evaluation.
    fn sum(&self, table: u8) -> (usize, u64, u64, f64, f64) {
        let of = self.runs.iter().filter(|r| r.table == Some(table));
        of.fold((0, 0, 0, 0.0, 0.0), |(n, steps, tokens, training, evaluation), r| {
            let hours = (self.hours(r.training_flop), self.hours(r.evaluation_flop));
            (n + 1, steps + r.steps, tokens + r.tokens, training + hours.0, evaluation + hours.1)
        })
    }
}

impl fmt::Display for CostPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wide = self.runs.iter().map(|r| r.run.len()).max().unwrap_or(0);
        writeln!(
            f,
            "{:<wide$} {:>12} {:>10} {:>15} {:>10} {:>9} {:>9} {:>11} {:>9}",
            "run", "trainable", "steps", "tokens", "PFLOP", "hours", "+ eval", "memory GiB", "disk MiB"
        )?;
        for r in &self.runs {
            writeln!(
                f,
                "{:<wide$} {:>12} {:>10} {:>15} {:>10.0} {:>9.2} {:>9.2} {:>11} {:>9.1}{}",
                r.run,
                r.trainable_parameters,
                r.steps,
                r.tokens,
                (r.training_flop + r.evaluation_flop) / 1e15,
                self.hours(r.training_flop),
                self.hours(r.evaluation_flop),
                gib(r.memory),
                r.disk as f64 / f64::from(1 << 20),
                if self.memory.is_some_and(|m| r.memory > m) { "  does not fit" } else { "" }
            )?;
        }
        writeln!(f)?;
        for table in 2..=4 {
            let (runs, steps, tokens, training, evaluation) = self.sum(table);
            if runs > 0 {
                writeln!(
                    f,
                    "Table {table}: {runs} runs, {steps} steps, {tokens} tokens, {training:.1} hours of training and \
                     {evaluation:.1} of evaluation"
                )?;
            }
        }
        let hours: f64 = self.runs.iter().map(|r| self.hours(r.training_flop + r.evaluation_flop)).sum();
        let disk: u64 = self.runs.iter().map(|r| r.disk).sum();
        let memory = self.runs.iter().map(|r| r.memory).max().unwrap_or(0);
        writeln!(
            f,
            "All: {} runs on {} in {hours:.1} hours one after another, {} GiB of memory, {} GiB of disk ({} free)",
            self.runs.len() + self.base_runs,
            self.on,
            gib(memory),
            gib(disk),
            self.disk_free.map_or_else(|| "unknown".into(), gib),
        )?;
        writeln!(f, "Speed: {:.2} TFLOP/s, {}.", self.speed / 1e12, self.assumption)?;
        if self.base_runs > 0 {
            writeln!(f, "{} runs make tiny base models and are not counted.", self.base_runs)?;
        }
        if !self.missing.is_empty() {
            writeln!(f, "\nMissing on this machine (`--inputs` names another folder):")?;
        }
        for m in &self.missing {
            writeln!(f, "  {}\n      {}", m.path.display(), m.what)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::filter::RowFilter;
    use crate::reproduce;
    use clinpeft_clinical::prepare::Fidelity;

    /// The plan of the real matrix on a machine that has nothing.
    fn real(fidelity: Fidelity, tables: &[u8]) -> CostPlan {
        let out = tempfile::tempdir().unwrap();
        let options = reproduce::Options {
            profile: "paper",
            seeds: vec![],
            only: RowFilter { words: vec![], tables: tables.to_vec() },
            fidelities: vec![fidelity],
            inputs: Inputs::at(&out.path().join("inputs")).unwrap(),
            set: Default::default(),
            threads: 1,
            device: "cpu",
        };
        let store = Store::new(out.path());
        let (profile, runs) = reproduce::dry_run(&store, &options, &mut |_| {}).unwrap();
        plan(&store, &profile, &options.inputs, &runs, Device::A100).unwrap()
    }

    #[test]
    fn published_adaptations_have_their_counts_steps_and_hours() {
        let plan = real(Fidelity::Code, &[2]);
        let counts: Vec<u64> = plan.runs.iter().map(|r| r.trainable_parameters).collect();
        let published =
            [8_388_608, 1_228_830, 5_242_880, 61_440, 16_093_696, 2_097_152, 1_228_830, 2_621_440, 40_960, 2_171_392];
        assert_eq!(counts, published);
        assert!(plan.runs.iter().all(|r| r.steps == 59_696), "one epoch in steps of 40 notes");
        // The sum of the times in Table 2; the smallest and the greatest are 20.2 and 25 hours.
        let hours: Vec<f64> = plan.runs.iter().map(|r| plan.hours(r.training_flop)).collect();
        assert!((hours.iter().sum::<f64>() / 224.3 - 1.0).abs() < 0.1, "{hours:?}");
        assert!(hours.iter().all(|h| (20.0..26.0).contains(h)), "{hours:?}");
    }

    #[test]
    fn published_cells_have_their_counts_and_heads() {
        let plan = real(Fidelity::Paper, &[3, 4]);
        let cells = |table| plan.runs.iter().filter(|r| r.table == Some(table) && r.task.is_some()).count();
        assert_eq!((cells(3), cells(4)), (85, 20));
        let trained = |row: &str, task: &str| {
            let run = plan.runs.iter().find(|r| r.row == row && r.task.as_deref() == Some(task)).unwrap();
            run.trainable_parameters
        };
        assert_eq!(trained("LLaMA", "mortality"), 8192);
        assert_eq!(trained("LLaMA", "diagnoses"), 5_185_536);
        assert_eq!(trained("LLaMA + Clinical LLaMA-LoRA (Trainable)", "diagnoses"), 13_574_144);
        assert_eq!(trained("BlueBERT + LoRA", "length_of_stay"), 589_824 + 3076);
        assert_eq!(trained("CORe", "procedures"), 108_310_272 + 546_759);
    }

    #[test]
    fn whatever_the_machine_lacks_is_named_with_its_place() {
        let plan = real(Fidelity::Paper, &[2]);
        assert_eq!(plan.missing.len(), 4, "two models, two collections");
        let text = plan.to_string();
        for part in
            ["inputs/models/llama-7b/config.json", "inputs/mimic3", "MIMIC-IV-Note 2.2", "chaoyi-wu/PMC_LLAMA_7B"]
        {
            assert!(text.contains(part), "{part}");
        }
        let json: serde_json::Value = serde_json::from_str(&plan.json().unwrap()).unwrap();
        assert_eq!(json["runs"].as_array().unwrap().len(), 10);
    }
}
