//! From a cohort's description to a dataset folder, once.

use crate::data::inputs_dir::Inputs;
use crate::error::{Error, Result};
use crate::events::ProgressEvent;
use crate::profiles::{Data, cohort_named};
use crate::run::evaluation::auroc_of;
use crate::store::Store;
use clinpeft_clinical::prepare::{CorpusSource, Diff, Fidelity, IdSource, NearDuplicates, PrepareOptions, prepare};
use clinpeft_clinical::synth::{CohortSpec, synth};
use clinpeft_clinical::{Dataset, Example, HadmId, IdKey, Progress, Task, TaskKind, truth};
use clinpeft_report::{CohortCounts, Splits, TaskCounts};
use clinpeft_rng::Seed;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// A dataset that is ready.
#[derive(Debug, Clone)]
pub struct DatasetInfo {
    /// Name of its folder below `<out>/data`.
    pub name: String,
    /// BLAKE3 of its manifest.
    pub hash: String,
    /// The rules that its manifest names.
    pub rules: BTreeMap<String, String>,
    /// Sizes of the tasks.
    pub counts: CohortCounts,
}

/// The dataset's name below `<out>/data`.
pub(crate) fn name(data: &Data, fidelity: Fidelity, inputs: &Inputs) -> Result<String> {
    let version = env!("CARGO_PKG_VERSION");
    let (name, text) = match data {
        Data::Synthetic { cohort, seed } => {
            let spec = cohort_named(cohort)?;
            (cohort.as_str(), format!("{spec:?} {seed} {} {version}", fidelity.name()))
        }
        Data::Mimic { seed } => ("mimic", format!("{inputs:?} {seed} {} {version}", fidelity.name())),
    };
    Ok(format!("{name}-{}", &clinpeft_files::hash_bytes(text)[..12]))
}

/// Makes or prepares the data of a profile, unless that was done before.
pub fn ready(
    store: &Store,
    data: &Data,
    fidelity: Fidelity,
    inputs: &Inputs,
    tell: &dyn Fn(ProgressEvent<'_>),
) -> Result<DatasetInfo> {
    let name = name(data, fidelity, inputs)?;
    let folder = store.data(&name);
    store.open()?;
    let _lock = clinpeft_files::lock(&store.root().join("data"))?;
    let progress = &|p| tell(ProgressEvent::Cohort(p));
    if let (Data::Synthetic { .. }, true) = (data, folder.exists()) {
        // An older version made folders without a key.
        let whole = clinpeft_files::verify(&folder).map_err(Error::from);
        if let Err(why) = whole.and_then(|()| Ok(IdKey::read(&folder).map(|_| ())?)) {
            tell(ProgressEvent::DataDamaged(&why));
            clinpeft_files::set_aside(&folder)?;
        }
    }
    match data {
        Data::Synthetic { cohort, seed } if !folder.join("ceilings.json").exists() => {
            make(&cohort_named(cohort)?, Seed(*seed), fidelity, &store.raw(&name), &folder, progress)?;
        }
        Data::Mimic { seed } if !folder.join("manifest.json").exists() => {
            let options = PrepareOptions {
                splits: inputs.optional("splits"),
                pmv_labels: inputs.optional("pmv.csv"),
                ..options(&inputs.folder, &folder, fidelity, Seed(*seed))
            };
            prepare(&options, progress)?;
        }
        _ => {}
    }
    found(&folder, name)
}

/// The data of a profile as they are; what is not prepared has the published sizes and no hash.
pub(crate) fn planned(store: &Store, data: &Data, fidelity: Fidelity, inputs: &Inputs) -> Result<DatasetInfo> {
    let name = name(data, fidelity, inputs)?;
    let folder = store.data(&name);
    if folder.join("manifest.json").exists() {
        return found(&folder, name);
    }
    Ok(DatasetInfo { name, hash: "not prepared".into(), rules: BTreeMap::new(), counts: published()? })
}

/// The published sizes of the tasks and of the adaptation corpus (Table 1; 2,653,149 notes, of which a tenth is held out).
fn published() -> Result<CohortCounts> {
    let text = include_str!("../../../../datasets/published/table1.csv");
    let wrong = |what: String| Error::Config { path: "datasets/published/table1.csv".into(), what };
    let mut tasks = BTreeMap::new();
    for row in csv::Reader::from_reader(text.as_bytes()).records() {
        let row = row.map_err(|e| wrong(e.to_string()))?;
        let number = |i: usize| row[i].parse().map_err(|_| wrong(format!("`{}` is no number", &row[i])));
        let splits = Splits { train: number(3)?, validation: number(4)?, test: number(5)? };
        tasks.insert(row[0].to_string(), TaskCounts { classes: number(1)?, kind: row[2].to_string(), splits });
    }
    Ok(CohortCounts { tasks, adaptation: Some(Splits { train: 2_387_834, validation: 0, test: 265_315 }) })
}

/// What a manifest must say.
#[derive(Deserialize)]
struct Sized {
    switches: BTreeMap<String, String>,
    counts: Vec<Count>,
}

#[derive(Deserialize)]
struct Count {
    task: String,
    split: String,
    samples: u64,
}

/// A dataset folder that is there.
pub(crate) fn found(folder: &Path, name: String) -> Result<DatasetInfo> {
    let manifest: Sized = clinpeft_files::read_json(&folder.join("manifest.json"))?;
    Ok(DatasetInfo {
        hash: clinpeft_files::hash_file(&folder.join("manifest.json"))?,
        counts: counts(&manifest, folder)?,
        rules: manifest.switches,
        name,
    })
}

/// All tasks and the MIMIC-IV corpus from the raw files in a folder.
fn options(raw: &Path, out: &Path, fidelity: Fidelity, seed: Seed) -> PrepareOptions {
    PrepareOptions {
        mimic3: Some(raw.join("mimic3")),
        mimic4_note: Some(raw.join("mimic4-note")),
        out: out.into(),
        fidelity,
        splits: None,
        seed,
        tasks: Task::PUBLISHED.to_vec(),
        corpus: CorpusSource::Mimic4,
        pmv_labels: None,
        near_duplicates: NearDuplicates::Keep,
        diff: Diff::None,
        ids: IdSource::Kept,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        stop: None,
    }
}

fn make(
    spec: &CohortSpec,
    seed: Seed,
    fidelity: Fidelity,
    raw: &Path,
    data: &Path,
    progress: &dyn Fn(Progress),
) -> Result<()> {
    clinpeft_files::private_dir(raw.parent().unwrap_or(raw))?;
    synth(spec, seed.part("cohort"), raw, progress)?;
    let options = PrepareOptions { ids: IdSource::Seeded(seed), ..options(raw, data, fidelity, seed) };
    prepare(&options, progress)?;
    // Last, so that its presence says that everything before it is there.
    let ceilings = ceilings(&raw.join("truth"), data, &Task::PUBLISHED)?;
    let json = serde_json::to_vec_pretty(&ceilings).map_err(|e| Error::Options(format!("ceilings: {e}")))?;
    Ok(clinpeft_files::write_into(data, "ceilings.json", clinpeft_files::Access::Private, &json)?)
}

/// Best reachable test AUROC of a task, where the cohort's truth is known.
pub(crate) fn ceiling(data: &Path, task: Task) -> Result<Option<f64>> {
    let path = data.join("ceilings.json");
    if !path.exists() {
        return Ok(None);
    }
    let all: BTreeMap<String, f64> = clinpeft_files::read_json(&path)?;
    Ok(all.get(task.name()).copied())
}

/// AUROC of the true probabilities on each test split.
fn ceilings(folder: &Path, data: &Path, tasks: &[Task]) -> Result<BTreeMap<String, f64>> {
    let mut all = BTreeMap::new();
    for task in tasks {
        let (data, truth) = (Dataset::load(data, *task)?, truth::load(folder, *task)?);
        let places: Option<Vec<usize>> = match task.kind() {
            TaskKind::Binary => Some(vec![1]),
            TaskKind::Multiclass => Some((0..data.labels.len()).collect()),
            TaskKind::Multilabel => data.labels.iter().map(|l| truth.labels.iter().position(|t| t == l)).collect(),
        };
        // Labels that the published rules have merged have no truth of their own.
        let Some(places) = places else { continue };
        let row = |e: &Example| known(&truth.rows, e.id);
        let mut probabilities = Vec::new();
        for e in &data.test {
            let p = row(e)?;
            probabilities.extend(places.iter().map(|i| p.get(*i).copied().unwrap_or(0.0)));
        }
        if let Some(auroc) = auroc_of(*task, &data, &data.test, probabilities)? {
            all.insert(task.name().to_string(), auroc);
        }
    }
    Ok(all)
}

fn known(rows: &BTreeMap<HadmId, Vec<f32>>, id: HadmId) -> Result<&Vec<f32>> {
    rows.get(&id).ok_or_else(|| Error::Options("the cohort's truth lacks an admission of the test split".into()))
}

fn counts(manifest: &Sized, data: &Path) -> Result<CohortCounts> {
    let mut found = CohortCounts::default();
    for count in &manifest.counts {
        let none = Splits { train: 0, validation: 0, test: 0 };
        let splits = if let Ok(task) = count.task.parse::<Task>() {
            let kind = match task.kind() {
                TaskKind::Binary => "binary",
                TaskKind::Multiclass => "classes",
                TaskKind::Multilabel => "multilabel",
            };
            let labels = clinpeft_files::read_text(&data.join(task.name()).join("labels.txt"))?.lines().count() as u64;
            let fresh = TaskCounts { classes: labels, kind: kind.into(), splits: none };
            &mut found.tasks.entry(count.task.clone()).or_insert(fresh).splits
        } else {
            found.adaptation.get_or_insert(none)
        };
        match count.split.as_str() {
            "train" => splits.train = count.samples,
            "validation" => splits.validation = count.samples,
            _ => splits.test = count.samples,
        }
    }
    Ok(found)
}
