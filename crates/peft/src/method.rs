//! What the list of methods needs of each.

use crate::files::{ConfigFile, TensorFile};
use crate::{Adapter, ModelShape, Result};
use clinpeft_nn::{Backbone, Trainability};
use clinpeft_rng::Seed;

/// The layers that methods target in a model family.
#[derive(Debug, Clone, Copy)]
pub struct FamilyTargets {
    /// Queries and values, for low-rank methods.
    pub low_rank: &'static [&'static str],
    /// Keys, values and the last feed-forward layer, for IA3.
    pub scaled: &'static [&'static str],
    /// Those of the scaled ones that are feed-forward layers.
    pub feedforward: &'static [&'static str],
}

/// A method of the list in `registry.rs`.
pub(crate) trait AdapterMethod: Adapter + Sized + 'static {
    /// Name in tables, in stacks and on the command line.
    const NAME: &'static str;
    /// `peft_type` in the files of PEFT.
    const PEFT_TYPE: &'static str;
    /// Its settings.
    type Config;

    /// Whether a file of this [`AdapterMethod::PEFT_TYPE`] is one of this method.
    fn recognizes(_: &mut ConfigFile) -> Result<bool> {
        Ok(true)
    }
    /// Number of parameters. Errors if a setting is out of its range, or names a layer that the model lacks.
    fn count(config: &Self::Config, shape: &ModelShape) -> Result<usize>;
    /// A new adapter.
    fn build(config: Self::Config, backbone: &dyn Backbone, seed: Seed, learning: Trainability) -> Result<Self>;
    /// The adapter of a folder.
    fn load(config: ConfigFile, tensors: &TensorFile, shape: &ModelShape, learning: Trainability) -> Result<Self>;
    /// Rows in front of every sequence.
    fn virtual_tokens(_: &Self::Config) -> usize {
        0
    }
    /// Targets the layers of another family; nothing, where the method has no targets.
    fn retarget(_: &mut Self::Config, _: FamilyTargets) {}
}

/// Names as settings hold them.
pub(crate) fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| n.to_string()).collect()
}
