//! Adapters, the adapter stack and its files.
//!
//! - An [`Adapter`] changes a frozen model at one or more of the four sites of [`clinpeft_nn::Sites`].
//! - A [`Stack`] is an ordered list of adapters; *active* and *learning* are two independent fields of each. Two-step PEFT
//!   (Gema et al. 2023) is `[clinical, downstream]`: `y = W x + s1 B1 A1 x + s2 B2 A2 x`.
//! - [`Stack::status`] tells which adapter takes part and which learns; [`Stack::check_gradients`] refuses a trainable
//!   adapter that no gradient reached.
//! - Adapters are saved in the file form of Hugging Face PEFT; a [`Unit`] is a stack, its head and its provenance as one
//!   folder.

mod adapter;
mod error;
mod lora;
mod stack;
mod unit;

pub use adapter::{Adapter, TaskType};
pub use error::{Error, Result};
pub use lora::{Lora, LoraConfig, Scaling};
pub use stack::{Activity, Entry, Stack, Status, status_table};
pub use unit::{Head, Unit};
