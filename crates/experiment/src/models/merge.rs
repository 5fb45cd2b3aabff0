//! `clinpeft merge`: low-rank adapters put into the weights of their base model.

use crate::error::{Error, Result};
use crate::models::registry::Family;
use clinpeft_nn::Trainability;
use clinpeft_peft::{Activity, Adapter, AdapterBundle, ModelShape, load_adapter, merge as merge_into};
use clinpeft_rng::Seed;
use clinpeft_tensor::Device;
use clinpeft_text::Tokenizer;
use std::path::Path;

/// Writes the model of `base` with the adapters of `adapter` in its weights to the new folder `out`, whole or not at all.
/// Returns the names of the adapters.
///
/// `adapter` is a PEFT folder, or a run's `adapter` folder: then all active adapters are merged in their order. A head is left
/// out. Weights keep their type; errors if a method is no low-rank update.
pub fn merge(base: &Path, adapter: &Path, out: &Path) -> Result<Vec<String>> {
    clinpeft_files::refuse_filled_folder(out)?;
    let mut model = Family::of(base)?.load(base, Trainability::Frozen, Seed(0), &Device::Cpu)?;
    let shape = ModelShape::of(&*model);
    let mut names = Vec::new();
    let mut put = |name: String, adapter: &dyn Adapter| -> Result<()> {
        merge_into(&mut *model, adapter)?;
        names.push(name);
        Ok(())
    };
    if adapter.join("stack.json").is_file() {
        for entry in AdapterBundle::load(adapter, &shape)?.stack.entries() {
            if entry.activity == Activity::Active {
                put(entry.name.to_string(), &*entry.adapter)?;
            }
        }
    } else if adapter.join("adapter_config.json").is_file() {
        let name = adapter.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        put(name, &*load_adapter(adapter, &shape, Trainability::Frozen)?.adapter)?;
    } else {
        return Err(Error::Options(format!(
            "`{}` holds no adapter\nhint: give the `adapter` folder of a run, or a folder with adapter_config.json",
            adapter.display()
        )));
    }
    if names.is_empty() {
        return Err(Error::Options(format!("`{}`: no adapter of the stack is active", adapter.display())));
    }
    let pending = clinpeft_files::commit_dir(out, clinpeft_files::Access::Shared)?;
    model.save(pending.path())?;
    Tokenizer::open(base)?.save(&pending.path().join("tokenizer.json"))?;
    pending.commit()?;
    Ok(names)
}
