//! Runs on a person's own folders: `clinpeft adapt` and `clinpeft finetune`.
//!
//! Settings are those of the published runs (profile `paper`); each can be changed by its place in `run.toml`.

use crate::data::{dataset, user_csv};
use crate::error::{Error, Result};
use crate::models::registry::Family;
use crate::profiles::{BaseStart, Profile};
use crate::spec::overrides::{Overrides, with};
use crate::spec::switches::Switches;
use crate::spec::{AdapterSpec, Base, Kind, RunSpec, StackEntry};
use crate::store::{RunFolder, Store};
use clinpeft_clinical::Task;
use clinpeft_clinical::prepare::Fidelity;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// What both steps ask for.
#[derive(Debug, Clone)]
pub struct Options {
    /// The base model: a Hugging Face folder. Only a bag of words has none.
    pub base: Option<PathBuf>,
    /// A prepared dataset folder, or a CSV file with the columns that [`adapt`] and [`finetune`] name.
    pub data: PathBuf,
    /// Name in tables; made from base and adapters if absent.
    pub name: Option<String>,
    /// Seed of the run.
    pub seed: u64,
    /// Settings that differ.
    pub set: Overrides,
}

/// The adapter of step 1 under a task's own.
#[derive(Debug, Clone)]
pub struct BaseAdapter {
    /// The run folder that made it.
    pub run: PathBuf,
    /// Whether it learns on.
    pub learning: clinpeft_nn::Trainability,
}

/// What learns in step 2 beside the head.
#[derive(Debug, Clone)]
pub enum FinetuneMode {
    /// Nothing.
    Head,
    /// A new adapter of that method.
    Adapter(String),
    /// The whole model.
    Whole,
    /// TF-IDF and logistic regression in place of a model.
    BagOfWords,
}

impl Options {
    fn base(&self) -> Result<&Path> {
        let missing = || {
            let what = format!(
                "no base model is given\nhint: give its folder as `--base`; `--method {BAG_OF_WORDS}` needs none"
            );
            Error::Options(what)
        };
        self.base.as_deref().ok_or_else(missing)
    }
}

/// The method of a bag of words, by its name on the command line; it is no adapter. Profiles call its settings so.
pub const BAG_OF_WORDS: &str = "bag-of-words";

/// Methods of adapters by their names on the command line and in profiles.
pub fn methods() -> Vec<&'static str> {
    static NAMES: LazyLock<Vec<String>> =
        LazyLock::new(|| AdapterSpec::NAMES.iter().map(|name| name.replace('_', "-")).collect());
    NAMES.iter().map(String::as_str).collect()
}

/// The run of step 1. A CSV file has the columns `id` and `text`, and may have `subject` and `split` (train or test).
pub fn adapt(store: &Store, options: &Options, method: &str) -> Result<RunFolder> {
    let (profile, base) = (Profile::named("paper")?, options.base()?);
    let entry = StackEntry {
        name: "clinical".try_into()?,
        from: None,
        trainable: true,
        active: true,
        adapter: Some(adapter(&profile, method, Family::of(base)?)?),
    };
    let row = options.name.clone().unwrap_or_else(|| format!("{} + {method}", folder_name(base)));
    let step = profile.adaptation.clone();
    let spec = RunSpec {
        kind: Kind::Adaptation,
        table: Some(2),
        stack: vec![entry],
        tokens: step.tokens,
        training: step.training,
        ..spec(store, &profile, options, (row, model(base)?), None)?
    };
    create(store, spec, &options.set)
}

/// The run of step 2. A CSV file has the columns `id`, `text` and `label`, and may have `subject` and `split` (train,
/// validation or test). Labels are those of the task: names or numbers of its classes, or codes with commas between them.
pub fn finetune(
    store: &Store,
    options: &Options,
    task: Task,
    below: Option<BaseAdapter>,
    learner: &FinetuneMode,
) -> Result<RunFolder> {
    let profile = Profile::named("paper")?;
    if matches!(learner, FinetuneMode::BagOfWords) {
        return bag_of_words(store, &profile, options, task, below);
    }
    let base = options.base()?;
    let mut stack = Vec::new();
    if let Some(below) = below {
        stack.push(clinical(store, &below)?);
    }
    let mut row = folder_name(base);
    row.extend(stack.iter().map(|e| format!(" + clinical ({})", if e.trainable { "trainable" } else { "frozen" })));
    if let FinetuneMode::Adapter(method) = learner {
        row += &format!(" + {method}");
        let adapter = Some(adapter(&profile, method, Family::of(base)?)?);
        stack.push(StackEntry { name: "downstream".try_into()?, from: None, trainable: true, active: true, adapter });
    }
    let full = matches!(learner, FinetuneMode::Whole);
    let step = &profile.downstream;
    let training = step.training_of(full, &stack);
    let row = options.name.clone().unwrap_or(row);
    let spec = RunSpec {
        kind: Kind::Downstream,
        table: Some(3),
        task: Some(task),
        full,
        stack,
        tokens: step.tokens.clone(),
        training,
        ..spec(store, &profile, options, (row, model(base)?), Some(task))?
    };
    create(store, spec, &options.set)
}

fn bag_of_words(
    store: &Store,
    profile: &Profile,
    options: &Options,
    task: Task,
    below: Option<BaseAdapter>,
) -> Result<RunFolder> {
    if options.base.is_some() || below.is_some() {
        let what = "a bag of words takes no base model and no adapter\nhint: leave out `--base` and `--clinical`";
        return Err(Error::Options(what.into()));
    }
    let BaseStart::BagOfWords(settings) = profile.base(BAG_OF_WORDS)?.start.clone() else {
        return Err(Error::Options(format!("the profile has no settings of `{BAG_OF_WORDS}`")));
    };
    let row = options.name.clone().unwrap_or_else(|| clinpeft_report::BAG_OF_WORDS.into());
    let spec = RunSpec {
        table: Some(3),
        task: Some(task),
        tokens: Default::default(),
        training: Default::default(),
        ..spec(store, profile, options, (row, Base::BagOfWords(settings)), Some(task))?
    };
    create(store, spec, &options.set)
}

/// The adapter of a finished run of the same output folder.
fn clinical(store: &Store, below: &BaseAdapter) -> Result<StackEntry> {
    let run = RunFolder::at(&std::path::absolute(&below.run).map_err(clinpeft_files::at("find", &below.run))?);
    let made = run.spec()?;
    let same = store.run(&run.name()).path().canonicalize().ok() == run.path().canonicalize().ok();
    let [entry] = &made.stack[..] else {
        let what = format!("run `{}` has no adapter of its own\nhint: give the run of `clinpeft adapt`", run.name());
        return Err(Error::Options(what));
    };
    if !same {
        let what = format!("run `{}` lies in another output folder", run.name());
        return Err(Error::Options(format!("{what}\nhint: give `--out` as in `clinpeft adapt`")));
    }
    let trainable = below.learning == clinpeft_nn::Trainability::Trainable;
    Ok(StackEntry { name: entry.name.clone(), from: Some(run.name()), trainable, active: true, adapter: None })
}

fn absolute(path: &Path) -> Result<PathBuf> {
    Ok(std::path::absolute(path).map_err(clinpeft_files::at("find", path))?)
}

/// A model in a folder.
fn model(folder: &Path) -> Result<Base> {
    let folder = absolute(folder)?;
    Family::of(&folder)?;
    Ok(Base::Folder { folder })
}

/// What all runs share.
fn spec(
    store: &Store,
    profile: &Profile,
    options: &Options,
    (row, base): (String, Base),
    task: Option<Task>,
) -> Result<RunSpec> {
    let data = absolute(&options.data)?;
    let (name, data) = if data.is_dir() {
        (data.to_string_lossy().into_owned(), data)
    } else {
        let name = user_csv::dataset(store, &data, task, options.seed)?;
        (name.clone(), store.data(&name))
    };
    if !data.join("manifest.json").is_file() {
        let what = format!("`{}` is not a dataset folder: it has no manifest.json", data.display());
        return Err(Error::Options(what + "\nhint: give a folder made by `clinpeft prepare`, or a CSV file"));
    }
    let found = dataset::found(&data, name)?;
    Ok(RunSpec {
        kind: Kind::Downstream,
        table: None,
        row,
        task: None,
        seed: options.seed,
        fidelity: Fidelity::Paper,
        data: Some(found.name.clone()),
        data_hash: Some(found.hash.clone()),
        switches: Switches::preset(Fidelity::Paper),
        data_rules: found.rules,
        bootstrap_resamples: profile.bootstrap_resamples,
        base,
        full: false,
        tokens: profile.adaptation.tokens.clone(),
        training: profile.adaptation.training.clone(),
        stack: vec![],
    })
}

fn create(store: &Store, spec: RunSpec, set: &Overrides) -> Result<RunFolder> {
    store.create(&with(&spec, set)?)
}

fn folder_name(path: &Path) -> String {
    path.file_name().map_or_else(|| "model".into(), |n| n.to_string_lossy().into_owned())
}

/// The settings of a method, for the layers of a family.
fn adapter(profile: &Profile, method: &str, family: Family) -> Result<AdapterSpec> {
    let known = methods();
    let found = known.contains(&method).then(|| profile.adapters.get(method)).flatten();
    let unknown = || Error::Options(format!("unknown adapter `{method}`\nhint: known are {}", known.join(", ")));
    let mut config = found.ok_or_else(unknown)?.clone();
    if let Some(targets) = family.targets() {
        config.retarget(targets);
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_a_manifest_is_not_taken_for_a_dataset() {
        let dir = tempfile::tempdir().unwrap();
        let (base, data) = (None, dir.path().to_path_buf());
        let options = Options { base, data, name: None, seed: 1, set: Overrides::new() };
        let store = Store::new(&dir.path().join("out"));
        let e = finetune(&store, &options, Task::Mortality, None, &FinetuneMode::BagOfWords).unwrap_err().to_string();
        assert!(e.contains("is not a dataset folder"), "{e}");
    }

    #[test]
    fn every_method_has_settings_for_every_family() {
        let profile = Profile::named("paper").unwrap();
        for method in methods() {
            for family in Family::all() {
                adapter(&profile, method, family).unwrap();
            }
        }
        let said = adapter(&profile, "lore", Family::default()).unwrap_err().to_string();
        assert!(said.contains("`lore`") && said.contains("hint: known are lora"), "{said}");
    }
}
