//! Profiles and the matrix: TOML below `datasets/`, built into the program.

pub mod choices;
pub mod search_space;

use crate::error::{Error, Result};
use crate::profiles::choices::SweepResult;
use crate::profiles::search_space::Search;
use crate::spec::{AdapterSpec, BagOfWords, FurtherBase, NewBase, StackEntry, Tokens, Training};
use clinpeft_clinical::Task;
use clinpeft_clinical::prepare::Fidelity;
use clinpeft_clinical::synth::CohortSpec;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What is run at which size.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Where the notes come from.
    pub data: Data,
    /// Seeds of every run.
    pub seeds: Vec<u64>,
    /// Downstream tasks in the order of the tables.
    pub tasks: Vec<Task>,
    /// Presets of the rules, each with the rows that are run under it.
    pub fidelities: Vec<Part>,
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
    /// File below `datasets/sweeps/results` with what a search has chosen for rows of the matrix.
    pub searched: Option<String>,
    /// Its content.
    #[serde(skip)]
    pub choices: SweepResult,
}

/// Where the notes come from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "source", rename_all = "snake_case", deny_unknown_fields)]
pub enum Data {
    /// Made by the program.
    Synthetic {
        /// Name of the cohort's description.
        cohort: String,
        /// Its seed.
        seed: u64,
    },
    /// The real collections, in folders below the inputs.
    Mimic {
        /// Seed of splits that no list gives.
        seed: u64,
    },
}

/// The rows of Tables 3 and 4 that are run under a preset of the rules, with the adaptations that they need.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The preset.
    pub rules: Fidelity,
    /// Whether every row of Table 2 is run too, needed or not.
    #[serde(default)]
    pub adaptations: Adaptations,
    /// Bases of the rows; all if empty.
    #[serde(default)]
    pub bases: Vec<String>,
    /// Parts of the rows' names; all rows if empty.
    #[serde(default)]
    pub rows: Vec<String>,
}

/// Which rows of Table 2 a [`Part`] has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Adaptations {
    /// Every one.
    #[default]
    All,
    /// Those whose adapter a row uses.
    Needed,
}

/// A base model.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileBase {
    /// Its seed where it is trained here; the same for all seeds of the runs.
    #[serde(default)]
    pub seed: u64,
    /// A new model, one of the others, trained further, or a folder.
    pub start: BaseStart,
    /// How its text becomes tokens; as for the base that it trains further, if absent.
    pub tokens: Option<Tokens>,
    /// How it is trained; the same.
    pub training: Option<Training>,
}

/// What a base model begins as.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaseStart {
    /// Random weights.
    New(NewBase),
    /// Another base of the profile.
    Further(FurtherBase),
    /// A published model.
    Folder(FolderBase),
    /// No model: TF-IDF and logistic regression.
    BagOfWords(BagOfWords),
}

/// A published model in a folder of the inputs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderBase {
    /// The folder, below the inputs.
    pub folder: PathBuf,
    /// Where to get it.
    pub published_as: String,
    /// What `config.json` says of its sizes, for plans on machines that do not have it.
    pub sizes: toml::Table,
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
    /// How to train where the base model learns too.
    pub full: Training,
}

impl Downstream {
    /// How to train: the whole model (`full`), what is active and trainable of `stack`, or the head alone.
    pub(crate) fn training_of(&self, full: bool, stack: &[StackEntry]) -> Training {
        let mut training = if full { &self.full } else { &self.training }.clone();
        if !full && stack.iter().all(|e| !e.trainable || !e.active) {
            (training.learning_rate, training.epochs) = (self.head_only.learning_rate, self.head_only.epochs);
        }
        training
    }
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
    /// 2 (adaptation), 3 or 4 (tasks).
    pub table: u8,
    /// Another table that repeats it, at its end.
    pub repeated_in: Option<u8>,
    /// As the paper calls it.
    pub name: String,
    /// Base model of the profile.
    pub base: String,
    /// Adapter of an adaptation row.
    pub adapter: Option<String>,
    /// Adapters of a task row.
    #[serde(default)]
    pub stack: Vec<RowEntry>,
    /// Whether the base model learns too.
    #[serde(default)]
    pub full: bool,
    /// Whether the paper has it.
    #[serde(default = "yes")]
    pub published: bool,
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

const PROFILES: [(&str, &str); 4] = [
    ("smoke", include_str!("../../../../datasets/profiles/smoke.toml")),
    ("llama", include_str!("../../../../datasets/profiles/llama.toml")),
    ("demo", include_str!("../../../../datasets/profiles/demo.toml")),
    ("paper", include_str!("../../../../datasets/profiles/paper.toml")),
];

const SEARCHES: [(&str, &str); 3] = [
    ("smoke", include_str!("../../../../datasets/sweeps/smoke.toml")),
    ("demo", include_str!("../../../../datasets/sweeps/demo.toml")),
    ("paper", include_str!("../../../../datasets/sweeps/paper.toml")),
];

/// What was chosen by the searches.
const SEARCHED: [(&str, &str); 2] = [
    ("demo", include_str!("../../../../datasets/sweeps/results/demo.toml")),
    ("paper", include_str!("../../../../datasets/sweeps/results/paper.toml")),
];

const COHORTS: [(&str, &str); 3] = [
    ("smoke", include_str!("../../../../datasets/cohorts/smoke.toml")),
    ("demo", include_str!("../../../../datasets/cohorts/demo.toml")),
    ("mimic", include_str!("../../../../datasets/cohorts/mimic.toml")),
];

fn built_in<T: serde::de::DeserializeOwned>(what: &str, name: &str, all: &[(&str, &str)]) -> Result<T> {
    let wrong =
        |e: toml::de::Error| Error::Config { path: format!("datasets/{what}/{name}.toml").into(), what: e.to_string() };
    resolved(what, name, all, &wrong)?.try_into().map_err(wrong)
}

/// The keys of a file over those of the one that it `extends`.
fn resolved(
    what: &str,
    name: &str,
    all: &[(&str, &str)],
    wrong: &dyn Fn(toml::de::Error) -> Error,
) -> Result<toml::Table> {
    let Some((_, text)) = all.iter().find(|(n, _)| *n == name) else {
        let known: Vec<&str> = all.iter().map(|(n, _)| *n).collect();
        return Err(Error::Options(format!(
            "there is no `{name}` in datasets/{what}\nhint: known are {}",
            known.join(", ")
        )));
    };
    let mut own: toml::Table = text.parse().map_err(wrong)?;
    match own.remove("extends") {
        Some(toml::Value::String(base)) if base != name => {
            let mut keys = resolved(what, &base, all, wrong)?;
            overlay(&mut keys, own);
            Ok(keys)
        }
        Some(other) => Err(Error::Options(format!("datasets/{what}/{name}.toml cannot extend {other}"))),
        None => Ok(own),
    }
}

fn overlay(keys: &mut toml::Table, own: toml::Table) {
    for (key, value) in own {
        match (keys.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => overlay(below, above),
            (_, value) => {
                keys.insert(key, value);
            }
        }
    }
}

impl Profile {
    /// The profile of that name.
    pub fn named(name: &str) -> Result<Profile> {
        let mut profile: Profile = built_in("profiles", name, &PROFILES)?;
        if let Some(searched) = &profile.searched {
            profile.choices = built_in("sweeps/results", searched, &SEARCHED)?;
        }
        Ok(profile)
    }

    /// A base by its name.
    pub fn base(&self, name: &str) -> Result<&ProfileBase> {
        let base = self.bases.get(name);
        base.ok_or_else(|| Error::Options(format!("the profile has no base model `{name}`")))
    }

    /// How a base is trained: by its own settings, or those of the base that it trains further.
    pub fn base_step(&self, name: &str) -> Result<Step> {
        let base = self.base(name)?;
        match (&base.tokens, &base.training, &base.start) {
            (Some(tokens), Some(training), _) => Ok(Step { tokens: tokens.clone(), training: training.clone() }),
            (None, None, BaseStart::Further(further)) if further.run != name => self.base_step(&further.run),
            _ => Err(Error::Options(format!("base model `{name}` needs `tokens` and `training`, both or neither"))),
        }
    }

    /// The presets that are run, each with its rows: those of the profile, or every row of its first one under each of
    /// `wanted`.
    pub fn parts(&self, wanted: &[Fidelity]) -> Vec<Part> {
        let first = self.fidelities.first();
        let every = |rules: &Fidelity| Some(Part { rules: *rules, ..first?.clone() });
        if wanted.is_empty() { self.fidelities.clone() } else { wanted.iter().filter_map(every).collect() }
    }
}

/// The search of that name.
pub fn search_named(name: &str) -> Result<Search> {
    built_in("sweeps", name, &SEARCHES)
}

/// The synthetic cohort of that name.
pub fn cohort_named(name: &str) -> Result<CohortSpec> {
    built_in("cohorts", name, &COHORTS)
}

impl Row {
    /// Whether the table shows it.
    pub fn is_in(&self, table: u8) -> bool {
        self.table == table || self.repeated_in == Some(table)
    }
}

impl Matrix {
    /// The rows of a table in its order: its own, then those that it repeats.
    pub fn table(&self, table: u8) -> Vec<&Row> {
        let own = self.row.iter().filter(|r| r.table == table);
        own.chain(self.row.iter().filter(|r| r.repeated_in == Some(table))).collect()
    }

    /// The matrix of the paper.
    pub fn paper() -> Result<Matrix> {
        built_in(".", "matrix", &[("matrix", include_str!("../../../../datasets/matrix.toml"))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_built_in_parses() {
        for (name, _) in PROFILES {
            let p = Profile::named(name).unwrap();
            if let Data::Synthetic { cohort, .. } = &p.data {
                cohort_named(cohort).unwrap();
            }
            for row in Matrix::paper().unwrap().row {
                assert!(p.bases.contains_key(&row.base), "{name}: {}", row.base);
                for a in row.adapter.iter().chain(row.stack.iter().filter_map(|e| e.adapter.as_ref())) {
                    assert!(p.adapters.contains_key(a), "{name}: {a}");
                }
            }
        }
        assert!(Profile::named("demos").unwrap_err().to_string().contains("smoke, llama, demo, paper"));
    }

    #[test]
    fn llama_is_a_part_of_the_demo() {
        let (demo, llama) = (Profile::named("demo").unwrap(), Profile::named("llama").unwrap());
        assert_ne!(demo.fidelities, llama.fidelities);
        assert_eq!(
            format!("{:?}", Profile { fidelities: vec![], ..demo }),
            format!("{:?}", Profile { fidelities: vec![], ..llama })
        );
    }

    #[test]
    fn wanted_presets_have_every_row_of_the_first() {
        let demo = Profile::named("demo").unwrap();
        let parts = demo.parts(&[Fidelity::Code]);
        assert_eq!(parts, [Part { rules: Fidelity::Code, ..demo.fidelities[0].clone() }]);
        assert_eq!(demo.parts(&[]), demo.fidelities);
    }

    #[test]
    fn rows_are_those_of_the_published_tables_in_their_order() {
        for (table, text) in [
            (2, include_str!("../../../../datasets/published/table2.csv")),
            (3, include_str!("../../../../datasets/published/table3.csv")),
            (4, include_str!("../../../../datasets/published/table4.csv")),
        ] {
            let mut published: Vec<&str> = text.lines().skip(1).filter_map(|l| l.split(',').next()).collect();
            published.dedup();
            let matrix = Matrix::paper().unwrap();
            let rows = matrix.table(table).into_iter().filter(|r| r.published);
            let rows: Vec<&str> = rows.map(|r| r.name.as_str()).collect();
            assert_eq!(rows, published, "table {table}");
        }
    }

    #[test]
    fn the_bag_of_words_is_the_only_row_of_ours_and_stands_first_in_table_3() {
        let matrix = Matrix::paper().unwrap();
        let ours: Vec<&str> = matrix.row.iter().filter(|r| !r.published).map(|r| r.name.as_str()).collect();
        assert_eq!(ours, [clinpeft_report::BAG_OF_WORDS]);
        assert_eq!(matrix.table(3)[0].name, clinpeft_report::BAG_OF_WORDS);
    }

    #[test]
    fn what_is_above_wins_key_by_key() {
        let all = [("a", "x = 1\n[t]\ny = 2\nz = 3"), ("b", "extends = \"a\"\n[t]\ny = 5"), ("c", "extends = \"c\"")];
        let table = |name| built_in::<toml::Table>("thing", name, &all);
        assert_eq!(table("b").unwrap(), "x = 1\n[t]\ny = 5\nz = 3".parse().unwrap());
        assert!(table("c").unwrap_err().to_string().contains("cannot extend"));
    }
}
