//! Adapters, the adapter stack and its files.
//!
//! - An [`Adapter`] changes a frozen model at one or more of the four hook points of [`clinpeft_nn::AdapterHooks`].
//! - A [`Stack`] is an ordered list of adapters; *active* and *learning* are two independent fields of each. Two-step PEFT
//!   (Gema et al. 2023) is `[clinical, downstream]`: `y = W x + s1 B1 A1 x + s2 B2 A2 x`.
//! - [`Stack::status`] tells which adapter takes part and which learns; [`Stack::check_gradients`] refuses a trainable
//!   adapter that no gradient reached.
//! - [`AdapterConfig`] makes, and counts, an adapter of any method; [`load_adapter`] loads one.
//! - [`merge`] puts the update of an adapter into the weights.
//! - Adapters are saved in the file form of Hugging Face PEFT ([`save_adapter`]); a [`AdapterBundle`] is a stack, its head and its provenance as one
//!   folder.

mod adalora;
mod adaptation_prompt;
mod adapter;
mod bundle;
mod defaults;
mod dora;
mod encoder;
mod error;
mod files;
mod ia3;
mod limits;
mod lora;
mod merge;
mod method;
mod name;
mod p_tuning;
mod prefix;
mod prompt;
mod registry;
mod save;
mod shape;
mod stack;
mod update;

pub use adalora::{AdaLora, AdaLoraConfig};
pub use adaptation_prompt::{AdaptationPrompt, AdaptationPromptConfig};
pub use adapter::{Adapter, CloneAdapter, GradSqNorms, OptimizerHook, StepInfo, StepParam, StepValues};
pub use bundle::{AdapterBundle, Head};
pub use dora::Dora;
pub use error::{Error, Result};
pub use files::{FileKeys, Saved, TaskType};
pub use ia3::{Ia3, Ia3Config};
pub use lora::{Lora, LoraConfig, Scaling};
pub use merge::merge;
pub(crate) use method::AdapterMethod;
pub use method::FamilyTargets;
pub use name::AdapterName;
pub use p_tuning::{PTuning, PTuningConfig, PromptEncoder};
pub use prefix::{Prefix, PrefixConfig, PrefixSource};
pub use prompt::{PromptStart, PromptTuning, PromptTuningConfig};
pub use registry::{AdapterConfig, Loaded, load_adapter};
pub use save::save_adapter;
pub use shape::ModelShape;
pub use stack::{Activity, Entry, Stack, Status, norm, status_table, trainable};
pub use update::Update;
