//! The readers: for each form of file what is called, and what must come back when it is written again.

use super::tiny;
use clinpeft_clinical::prepare::{
    CorpusSource, Diff, Fidelity, IdSource, Manifest, NearDuplicates, PrepareOptions, prepare,
};
use clinpeft_clinical::synth::CohortSpec;
use clinpeft_clinical::{CorpusSplit, Dataset, OwnNotes, Task, load_corpus};
use clinpeft_experiment::resources::sizes::Sizes;
use clinpeft_experiment::{Matrix, Profile, RunSpec};
use clinpeft_nn::Trainability;
use clinpeft_peft::{AdapterBundle, load_adapter, save_adapter};
use clinpeft_report::predictions::Predictions;
use clinpeft_rng::Seed;
use clinpeft_text::{Cache, Lookup, Specials, Tokenizer};
use clinpeft_weights::{Checkpoint, Keep, Raw, encode_raw};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;

/// What became of an input: accepted, or refused with this text. An error is a broken promise.
pub type Verdict = Result<Result<(), String>, String>;

/// A form of file with its reader.
#[derive(Clone, Copy)]
pub struct Form {
    /// Its folder below `tests/corpus`.
    pub name: &'static str,
    /// Reads what is in the first folder; may write into the second, which is empty.
    pub read: fn(&Path, &Path) -> Verdict,
    /// How often it is called beside the others: slow readers less often.
    pub share: u64,
}

/// All of them.
pub const FORMS: &[Form] = &[
    Form { name: "safetensors", read: weights, share: 60 },
    Form { name: "shards", read: weights_of_folder, share: 40 },
    Form { name: "pickle", read: pickled, share: 60 },
    Form { name: "llama", read: llama, share: 60 },
    Form { name: "bert", read: bert, share: 60 },
    Form { name: "tokenizer", read: tokenizer, share: 4 },
    Form { name: "adapter", read: adapter, share: 40 },
    Form { name: "stack", read: stack, share: 30 },
    Form { name: "run", read: run, share: 40 },
    Form { name: "settings", read: settings, share: 30 },
    Form { name: "checkpoint", read: checkpoint, share: 6 },
    Form { name: "predictions", read: predictions, share: 60 },
    Form { name: "tokens", read: tokens, share: 4 },
    Form { name: "dataset", read: dataset, share: 60 },
    Form { name: "notes", read: notes, share: 60 },
    Form { name: "tables", read: tables, share: 2 },
];

/// The text of a refusal, with what it owes: one hint at most, never the canary.
fn refused<E: Error>(e: E) -> Verdict {
    let text = e.to_string();
    if text.matches("hint: ").count() > 1 {
        return Err(format!("an error with two hints: {text}"));
    }
    if text.to_lowercase().contains("zqxcanary") {
        return Err(format!("an error shows a note: {text}"));
    }
    Ok(Err(text))
}

/// Goes on with what was read, or ends with the refusal.
macro_rules! accepted {
    ($read:expr) => {
        match $read {
            Ok(value) => value,
            Err(e) => return refused(e),
        }
    };
}

/// What the program wrote itself must be written and read.
fn again<T, E: Error>(step: &str, result: Result<T, E>) -> Result<T, String> {
    result.map_err(|e| format!("accepted, but {step} fails: {e}"))
}

fn same<T: PartialEq>(what: &str, first: &T, second: &T) -> Result<(), String> {
    if first == second { Ok(()) } else { Err(format!("{what}: written and read again, it differs")) }
}

fn contents(file: &Checkpoint) -> Result<BTreeMap<String, Raw>, clinpeft_weights::Error> {
    file.tensors().keys().map(|name| Ok((name.clone(), file.raw(name)?))).collect()
}

fn plain(all: &BTreeMap<String, Raw>) -> Vec<(&String, String, &Vec<usize>, &Vec<u8>)> {
    all.iter().map(|(name, raw)| (name, format!("{:?}", raw.dtype), &raw.dims, &raw.bytes)).collect()
}

fn tensors(file: &Checkpoint, work: &Path) -> Verdict {
    let first = accepted!(contents(file));
    for name in first.keys() {
        // Integers beyond 32 bits are refused one by one.
        let _ = file.any(name, Keep::Stored);
    }
    let path = work.join("again.safetensors");
    let bytes = accepted!(encode_raw(&path, &first, file.metadata()));
    again("writing", fs::write(&path, bytes))?;
    let second = again("reading again", Checkpoint::open_file(&path))?;
    let own = |file: &Checkpoint| {
        let mut all = file.metadata().clone();
        // The checksum, which files of others lack.
        all.remove("blake3");
        all
    };
    same("metadata", &own(&second), &own(file))?;
    let second = again("reading again", contents(&second))?;
    same("tensors", &plain(&second), &plain(&first))?;
    Ok(Ok(()))
}

fn weights(dir: &Path, work: &Path) -> Verdict {
    tensors(&accepted!(Checkpoint::open_file(&dir.join("model.safetensors"))), work)
}

fn weights_of_folder(dir: &Path, work: &Path) -> Verdict {
    tensors(&accepted!(Checkpoint::open(dir)), work)
}

fn pickled(dir: &Path, work: &Path) -> Verdict {
    tensors(&accepted!(Checkpoint::open_file(&dir.join("pytorch_model.bin"))), work)
}

/// What a run asks of `config.json` first. Whatever it says: nothing else has looked at the numbers yet.
fn sizes(dir: &Path) {
    if let Ok(content) = clinpeft_files::read_json(&dir.join("config.json")) {
        let _ = Sizes::of_config(content);
    }
}

/// A model is read to the point where its weights would be missing.
fn llama(dir: &Path, _: &Path) -> Verdict {
    sizes(dir);
    let config = accepted!(clinpeft_llama::Config::load(dir));
    accepted!(config.check());
    let _ = (config.head_width(), config.theta(), config.kv_heads());
    accepted!(config.scaling());
    match clinpeft_llama::Llama::load(dir, Keep::Stored, &clinpeft_tensor::Device::Cpu) {
        Ok(_) => Ok(Ok(())),
        Err(e) => refused(e),
    }
}

fn bert(dir: &Path, _: &Path) -> Verdict {
    sizes(dir);
    let config = accepted!(clinpeft_bert::Config::load(dir));
    accepted!(config.check());
    let _ = (config.head_width(), config.pooled_dropout());
    match clinpeft_bert::Bert::load(dir, Keep::Stored, &clinpeft_tensor::Device::Cpu) {
        Ok(_) => Ok(Ok(())),
        Err(e) => refused(e),
    }
}

fn tokenizer(dir: &Path, work: &Path) -> Verdict {
    let tokenizer = accepted!(Tokenizer::open(dir));
    let text = "Chief Complaint: fever, 38.5 °C.\n\nThe patient was stable; ½ tablet 中 ▁.";
    for specials in [Specials::None, Specials::Bos, Specials::ClsSep] {
        if let Ok(ids) = tokenizer.encode(text, specials) {
            let _ = tokenizer.decode(&ids);
        }
    }
    let path = work.join("tokenizer.json");
    again("writing", tokenizer.save(&path))?;
    let second = again("reading again", Tokenizer::load(&path))?;
    same("hash", &second.hash(), &tokenizer.hash())?;
    let ids = |t: &Tokenizer| t.encode(text, Specials::None).ok();
    same("ids", &ids(&second), &ids(&tokenizer))?;
    Ok(Ok(()))
}

fn adapter(dir: &Path, work: &Path) -> Verdict {
    let shape = tiny::shape();
    let first = accepted!(load_adapter(dir, &shape, Trainability::Trainable));
    again("writing", save_adapter(work, &*first.adapter, first.task, &first.head))?;
    let second = again("reading again", load_adapter(work, &shape, Trainability::Trainable))?;
    let state = |a: &clinpeft_peft::Loaded| a.adapter.saved().map(|s| (s.keys, tiny::values(&s.tensors)));
    let (a, b) = (again("saving", state(&first))?, again("saving", state(&second))?);
    same("settings", &a.0, &b.0)?;
    same("tensors", &a.1, &b.1)?;
    same("head", &tiny::values(&first.head), &tiny::values(&second.head))?;
    Ok(Ok(()))
}

fn stack(dir: &Path, work: &Path) -> Verdict {
    let shape = tiny::shape();
    let first = accepted!(AdapterBundle::load(dir, &shape));
    again("writing", first.save(&work.join("unit")))?;
    let second = again("reading again", AdapterBundle::load(&work.join("unit"), &shape))?;
    same("roles", &first.stack.status(None), &second.stack.status(None))?;
    same("provenance", &first.provenance, &second.provenance)?;
    let labels = |u: &AdapterBundle| u.head.as_ref().map(|h| h.labels.clone());
    same("labels", &labels(&first), &labels(&second))?;
    Ok(Ok(()))
}

fn run(dir: &Path, work: &Path) -> Verdict {
    let first = accepted!(RunSpec::load(&dir.join("run.toml")));
    let text = accepted!(first.text());
    let name = accepted!(first.folder_name());
    if name.contains(['/', '\\', '\0']) || name.len() > 255 {
        return Err(format!("a run folder would be called `{name}`"));
    }
    let _ = first.settings(std::time::Duration::from_secs(1));
    let path = work.join("run.toml");
    again("writing", fs::write(&path, &text))?;
    let second = again("reading again", RunSpec::load(&path))?;
    same("text", &again("writing", second.text())?, &text)?;
    Ok(Ok(()))
}

fn settings(dir: &Path, _: &Path) -> Verdict {
    for name in ["cohort.toml", "matrix.toml", "profile.toml"] {
        let path = dir.join(name);
        if !path.is_file() {
            continue;
        }
        let text = accepted!(clinpeft_files::read_text(&path));
        match name {
            "cohort.toml" => {
                let spec: CohortSpec = accepted!(toml::from_str(&text));
                let _ = spec.scaled(0.01);
            }
            "matrix.toml" => {
                let matrix: Matrix = accepted!(toml::from_str(&text));
                let _ = (matrix.table(2), matrix.table(3));
            }
            _ => {
                let profile: Profile = accepted!(toml::from_str(&text));
                let _ = profile.parts(&[]);
            }
        }
    }
    let manifest = dir.join("manifest.json");
    if manifest.is_file() {
        let _: Manifest = accepted!(clinpeft_files::read_json(&manifest));
    }
    Ok(Ok(()))
}

fn checkpoint(dir: &Path, work: &Path) -> Verdict {
    let copy = work.join("state.safetensors");
    again("copying", fs::copy(dir.join("state.safetensors"), &copy))?;
    again("copying", fs::copy(dir.join("events.jsonl"), work.join("events.jsonl")))?;
    match tiny::go_on(work, true) {
        Ok(()) => {}
        Err(e) => return refused(e),
    }
    let first = again("reading", fs::read(&copy))?;
    again("going on", tiny::go_on(work, true))?;
    // Seconds of training are in it: only its length is the same.
    same("length", &again("reading again", fs::read(&copy))?.len().div_ceil(64), &first.len().div_ceil(64))?;
    Ok(Ok(()))
}

fn predictions(dir: &Path, work: &Path) -> Verdict {
    let path = dir.join("predictions.safetensors");
    let first = accepted!(Predictions::read(&path));
    let _ = Predictions::read_subjects(&path);
    first.with_labels(|_| ());
    let again_at = work.join("predictions.safetensors");
    again("writing", first.write(&again_at, "mortality", "test"))?;
    let second = again("reading again", Predictions::read(&again_at))?;
    // NaN is not equal to itself.
    let text = |p: &Predictions| format!("{p:?}");
    same("predictions", &text(&first), &text(&second))?;
    Ok(Ok(()))
}

fn tokens(dir: &Path, work: &Path) -> Verdict {
    let tokenizer = accepted!(Tokenizer::open(dir));
    let key = tiny::key(&tokenizer);
    // A cache names its file by the key.
    let store = Cache::new(work);
    let path = store.path(&key);
    again("copying", fs::copy(dir.join("tokens.safetensors"), &path))?;
    let sequences = match accepted!(store.load(&key)) {
        Lookup::Hit(sequences) => sequences,
        Lookup::Miss => return Err("a file that is there is a miss".into()),
        Lookup::Damaged { why } => return Ok(Err(why)),
    };
    let _ = (sequences.iter().count(), sequences.lengths(), sequences.count());
    again("writing", store.store(&key, &sequences))?;
    match again("reading again", store.load(&key))? {
        Lookup::Hit(second) => same("sequences", &second, &sequences)?,
        other => return Err(format!("its own file is {other:?}")),
    }
    Ok(Ok(()))
}

fn own_rows(path: &Path) -> clinpeft_clinical::Result<Vec<[String; 3]>> {
    let mut table = OwnNotes::open(path, &["id", "text"], &["label"])?;
    let mut rows = Vec::new();
    while let Some(row) = table.next_note()? {
        rows.push([row.text(0)?.into(), row.text(1)?.into(), row.text(2)?.into()]);
    }
    table.finish()?;
    Ok(rows)
}

fn notes(dir: &Path, work: &Path) -> Verdict {
    let rows = accepted!(own_rows(&dir.join("notes.csv")));
    let path = work.join("again.csv");
    let mut file = again("writing", csv::Writer::from_path(&path))?;
    again("writing", file.write_record(["id", "text", "label"]))?;
    for row in &rows {
        again("writing", file.write_record(row))?;
    }
    again("writing", file.flush())?;
    same("rows", &again("reading again", own_rows(&path))?, &rows)?;
    Ok(Ok(()))
}

fn dataset(dir: &Path, _: &Path) -> Verdict {
    let mut refusal = None;
    for task in Task::PUBLISHED {
        if dir.join(task.name()).is_dir() {
            match Dataset::load(dir, task) {
                Ok(_) => {}
                Err(e) => refusal = Some(refused(e)?),
            }
        }
    }
    for split in [CorpusSplit::Train, CorpusSplit::Test] {
        if let Err(e) = load_corpus(dir, split) {
            refusal = Some(refused(e)?);
        }
    }
    Ok(refusal.unwrap_or(Ok(())))
}

fn tables(dir: &Path, work: &Path) -> Verdict {
    let optional = |name: &str| Some(dir.join(name)).filter(|p| p.exists());
    for fidelity in [Fidelity::Paper, Fidelity::Code] {
        let options = PrepareOptions {
            mimic3: Some(dir.to_path_buf()),
            mimic4_note: Some(dir.to_path_buf()),
            out: work.join(fidelity.name()),
            fidelity,
            splits: None,
            seed: Seed(1),
            tasks: Task::PUBLISHED.to_vec(),
            corpus: CorpusSource::Mimic4,
            pmv_labels: optional("pmv.csv"),
            near_duplicates: NearDuplicates::Keep,
            diff: Diff::None,
            ids: IdSource::Kept,
            threads: 1,
            stop: None,
        };
        if let Err(e) = prepare(&options, &|_| {}) {
            if fs::read_dir(work).is_ok_and(|mut left| left.any(|e| e.is_ok_and(|e| e.path() == options.out))) {
                return Err("a refused cohort leaves a folder".into());
            }
            return refused(e);
        }
        for task in Task::PUBLISHED {
            again("loading what was prepared", Dataset::load(&options.out, task))?;
        }
    }
    Ok(Ok(()))
}
