//! Profiles and the matrix: TOML below `datasets/`, built into the program.

use crate::spec::{FurtherBase, NewBase};
use crate::{AdapterSpec, Error, Result, Tokens, Training};
use clinpeft_clinical::Task;
use clinpeft_clinical::synth::CohortSpec;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What is run at which size.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Name of the synthetic cohort.
    pub cohort: String,
    /// Its seed.
    pub cohort_seed: u64,
    /// Seeds of every run.
    pub seeds: Vec<u64>,
    /// Downstream tasks in the order of the tables.
    pub tasks: Vec<Task>,
    /// Resamples of the confidence intervals.
    pub bootstrap_resamples: usize,
    /// Base models by name.
    pub bases: BTreeMap<String, ProfileBase>,
    /// Step 1.
    pub adaptation: Step,
    /// Step 2.
    pub downstream: Downstream,
    /// Adapters by name.
    pub adapters: BTreeMap<String, AdapterSpec>,
}

/// A base model that is trained here.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileBase {
    /// Its seed; the same for all seeds of the runs.
    pub seed: u64,
    /// A new model, or one of the others, trained further.
    pub start: BaseStart,
    /// How its text becomes tokens.
    pub tokens: Tokens,
    /// How it is trained.
    pub training: Training,
}

/// What a base model begins as.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaseStart {
    /// Random weights.
    New(NewBase),
    /// Another base of the profile.
    Further(FurtherBase),
}

/// Tokens and training of a step.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// How text becomes tokens.
    pub tokens: Tokens,
    /// How to train.
    pub training: Training,
}

/// Step 2.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Downstream {
    /// How text becomes tokens.
    pub tokens: Tokens,
    /// How to train.
    pub training: Training,
    /// What differs where only the head learns.
    pub head_only: HeadOnly,
}

/// What differs where only the head learns.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadOnly {
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Passes over the data.
    pub epochs: u64,
}

/// The rows of the tables.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    /// In order.
    pub row: Vec<Row>,
}

/// One row.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// 2 (adaptation) or 3 (tasks).
    pub table: u8,
    /// As the paper calls it.
    pub name: String,
    /// Base model of the profile.
    pub base: String,
    /// Adapter of an adaptation row.
    pub adapter: Option<String>,
    /// Adapters of a task row.
    #[serde(default)]
    pub stack: Vec<RowEntry>,
}

/// One adapter of a row.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowEntry {
    /// Its name in the stack.
    pub name: String,
    /// The adaptation it comes from: `adapt/<base>/<adapter>`.
    pub from: Option<String>,
    /// Whether it learns.
    #[serde(default = "yes")]
    pub trainable: bool,
    /// Whether it takes part.
    #[serde(default = "yes")]
    pub active: bool,
    /// Settings of a new adapter: a name of the profile.
    pub adapter: Option<String>,
}

fn yes() -> bool {
    true
}

const PROFILES: [(&str, &str); 2] = [
    ("smoke", include_str!("../../../datasets/profiles/smoke.toml")),
    ("demo", include_str!("../../../datasets/profiles/demo.toml")),
];

const COHORTS: [(&str, &str); 3] = [
    ("smoke", include_str!("../../../datasets/cohorts/smoke.toml")),
    ("demo", include_str!("../../../datasets/cohorts/demo.toml")),
    ("mimic", include_str!("../../../datasets/cohorts/mimic.toml")),
];

fn built_in<T: serde::de::DeserializeOwned>(what: &str, name: &str, all: &[(&str, &str)]) -> Result<T> {
    let Some((_, text)) = all.iter().find(|(n, _)| *n == name) else {
        let known: Vec<&str> = all.iter().map(|(n, _)| *n).collect();
        return Err(Error::Options(format!("there is no {what} `{name}`\nhint: known are {}", known.join(", "))));
    };
    toml::from_str(text)
        .map_err(|e| Error::Config { path: format!("datasets/{what}s/{name}.toml").into(), what: e.to_string() })
}

impl Profile {
    /// The profile of that name.
    pub fn named(name: &str) -> Result<Profile> {
        built_in("profile", name, &PROFILES)
    }

    /// Its cohort.
    pub fn cohort_spec(&self) -> Result<CohortSpec> {
        cohort_named(&self.cohort)
    }
}

/// The synthetic cohort of that name.
pub fn cohort_named(name: &str) -> Result<CohortSpec> {
    built_in("cohort", name, &COHORTS)
}

impl Matrix {
    /// The matrix of the paper.
    pub fn paper() -> Result<Matrix> {
        built_in("matrix", "matrix", &[("matrix", include_str!("../../../datasets/matrix.toml"))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_built_in_parses() {
        for (name, _) in PROFILES {
            let p = Profile::named(name).unwrap();
            p.cohort_spec().unwrap();
            for row in Matrix::paper().unwrap().row {
                assert!(p.bases.contains_key(&row.base), "{name}: {}", row.base);
                for a in row.adapter.iter().chain(row.stack.iter().filter_map(|e| e.adapter.as_ref())) {
                    assert!(p.adapters.contains_key(a), "{name}: {a}");
                }
            }
        }
        assert!(Profile::named("demos").unwrap_err().to_string().contains("smoke, demo"));
    }
}
