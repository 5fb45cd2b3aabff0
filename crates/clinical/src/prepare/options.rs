//! What to prepare, from where and by which rules.

use crate::error::{Error, Result};
use crate::id_key::IdKey;
use crate::task::Task;
use clinpeft_rng::Seed;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::AtomicBool;

/// The preset of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fidelity {
    /// As the paper describes it: corrected.
    Paper,
    /// As the published code does it.
    Code,
}

impl Fidelity {
    /// `paper` or `code`.
    pub const fn name(self) -> &'static str {
        match self {
            Fidelity::Paper => "paper",
            Fidelity::Code => "code",
        }
    }
}

impl FromStr for Fidelity {
    type Err = Error;

    fn from_str(name: &str) -> Result<Fidelity, Error> {
        match name {
            "paper" => Ok(Fidelity::Paper),
            "code" => Ok(Fidelity::Code),
            _ => Err(Error::UnknownName { kind: "fidelity", name: name.into(), known: "paper, code" }),
        }
    }
}

/// What the adaptation corpus is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CorpusSource {
    /// No corpus.
    None,
    /// Discharge summaries, then radiology reports of MIMIC-IV-Note.
    Mimic4,
    /// All notes of MIMIC-III.
    Mimic3,
    /// MIMIC-III, then MIMIC-IV.
    Combined,
}

impl CorpusSource {
    /// `none`, `mimic4`, `mimic3` or `combined`.
    pub const fn name(self) -> &'static str {
        match self {
            CorpusSource::None => "none",
            CorpusSource::Mimic4 => "mimic4",
            CorpusSource::Mimic3 => "mimic3",
            CorpusSource::Combined => "combined",
        }
    }
}

impl FromStr for CorpusSource {
    type Err = Error;

    fn from_str(name: &str) -> Result<CorpusSource, Error> {
        [CorpusSource::None, CorpusSource::Mimic4, CorpusSource::Mimic3, CorpusSource::Combined]
            .into_iter()
            .find(|source| source.name() == name)
            .ok_or_else(|| Error::UnknownName {
                kind: "corpus",
                name: name.into(),
                known: "none, mimic4, mimic3, combined",
            })
    }
}

/// What becomes of samples and notes of the training side whose like is held out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NearDuplicates {
    /// They are counted.
    #[default]
    Keep,
    /// They are dropped, and counted in the attrition.
    Exclude,
}

impl NearDuplicates {
    pub(super) const fn word(self) -> &'static str {
        match self {
            NearDuplicates::Keep => "kept",
            NearDuplicates::Exclude => "dropped",
        }
    }
}

/// Whether a preparation also tells what its rules change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Diff {
    /// No report.
    #[default]
    None,
    /// `diff.json` and `diff.md`; the notes of the tasks are joined and cut nine times more, but not read again.
    CodeToPaper,
}

/// Where the key comes from by which ids leave the dataset folder ([`IdKey`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IdSource {
    /// That of the older dataset folder at the same place, so that ids stay joinable; a random one if there is none.
    #[default]
    Kept,
    /// Made from a seed: for synthetic cohorts.
    Seeded(Seed),
}

impl IdSource {
    pub(super) fn key(self, older: &Path) -> Result<IdKey> {
        match self {
            IdSource::Seeded(seed) => Ok(IdKey::of_seed(seed)),
            IdSource::Kept => IdKey::find(older)?.map_or_else(IdKey::random, Ok),
        }
    }
}

/// What to prepare, from where, by which rules.
#[derive(Debug, Clone)]
pub struct PrepareOptions {
    /// Folder with the tables of MIMIC-III v1.4; needed for the tasks.
    pub mimic3: Option<PathBuf>,
    /// Folder with `discharge.csv.gz` and `radiology.csv.gz` of MIMIC-IV-Note 2.2.
    pub mimic4_note: Option<PathBuf>,
    /// The dataset folder to make.
    pub out: PathBuf,
    /// The preset of rules.
    pub fidelity: Fidelity,
    /// Folder with `mimic_{train,val,test}.csv`, each a list of `SUBJECT_ID`.
    pub splits: Option<PathBuf>,
    /// Root seed: splits that no list gives.
    pub seed: Seed,
    /// The tasks to prepare; none for the corpus alone.
    pub tasks: Vec<Task>,
    /// The adaptation corpus to prepare.
    pub corpus: CorpusSource,
    /// A list `id,label,split` of the ventilation task (`id` is the HADM_ID), in place of a cohort from the bedside tables.
    pub pmv_labels: Option<PathBuf>,
    /// What becomes of training samples whose like is held out.
    pub near_duplicates: NearDuplicates,
    /// Whether a report tells what each rule changes from `code` to `paper`.
    pub diff: Diff,
    /// Where the key of ids comes from.
    pub ids: IdSource,
    /// Threads that work on texts, beside those that unpack and write; the result does not depend on it.
    pub threads: usize,
    /// Set to end the preparation early, with an error and without a folder.
    pub stop: Option<&'static AtomicBool>,
}

impl PrepareOptions {
    /// The tasks, each once, in a fixed order.
    pub(super) fn tasks(&self) -> impl Iterator<Item = Task> {
        Task::ALL.into_iter().filter(|task| self.tasks.contains(task))
    }

    /// Errors if what is read lies in the folder that would be replaced.
    pub(super) fn refuse_own_inputs(&self) -> Result<()> {
        let Ok(out) = self.out.canonicalize() else { return Ok(()) };
        let read = [&self.mimic3, &self.mimic4_note, &self.splits, &self.pmv_labels].into_iter().flatten();
        if read.filter_map(|path| path.canonicalize().ok()).any(|path| path.starts_with(&out)) {
            let what = "is or holds what is read".into();
            return Err(clinpeft_files::Error::Foreign { path: self.out.clone(), what }.into());
        }
        Ok(())
    }

    pub(super) fn folder_of_the_tasks(&self) -> Result<&Path> {
        self.mimic3.as_deref().ok_or(Error::Options {
            what: "the tasks are made from MIMIC-III, but no MIMIC-III folder is given",
            hint: "give the folder that holds NOTEEVENTS and ADMISSIONS",
        })
    }

    /// Whether the ventilation cohort is made from raw tables.
    pub(super) fn needs_bedside_tables(&self) -> bool {
        self.tasks.contains(&Task::Ventilation) && self.pmv_labels.is_none()
    }
}
