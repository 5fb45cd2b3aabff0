//! From the raw tables to a dataset folder.
//!
//! Two presets of rules exist. [`Fidelity::Code`] repeats the published task scripts, losses included, to the byte;
//! [`Fidelity::Paper`] does what the paper describes, with those losses repaired. The differences are listed by name in the
//! manifest ([`Manifest::switches`]):
//!
//! | switch | `Code` | `Paper` |
//! |---|---|---|
//! | `sections` | published expression: header variants and last sections are lost | variants known, last section kept |
//! | `note_order` | by date, equal dates as NumPy's unstable sort leaves them | by date, report first, row |
//! | `error_notes` | used, also texts of white space alone | dropped |
//! | `death_mentions` | first mention per header deleted | all mentions deleted in the two sections |
//! | `column_types` | inferred: procedure codes are numbers and lose their zeros | codes are strings |
//! | `label_order` | first appearance in the file | sorted |
//! | `ventilation_split` | by admission 80/10/10 | by patient, as the other tasks |
//! | `corpus_cleaning` | runs of the space character | all white space, repeats and error notes dropped |
//! | `corpus_leaks` | counted | notes that hold a held-out sample, or belong to its patient, are dropped |
//! | `corpus_split` | by note | by patient |
//!
//! Input that cannot be right is where both presets leave the published scripts on purpose:
//!
//! | input | published scripts | here |
//! |---|---|---|
//! | no sample is left for a split | an empty file | [`Error::EmptySplit`] |
//! | a patient in two of the lists | samples in both splits | an error that names the row |
//! | a discharge summary without a patient's number | the admission is left out | the same |
//! | a row with fewer cells than the header | missing cells are empty | the same |
//! | a table without a row | empty files | [`Error::NoRows`] |
//! | an admission that is listed twice | its samples twice | once, by its last row; an irregularity in the manifest |
//!
//! Beside the data the folder holds `manifest.json` ([`Manifest`]), `attrition.csv` and `.svg` and, if asked for, what each switch
//! changes ([`DiffReport`]). Two manifests tell whether two folders hold the same data ([`compare()`]).
//!
//! `id-key` is the secret by which ids leave the folder ([`IdKey`]); no manifest knows it.
//!
//! The folder appears whole or not at all.

mod admissions;
mod codes;
mod compare;
mod corpus;
mod death;
mod diff;
mod durations;
mod leaks;
mod manifest;
mod near;
mod notes;
mod order;
mod picture;
#[cfg(test)]
mod planted;
mod release;
mod rules;
mod samples;
mod split;
mod ventilation;
mod ventilation_list;
mod version;

pub use compare::{CohortHash, Comparison, compare};
pub use corpus::{clean_corrected, clean_published};
pub use diff::{Changes, DiffReport, DiffStep};
pub use durations::{Episode, Signs, chart_event_signs, episodes};
pub use leaks::{CorpusLeaks, LeakReport, SplitLeaks};
pub use manifest::{Attrition, Count, Irregularity, Manifest, OutputFile};
pub use release::{Deviation, ReleaseCheck};
pub use rules::Switch;

use crate::error::{Error, Result};
use crate::id_key::IdKey;
use crate::output::Output;
use crate::progress::{Meter, Progress, Work};
use crate::table::InputFile;
use crate::task::Task;
use clinpeft_rng::Seed;
use diff::CorpusChanges;
use manifest::Oddities;
use rules::Rules;
use samples::Material;
use split::Splitter;
use std::collections::BTreeMap;
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
    const fn word(self) -> &'static str {
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
    fn key(self, older: &Path) -> Result<IdKey> {
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
    fn tasks(&self) -> impl Iterator<Item = Task> {
        Task::ALL.into_iter().filter(|task| self.tasks.contains(task))
    }

    /// Errors if what is read lies in the folder that would be replaced.
    fn refuse_own_inputs(&self) -> Result<()> {
        let Ok(out) = self.out.canonicalize() else { return Ok(()) };
        let read = [&self.mimic3, &self.mimic4_note, &self.splits, &self.pmv_labels].into_iter().flatten();
        if read.filter_map(|path| path.canonicalize().ok()).any(|path| path.starts_with(&out)) {
            let what = "is or holds what is read".into();
            return Err(clinpeft_files::Error::Foreign { path: self.out.clone(), what }.into());
        }
        Ok(())
    }

    fn folder_of_the_tasks(&self) -> Result<&Path> {
        self.mimic3.as_deref().ok_or(Error::Options {
            what: "the tasks are made from MIMIC-III, but no MIMIC-III folder is given",
            hint: "give the folder that holds NOTEEVENTS and ADMISSIONS",
        })
    }

    /// Whether the ventilation cohort is made from raw tables.
    fn needs_bedside_tables(&self) -> bool {
        self.tasks.contains(&Task::Ventilation) && self.pmv_labels.is_none()
    }
}

const MANIFEST: &str = "manifest.json";

/// What the steps of a preparation collect for the manifest.
#[derive(Default)]
struct Ledger {
    inputs: Vec<InputFile>,
    attrition: Vec<Attrition>,
    counts: Vec<Count>,
    oddities: Oddities,
    sketches: leaks::Sketches,
    register: near::Register,
    labels: BTreeMap<String, u64>,
    /// Hashes of files that were hashed as they were written.
    written: BTreeMap<PathBuf, String>,
}

/// Makes a dataset folder; see the module for the rules.
///
/// An older dataset folder at the same place is replaced; a folder that holds anything that this program did not write is refused.
pub fn prepare(options: &PrepareOptions, progress: &dyn Fn(Progress)) -> Result<Manifest> {
    if options.tasks.is_empty() && options.corpus == CorpusSource::None {
        return Err(Error::Options {
            what: "neither a task nor a corpus is to be prepared",
            hint: "give a MIMIC-III folder, a MIMIC-IV-Note folder, or both",
        });
    }
    options.refuse_own_inputs()?;
    let pending = clinpeft_files::commit_dir(&options.out, clinpeft_files::Access::Private)?;
    let out = pending.path();
    let mut ledger = Ledger::default();
    let meter = expected(options, progress);
    let (splitter, lists) = Splitter::new(options.splits.as_deref(), options.seed)?;
    ledger.inputs.extend(lists);
    let mut diff = DiffReport::default();
    if !options.tasks.is_empty() {
        let folder = options.folder_of_the_tasks()?;
        let mut material = Material::read(options, folder, out, &mut ledger, &meter)?;
        samples::write(options, &mut material, out, &splitter, &mut ledger, &meter)?;
        if options.diff == Diff::CodeToPaper {
            diff = diff::compare(options, &mut material, folder, &splitter, &meter)?;
        }
    }
    let mut corpus_leaks = None;
    if options.corpus != CorpusSource::None {
        let mut changes = (options.diff == Diff::CodeToPaper).then(CorpusChanges::new);
        corpus_leaks = Some(corpus::write(options, out, &splitter, &mut ledger, changes.as_mut(), &meter)?);
        changes.into_iter().for_each(|changes| diff.add(changes));
    }
    if options.diff == Diff::CodeToPaper {
        diff.write(out)?;
    }
    let mut outputs = output_files(out, &ledger.written)?;
    let release = release::check(&release::Found {
        fidelity: options.fidelity,
        inputs: &ledger.inputs,
        attrition: &ledger.attrition,
        counts: &ledger.counts,
        labels: ledger.labels,
    });
    let cohort = CohortHash::of(&outputs);
    outputs.extend(write_attrition(out, &ledger.attrition)?);
    outputs.sort_by(|a, b| a.path.cmp(&b.path));
    let manifest = Manifest {
        program_version: env!("CARGO_PKG_VERSION").into(),
        fidelity: options.fidelity,
        seed: options.seed.0,
        switches: switches(options),
        release,
        inputs: ledger.inputs,
        attrition: ledger.attrition,
        counts: ledger.counts,
        leaks: LeakReport::new(ledger.register.report(options.near_duplicates.word()), corpus_leaks),
        irregularities: ledger.oddities.list(),
        cohort,
        outputs,
    };
    clinpeft_files::write_json(&out.join(MANIFEST), &manifest)?;
    // Not in the manifest, whose hash names the data: the key is no part of them.
    options.ids.key(&options.out)?.write(out)?;
    pending.commit()?;
    Ok(manifest)
}

/// The large tables, as often as they will be read.
fn expected<'a>(options: &PrepareOptions, progress: &'a dyn Fn(Progress)) -> Meter<'a> {
    let meter = Meter::new(progress, options.stop);
    let with_mimic3 = matches!(options.corpus, CorpusSource::Mimic3 | CorpusSource::Combined);
    let with_mimic4 = matches!(options.corpus, CorpusSource::Mimic4 | CorpusSource::Combined);
    let tables = [
        (&options.mimic3, "CHARTEVENTS", Work::Read, options.needs_bedside_tables()),
        (&options.mimic3, "NOTEEVENTS", Work::Read, !options.tasks.is_empty()),
        (&options.mimic3, "NOTEEVENTS", Work::Rewrite, with_mimic3),
        (&options.mimic4_note, "discharge", Work::Rewrite, with_mimic4),
        (&options.mimic4_note, "radiology", Work::Rewrite, with_mimic4),
    ];
    for (folder, table, work, read) in tables {
        if let (Some(folder), true) = (folder, read) {
            meter.expect(folder, table, work);
        }
    }
    meter
}

fn switches(options: &PrepareOptions) -> BTreeMap<String, String> {
    let rules = Rules::of(options.fidelity);
    let splits = match options.splits {
        Some(_) => "listed",
        None => "hashed_by_patient_70_10_20",
    };
    Switch::ALL
        .into_iter()
        .map(|switch| (switch.name(), rules.word(switch)))
        .chain([
            ("corpus", options.corpus.name()),
            ("splits", splits),
            ("ventilation_labels", if options.pmv_labels.is_some() { "listed" } else { "from_raw_tables" }),
            ("near_duplicates", options.near_duplicates.word()),
        ])
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}

/// The filters as a table and as a picture; they tell about the data and are no part of them.
fn write_attrition(out: &Path, steps: &[Attrition]) -> Result<[OutputFile; 2]> {
    let (table, picture) = (out.join("attrition.csv"), out.join("attrition.svg"));
    let mut rows = Output::create(&table, &["task", "filter", "kept", "dropped"])?;
    for step in steps {
        rows.row([&step.task, &step.filter, &step.kept.to_string(), &step.dropped.to_string()])?;
    }
    let hashed = [rows.finish()?].into();
    std::fs::write(&picture, picture::attrition_svg(steps)).map_err(Error::at("write", &picture))?;
    Ok([output_file(out, &table, &hashed)?, output_file(out, &picture, &hashed)?])
}

fn output_files(out: &Path, hashed: &BTreeMap<PathBuf, String>) -> Result<Vec<OutputFile>> {
    clinpeft_files::walk(out)?.iter().map(|path| output_file(out, path, hashed)).collect()
}

fn output_file(out: &Path, path: &Path, hashed: &BTreeMap<PathBuf, String>) -> Result<OutputFile> {
    let inside = path.strip_prefix(out).unwrap_or(path);
    let parts: Vec<_> = inside.iter().map(|p| p.to_string_lossy()).collect();
    Ok(OutputFile {
        path: parts.join("/"),
        bytes: path.metadata().map_err(Error::at("inspect", path))?.len(),
        blake3: hashed.get(path).map_or_else(|| clinpeft_files::hash_file(path), |hash| Ok(hash.clone()))?,
    })
}
