//! From a cohort's description to a dataset folder, once.

use crate::downstream::auroc_of;
use crate::plan::Common;
use crate::{Error, Profile, Result, Store};
use clinpeft_clinical::prepare::{CorpusSource, Diff, Fidelity, Manifest, NearDuplicates, PrepareOptions, prepare};
use clinpeft_clinical::synth::{CohortSpec, synth};
use clinpeft_clinical::{Dataset, Example, HadmId, Progress, Task, TaskKind, truth};
use clinpeft_report::{CohortCounts, Splits, TaskCounts};
use clinpeft_rng::Seed;
use std::collections::BTreeMap;
use std::path::Path;

/// A dataset that is ready.
#[derive(Debug, Clone)]
pub struct Ready {
    /// Name of its folder below `<out>/data`.
    pub name: String,
    /// BLAKE3 of its manifest.
    pub hash: String,
    /// The rules that its manifest names.
    pub rules: BTreeMap<String, String>,
    /// Sizes of the tasks.
    pub counts: CohortCounts,
}

impl Ready {
    /// What is the same for all runs on it.
    pub fn common(&self, fidelity: Fidelity, seeds: Vec<u64>) -> Common {
        let (data, data_hash) = (self.name.clone(), self.hash.clone());
        Common { data, data_hash, data_rules: self.rules.clone(), fidelity, seeds }
    }
}

/// Makes the profile's synthetic cohort and prepares it, unless that was done before.
pub fn ready(store: &Store, profile: &Profile, fidelity: Fidelity, progress: &dyn Fn(Progress)) -> Result<Ready> {
    let spec = profile.cohort_spec()?;
    let text = format!("{spec:?} {} {} {}", profile.cohort_seed, fidelity.name(), env!("CARGO_PKG_VERSION"));
    let folder = format!("{}-{}", profile.cohort, &clinpeft_files::hash_bytes(text)[..12]);
    let (raw, data) = (store.raw(&folder), store.data(&folder));
    let _lock = clinpeft_files::lock(&store.root().join("data"))?;
    if !data.join("ceilings.json").exists() {
        make(&spec, profile, fidelity, &raw, &data, progress)?;
    }
    let manifest: Manifest = clinpeft_files::read_json(&data.join("manifest.json"))?;
    Ok(Ready {
        hash: clinpeft_files::hash_file(&data.join("manifest.json"))?,
        counts: counts(&manifest, &data)?,
        rules: manifest.switches,
        name: folder,
    })
}

fn make(
    spec: &CohortSpec,
    profile: &Profile,
    fidelity: Fidelity,
    raw: &Path,
    data: &Path,
    progress: &dyn Fn(Progress),
) -> Result<()> {
    let seed = Seed(profile.cohort_seed);
    synth(spec, seed.part("cohort"), raw, progress)?;
    let options = PrepareOptions {
        mimic3: Some(raw.join("mimic3")),
        mimic4_note: Some(raw.join("mimic4-note")),
        out: data.into(),
        fidelity,
        splits: None,
        seed,
        tasks: Task::ALL.to_vec(),
        corpus: CorpusSource::Mimic4,
        pmv_labels: None,
        near_duplicates: NearDuplicates::Keep,
        diff: Diff::None,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        stop: None,
    };
    prepare(&options, progress)?;
    // Last, so that its presence says that everything before it is there.
    let ceilings = ceilings(&raw.join("truth"), data, &profile.tasks)?;
    Ok(clinpeft_files::write_json(&data.join("ceilings.json"), &ceilings)?)
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

fn counts(manifest: &Manifest, data: &Path) -> Result<CohortCounts> {
    let mut tasks: BTreeMap<String, TaskCounts> = BTreeMap::new();
    for count in &manifest.counts {
        let Ok(task) = count.task.parse::<Task>() else { continue };
        let kind = match task.kind() {
            TaskKind::Binary => "binary",
            TaskKind::Multiclass => "classes",
            TaskKind::Multilabel => "multilabel",
        };
        let labels = clinpeft_files::read_text(&data.join(task.name()).join("labels.txt"))?.lines().count() as u64;
        let splits = Splits { train: 0, validation: 0, test: 0 };
        let fresh = TaskCounts { classes: labels, kind: kind.into(), splits };
        let splits = &mut tasks.entry(count.task.clone()).or_insert(fresh).splits;
        match count.split.as_str() {
            "train" => splits.train = count.samples,
            "validation" => splits.validation = count.samples,
            _ => splits.test = count.samples,
        }
    }
    Ok(CohortCounts { tasks })
}
