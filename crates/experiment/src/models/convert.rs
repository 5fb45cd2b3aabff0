//! `clinpeft convert`: a model folder as hubs hold it, written again as safetensors and `tokenizer.json`.

use crate::error::{Error, Result};
use clinpeft_text::Tokenizer;
use clinpeft_weights::Checkpoint;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// Small files that are copied as they are, where they are there. Other programs read them.
const COPIED: [&str; 3] = ["tokenizer_config.json", "special_tokens_map.json", "generation_config.json"];

/// What became of a folder.
#[derive(Debug, PartialEq, Eq)]
pub struct Converted {
    /// Tensors that were written.
    pub tensors: usize,
    /// Old and new names, where they differ.
    pub renamed: Vec<(String, String)>,
    /// Entries that were left out: tables that follow from the configuration, and what is no tensor.
    pub dropped: Vec<String>,
    /// Tensors that were written, but that no model here reads.
    pub unread: Vec<String>,
    /// Whether a tokenizer was there.
    pub tokenizer: bool,
}

/// Writes the model of `dir` to the new folder `out`, whole or not at all: `config.json`, `tokenizer.json`, and
/// safetensors of at most `limit` bytes each (a larger tensor gets a file of its own).
///
/// One tensor at a time is in memory. Errors if `out` holds anything, or if `dir` is no BERT or LLaMA folder.
pub fn convert(dir: &Path, out: &Path, limit: u64) -> Result<Converted> {
    clinpeft_files::refuse_filled_folder(out)?;
    let family = Family::of(dir)?;
    let file = Checkpoint::open(dir)?;
    let names = file.tensors().keys().filter_map(|old| Some((old.clone(), family.name(old)?)));
    let names: BTreeMap<String, String> = names.collect();

    let pending = clinpeft_files::commit_dir(out, clinpeft_files::Access::Shared)?;
    file.copy_to(pending.path(), &names, limit)?;
    let tokenizer = match Tokenizer::open(dir) {
        Ok(tokenizer) => {
            tokenizer.save(&pending.path().join("tokenizer.json"))?;
            true
        }
        Err(clinpeft_text::Error::NoTokenizer { .. }) => false,
        Err(e) => return Err(e.into()),
    };
    for name in COPIED.iter().chain(&["config.json"]).filter(|name| dir.join(name).is_file()) {
        clinpeft_files::write_atomic(&pending.path().join(name), clinpeft_files::read_text(&dir.join(name))?)?;
    }
    pending.commit()?;

    let left_out = file.tensors().keys().filter(|name| !names.contains_key(*name));
    Ok(Converted {
        tensors: names.len(),
        dropped: left_out.chain(file.others()).cloned().collect(),
        unread: names.values().filter(|name| !family.reads(name)).cloned().collect(),
        renamed: names.into_iter().filter(|(old, new)| old != new).collect(),
        tokenizer,
    })
}

/// Whose names the tensors have.
#[derive(Debug, Clone, Copy)]
enum Family {
    Bert,
    Llama,
}

impl Family {
    /// As `config.json` says; the whole file is checked.
    fn of(dir: &Path) -> Result<Family> {
        let path = dir.join("config.json");
        if !path.is_file() {
            let what =
                format!("`{}` has no config.json\nhint: give the folder that contains config.json", dir.display());
            return Err(Error::Options(what));
        }
        let config: serde_json::Value = clinpeft_files::read_json(&path)?;
        match config["model_type"].as_str() {
            Some("bert") => clinpeft_bert::Config::load(dir).map(|_| Family::Bert),
            Some("llama") => clinpeft_llama::Config::load(dir).map(|_| Family::Llama),
            other => {
                let what = match other {
                    Some(other) => format!("`model_type` is `{}`", other.escape_debug()),
                    None => "it has no `model_type`".into(),
                };
                return Err(Error::Config { path, what: format!("{what}\nhint: `bert` and `llama` are known") });
            }
        }
        .map_err(Error::from)
    }

    /// The name that transformers has for a tensor today; `None` for tables that follow from the configuration.
    fn name(self, old: &str) -> Option<String> {
        match self {
            Family::Bert if old.ends_with("embeddings.position_ids") => None,
            // The first converter kept the names of TensorFlow.
            Family::Bert => {
                let weight = old.strip_suffix("LayerNorm.gamma").map(|before| format!("{before}LayerNorm.weight"));
                let bias = old.strip_suffix("LayerNorm.beta").map(|before| format!("{before}LayerNorm.bias"));
                Some(weight.or(bias).unwrap_or_else(|| old.into()))
            }
            Family::Llama => (!old.ends_with("rotary_emb.inv_freq")).then(|| old.into()),
        }
    }

    /// Whether a model here may read a tensor of that name.
    fn reads(self, name: &str) -> bool {
        let begins: &[&str] = match self {
            Family::Bert => &["bert.", "embeddings.", "encoder.", "pooler.", "cls.predictions.", "classifier."],
            Family::Llama => &["model.", "lm_head.", "score."],
        };
        begins.iter().any(|begin| name.starts_with(begin))
    }
}

impl fmt::Display for Converted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} tensors", self.tensors)?;
        for (old, new) in &self.renamed {
            writeln!(f, "renamed {} to {}", old.escape_debug(), new.escape_debug())?;
        }
        for name in &self.dropped {
            writeln!(f, "dropped {}", name.escape_debug())?;
        }
        for name in &self.unread {
            writeln!(f, "kept {}, which no model here reads", name.escape_debug())?;
        }
        f.write_str(if self.tokenizer { "tokenizer.json" } else { "no tokenizer: none was in the folder" })
    }
}
