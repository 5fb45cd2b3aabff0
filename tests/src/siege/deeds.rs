//! What the program can be asked to do, with what it needs and what it leaves in `out`.

use super::child::{Call, said, start};
use super::tree;
use super::world::{Calm, PART, QUICK, World};
use std::fs;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

/// One command as a trial gives it.
#[derive(Debug)]
pub struct Deed {
    /// Its command.
    pub name: &'static str,
    /// Parts of the world and where they stand in the trial's folder.
    needs: &'static [(&'static str, &'static str)],
    /// Its arguments.
    words: &'static [&'static str],
    /// What of the store is taken away before: the beginning of a run's name whose results are to be made again.
    again: Option<&'static str>,
    /// The settings that make it quick.
    quick: bool,
    /// Whether it trains, and so leaves a checkpoint when it is told to stop.
    pub trains: bool,
}

/// A command that is neither quickened nor trains nor makes a run again.
const PLAIN: Deed = Deed { name: "", needs: &[], words: &[], again: None, quick: false, trains: false };

/// The deed of a name.
pub fn deed(name: &str) -> &'static Deed {
    DEEDS.iter().find(|d| d.name == name).unwrap_or(&DEEDS[0])
}

/// All that write. Those that take seconds come last.
pub const DEEDS: [Deed; 13] = [
    Deed { name: "synth", words: &["synth", "--cohort", "smoke", "--patients", "60", "--out", "out/raw"], ..PLAIN },
    Deed {
        name: "prepare",
        needs: &[("raw", "in/raw")],
        words: &[
            "prepare",
            "--mimic3",
            "in/raw/mimic3",
            "--mimic4-note",
            "in/raw/mimic4-note",
            "--diff",
            "--out",
            "out/data",
        ],
        ..PLAIN
    },
    Deed {
        name: "convert",
        needs: &[("pickled-llama", "in/model")],
        words: &["convert", "in/model", "--out", "out/model"],
        ..PLAIN
    },
    Deed {
        name: "convert-bert",
        needs: &[("pickled-bert", "in/model")],
        words: &["convert", "in/model", "--out", "out/model"],
        ..PLAIN
    },
    Deed {
        name: "merge",
        needs: &[("model", "in/model"), ("own", "in/own")],
        words: &["merge", "--base", "in/model", "--adapter", "in/own/runs/{adapted}/adapter", "--out", "out/model"],
        ..PLAIN
    },
    Deed {
        name: "predict",
        needs: &[("store", "in/store"), ("notes.csv", "in/notes.csv")],
        words: &["predict", "--run", "in/store/runs/{cell}", "--input", "in/notes.csv", "--out", "out/scores.csv"],
        ..PLAIN
    },
    Deed { name: "report", needs: &[("store", "out")], words: &["report", "--out", "out"], ..PLAIN },
    Deed {
        name: "adapt",
        needs: &[("model", "in/model"), ("notes.csv", "in/notes.csv")],
        words: &["adapt", "--base", "in/model", "--data", "in/notes.csv", "--out", "out"],
        quick: true,
        trains: true,
        ..PLAIN
    },
    Deed {
        name: "finetune",
        needs: &[("model", "in/model"), ("labelled.csv", "in/labelled.csv")],
        words: &[
            "finetune",
            "--base",
            "in/model",
            "--data",
            "in/labelled.csv",
            "--task",
            "mortality",
            "--method",
            "lora",
            "--out",
            "out",
        ],
        quick: true,
        trains: true,
        ..PLAIN
    },
    Deed {
        name: "run",
        needs: &[("store", "out")],
        words: &["run", "out/runs/{cell}", "--threads", "1", "--checkpoint-every", "0"],
        again: Some("llama-clinical-llama-lora-trainable"),
        trains: true,
        ..PLAIN
    },
    Deed {
        name: "run-adaptation",
        needs: &[("store", "out")],
        words: &["run", "out/runs/{step1}", "--threads", "1", "--checkpoint-every", "0"],
        again: Some("llama-lora"),
        trains: true,
        ..PLAIN
    },
    Deed {
        name: "search",
        needs: &[("store", "out")],
        words: &[
            "search",
            "--profile",
            "smoke",
            "--only",
            "(Frozen),mortality",
            "--threads",
            "2",
            "--write",
            "out/chosen.toml",
            "--out",
            "out",
        ],
        trains: true,
        ..PLAIN
    },
    Deed {
        name: "reproduce",
        words: &[PART[0], PART[1], PART[2], PART[3], PART[4], PART[5], PART[6], "--threads", "2", "--out", "out"],
        trains: true,
        ..PLAIN
    },
];

impl Deed {
    /// Puts what it needs into `dir`.
    pub fn begin(&self, world: &World, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir.join("out"))?;
        for (part, to) in self.needs {
            tree::copy(&world.part(part), &dir.join(to))?;
        }
        if let Some(beginning) = self.again {
            let run = super::world::named(&dir.join("out/runs"), beginning)?;
            let spec = fs::read(run.join("run.toml"))?;
            fs::remove_dir_all(&run)?;
            fs::create_dir(&run)?;
            fs::write(run.join("run.toml"), spec)?;
        }
        Ok(())
    }

    /// What it leaves in `dir` when nothing disturbs it; the first question does it.
    pub fn calm(&'static self, world: &World, dir: &Path) -> io::Result<Rc<Calm>> {
        if let Some(known) = world.calm.borrow().get(self.name) {
            return Ok(known.clone());
        }
        self.begin(world, dir)?;
        let ended = start(&world.program, &self.call(world)?, dir)?.watch(None, Duration::from_secs(600))?;
        if ended.code != Some(0) {
            return Err(io::Error::other(format!("undisturbed, `{}` fails: {}", self.name, said(&ended))));
        }
        let calm = Rc::new(Calm { results: tree::results(&dir.join("out"))?, seconds: ended.seconds });
        fs::remove_dir_all(dir)?;
        fs::create_dir_all(dir)?;
        world.calm.borrow_mut().insert(self.name, calm.clone());
        Ok(calm)
    }

    /// What `--out` names.
    pub fn target(&self) -> &'static str {
        let at = self.words.iter().position(|w| *w == "--out").map_or(0, |i| i + 1);
        self.words[at]
    }

    /// The call of the program.
    pub fn call(&self, world: &World) -> io::Result<Call> {
        let name = |dir: &str, beginning: &str| -> io::Result<String> {
            let found = super::world::named(&world.part(dir), beginning)?;
            Ok(found.file_name().unwrap_or_default().to_string_lossy().into_owned())
        };
        let mut words = Vec::new();
        for word in self.words {
            let mut word = (*word).to_string();
            for (mark, dir, beginning) in [
                ("{cell}", "store/runs", "llama-clinical-llama-lora-trainable"),
                ("{step1}", "store/runs", "llama-lora"),
                ("{adapted}", "own/runs", "model-lora-seed"),
            ] {
                if word.contains(mark) {
                    word = word.replace(mark, &name(dir, beginning)?);
                }
            }
            words.push(word);
        }
        if self.quick {
            words.extend(QUICK.iter().map(|w| (*w).to_string()));
        }
        Ok(Call::new(words))
    }
}
