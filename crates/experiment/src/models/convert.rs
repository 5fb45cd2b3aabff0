//! `clinpeft convert`: a model folder as hubs hold it, written again as safetensors and `tokenizer.json`.

use crate::error::Result;
use crate::models::registry::Family;
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
/// One tensor at a time is in memory. Errors if `out` holds anything, or if `dir` is no folder of a known model family.
pub fn convert(dir: &Path, out: &Path, limit: u64) -> Result<Converted> {
    clinpeft_files::refuse_filled_folder(out)?;
    let family = Family::checked(dir)?;
    let file = Checkpoint::open(dir)?;
    let names = file.tensors().keys().filter_map(|old| Some((old.clone(), family.tensor_name(old)?)));
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
        unread: names.values().filter(|name| !family.reads_tensor(name)).cloned().collect(),
        renamed: names.into_iter().filter(|(old, new)| old != new).collect(),
        tokenizer,
    })
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
