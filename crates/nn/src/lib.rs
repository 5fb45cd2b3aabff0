//! Layers, losses and the four hook points where adapters attach.
//!
//! - Batches are *ragged*: sequences lie one after another in one row axis ([`RaggedBatch`]), so there is no padding to mask,
//!   and what is absent can change nothing.
//! - A model calls [`AdapterHooks`] at four hook points and knows nothing of the adapters behind them.
//! - Whether a [`Parameter`] is trainable is fixed when it is loaded or made; a frozen one leaves nothing on the tape.
//! - Randomness of a forward pass is an argument ([`ForwardCtx`]).

mod backbone;
mod batch;
mod error;
mod forward;
mod head;
mod hooks;
mod layers;
mod parameter;
mod pooling;
mod prepack;
pub mod sizes;

pub use backbone::{Backbone, ExtraTensors, Hidden, HiddenRows};
pub use batch::{PadProbe, RaggedBatch};
pub use error::{Error, Result};
pub use forward::{Checkpointing, ForwardCtx, Mode};
pub use head::{Classifier, binary_loss, class_loss, next_token_loss, sequence_losses};
pub use hooks::{AdapterHooks, AttentionCall, LinearCall, NoAdapters, TargetModule};
pub use layers::{Angles, LayerNorm, Linear, RopeScaling, RotaryTables, norm};
pub use parameter::{Parameter, Trainability};
pub use pooling::Pooling;
pub use prepack::{PrepackChoice, PrepackMode, measure_prepack, prepack_weights};
