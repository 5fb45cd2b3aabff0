//! What trials begin with, made once by the program itself: raw files, datasets, a store with finished runs, models, notes.

use super::child::{Call, said, start};
use super::leaks::Secrets;
use super::tree;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

/// What a call leaves behind, by path.
pub type Results = BTreeMap<PathBuf, Vec<u8>>;

/// What an undisturbed call leaves behind, and how long it took.
#[derive(Debug)]
pub struct Calm {
    /// What it leaves.
    pub results: Results,
    /// Seconds.
    pub seconds: f64,
}

/// What trials begin with.
pub struct World {
    /// The program; a copy, so that a build does not change it.
    pub program: PathBuf,
    /// The folder with the parts.
    folder: PathBuf,
    /// What nobody may see.
    pub secrets: Secrets,
    /// The same without ids, for what a person asks to see.
    pub keys: Secrets,
    /// What undisturbed calls leave, once somebody asked: [`super::deeds::Deed::calm`].
    pub calm: RefCell<BTreeMap<&'static str, Rc<Calm>>>,
}

/// The part of the matrix that a store holds: a base, an adaptation, and a cell with both adapters.
pub const PART: [&str; 7] =
    ["reproduce", "--profile", "smoke", "--fidelity", "paper", "--only", "(Trainable) + Downstream,mortality"];

/// Settings of runs on one's own notes, so that they take a second.
pub const QUICK: [&str; 12] = [
    "--set",
    "tokens.max_length=48",
    "--set",
    "training.epochs=2",
    "--set",
    "training.batch_sequences=4",
    "--set",
    "training.micro_tokens=256",
    "--set",
    "bootstrap_resamples=20",
    "--threads",
    "1",
];

impl World {
    /// Makes all parts in `folder`, with the program at `program`.
    pub fn make(program: &Path, folder: &Path) -> io::Result<World> {
        fs::create_dir_all(folder)?;
        let own = folder.join("clinpeft");
        fs::copy(program, &own)?;
        let folder = folder.canonicalize()?;
        let mut world = World {
            program: folder.join("clinpeft"),
            folder,
            secrets: Secrets::default(),
            keys: Secrets::default(),
            calm: RefCell::new(BTreeMap::new()),
        };
        world.call(&["synth", "--cohort", "smoke", "--patients", "60", "--out", "raw"])?;
        world.call(&["prepare", "--mimic3", "raw/mimic3", "--mimic4-note", "raw/mimic4-note", "--out", "data"])?;
        world.call(&[&PART[..], &["--threads", "2", "--out", "store"]].concat())?;
        let base = world.run_of("base-llama")?;
        tree::copy(&base.join("model"), &world.part("model"))?;
        fs::write(world.part("notes.csv"), notes(60, false))?;
        fs::write(world.part("labelled.csv"), notes(60, true))?;
        for (part, files) in PICKLED {
            for file in files {
                let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/shards").join(part).join(file);
                tree::copy(&from, &world.part(part).join(file))?;
            }
        }
        let own = ["--base", "model", "--out", "own"];
        world.call(&[&["adapt", "--data", "notes.csv"], &own[..], &QUICK].concat())?;
        world.call(
            &[&["finetune", "--task", "mortality", "--data", "labelled.csv", "--method", "lora"], &own[..], &QUICK]
                .concat(),
        )?;
        world.secrets = world.found_secrets()?;
        world.keys.keys.clone_from(&world.secrets.keys);
        Ok(world)
    }

    /// Where a part stands.
    pub fn part(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The run folder of the store whose name begins so.
    pub fn run_of(&self, beginning: &str) -> io::Result<PathBuf> {
        named(&self.part("store/runs"), beginning)
    }

    fn call(&self, words: &[&str]) -> io::Result<()> {
        let call = Call::new(words.iter().copied());
        let ended = start(&self.program, &call, &self.folder)?.watch(None, Duration::from_secs(600))?;
        match ended.code {
            Some(0) => Ok(()),
            _ => Err(io::Error::other(format!("`clinpeft {}` fails: {}", words.join(" "), said(&ended)))),
        }
    }

    /// Ids of the raw files and of the person's notes, and the keys of datasets.
    fn found_secrets(&self) -> io::Result<Secrets> {
        let mut secrets = Secrets::default();
        for id in 0..60u64 {
            secrets.ids.extend([own_id(id).to_string(), own_patient(id).to_string()]);
        }
        for part in ["data", "store/data", "own/data"] {
            for path in tree::files(&self.part(part))? {
                match path.file_name().unwrap_or_default().to_str() {
                    Some("id-key") => secrets.keys.push(fs::read(&path)?),
                    Some("subjects.csv") if part != "own/data" => {
                        let text = fs::read_to_string(&path)?;
                        let all = text.lines().skip(1).flat_map(|line| line.split(','));
                        secrets.ids.extend(all.filter(|id| id.len() > 3).map(String::from));
                    }
                    _ => {}
                }
            }
        }
        Ok(secrets)
    }
}

/// Model folders that are no safetensors, from the corpus.
const PICKLED: [(&str, &[&str]); 2] = [
    (
        "pickled-llama",
        &[
            "config.json",
            "pytorch_model-00001-of-00002.bin",
            "pytorch_model-00002-of-00002.bin",
            "pytorch_model.bin.index.json",
            "tokenizer.model",
        ],
    ),
    ("pickled-bert", &["config.json", "pytorch_model.bin", "vocab.txt"]),
];

/// The only folder in `dir` whose name begins so.
pub fn named(dir: &Path, beginning: &str) -> io::Result<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir)?.map(|e| e.map(|e| e.path())).collect::<io::Result<_>>()?;
    found.retain(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(beginning)));
    found.sort();
    let missing = || io::Error::other(format!("`{}` holds nothing called `{beginning}`", dir.display()));
    found.into_iter().next().ok_or_else(missing)
}

/// The number of note `i` in a person's file, unlike any other number.
pub fn own_id(i: u64) -> u64 {
    7_350_193 + 61 * i
}

/// Its patient.
pub fn own_patient(i: u64) -> u64 {
    9_120_447 + 59 * (i / 2)
}

/// A person's file of `n` notes; every one holds the canary.
pub fn notes(n: u64, labelled: bool) -> String {
    let mut text = String::from(if labelled { "id,subject,text,label\n" } else { "id,subject,text\n" });
    for i in 0..n {
        let complaint = ["chest pain", "shortness of breath", "fever and cough", "abdominal pain"][(i % 4) as usize];
        let course = ["was stable", "worsened", "recovered slowly"][(i % 3) as usize];
        let (id, patient, canary) = (own_id(i), own_patient(i), clinpeft_clinical::synth::CANARY);
        let _ =
            write!(text, "{id},{patient},\"Chief Complaint: {complaint}.\nThe patient {course} on day {i}. {canary}\"");
        let _ = if labelled { writeln!(text, ",{}", i % 2) } else { writeln!(text) };
    }
    text
}
