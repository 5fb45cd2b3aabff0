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
//! `id-key` is the secret by which ids leave the folder ([`crate::IdKey`]); no manifest knows it.
//!
//! The folder appears whole or not at all.

mod attrition_svg;
mod corpus;
mod dedup;
mod diff;
mod filters;
mod manifest_builder;
mod options;
mod record;
mod rules;
mod split;
mod tables;
mod tasks;

pub use corpus::{clean_corrected, clean_published};
pub use diff::{Changes, DiffReport, DiffStep};
pub use options::{CorpusSource, Diff, Fidelity, IdSource, NearDuplicates, PrepareOptions};
pub use record::{
    Attrition, CohortHash, Comparison, CorpusLeaks, Count, Deviation, Irregularity, LeakReport, Manifest, OutputFile,
    ReleaseCheck, SplitLeaks, compare,
};
pub use rules::Switch;
pub use tables::ventilation::durations::{Episode, Signs, chart_event_signs, episodes};

use crate::error::{Error, Result};
use crate::output::Output;
use crate::progress::{Progress, ProgressMeter, Work};
use diff::CorpusChanges;
use manifest_builder::ManifestBuilder;
use record::release;
use rules::Rules;
use split::Splitter;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tasks::inputs::TaskInputs;

const MANIFEST: &str = "manifest.json";

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
    let mut builder = ManifestBuilder::default();
    let meter = expected(options, progress);
    let (splitter, lists) = Splitter::new(options.splits.as_deref(), options.seed)?;
    builder.inputs.extend(lists);
    let mut diff = DiffReport::default();
    if !options.tasks.is_empty() {
        let folder = options.folder_of_the_tasks()?;
        let mut inputs = TaskInputs::read(options, folder, out, &mut builder, &meter)?;
        tasks::write::write(options, &mut inputs, out, &splitter, &mut builder, &meter)?;
        if options.diff == Diff::CodeToPaper {
            diff = diff::compare(options, &mut inputs, folder, &splitter, &meter)?;
        }
    }
    let mut corpus_leaks = None;
    if options.corpus != CorpusSource::None {
        let mut changes = (options.diff == Diff::CodeToPaper).then(CorpusChanges::new);
        corpus_leaks = Some(corpus::write(options, out, &splitter, &mut builder, changes.as_mut(), &meter)?);
        changes.into_iter().for_each(|changes| diff.add(changes));
    }
    if options.diff == Diff::CodeToPaper {
        diff.write(out)?;
    }
    let mut outputs = output_files(out, &builder.written)?;
    let release = release::check(&release::Found {
        fidelity: options.fidelity,
        inputs: &builder.inputs,
        attrition: &builder.attrition,
        counts: &builder.counts,
        labels: builder.labels,
    });
    let cohort = CohortHash::of(&outputs);
    outputs.extend(write_attrition(out, &builder.attrition)?);
    outputs.sort_by(|a, b| a.path.cmp(&b.path));
    let manifest = Manifest {
        program_version: env!("CARGO_PKG_VERSION").into(),
        fidelity: options.fidelity,
        seed: options.seed.0,
        switches: switches(options),
        release,
        inputs: builder.inputs,
        attrition: builder.attrition,
        counts: builder.counts,
        leaks: LeakReport {
            parameters: dedup::parameters(),
            splits: builder.near_duplicates.report(options.near_duplicates.word()),
            corpus: corpus_leaks,
        },
        irregularities: builder.irregularities.list(),
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
fn expected<'a>(options: &PrepareOptions, progress: &'a dyn Fn(Progress)) -> ProgressMeter<'a> {
    let meter = ProgressMeter::new(progress, options.stop);
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
    std::fs::write(&picture, attrition_svg::attrition_svg(steps)).map_err(Error::at("write", &picture))?;
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
