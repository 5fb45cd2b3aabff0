//! Layers, losses and the four sites where adapters attach.
//!
//! - Batches are *ragged*: sequences lie one after another in one row axis ([`Ragged`]), so there is no padding to mask,
//!   and what is not there can change nothing.
//! - A model runs with a set of [`Sites`]: it hands over its intermediate values at four places and knows nothing of the
//!   adapters behind them.
//! - Whether a [`Parameter`] learns is fixed when it is loaded or made; a frozen one leaves nothing on the tape.
//! - Randomness of a pass is an argument ([`Pass`]).

mod backbone;
mod batch;
mod error;
mod head;
mod layers;
mod packs;
mod parameter;
mod pass;
mod sites;
pub mod sizes;

pub use backbone::{Backbone, Beside, Hidden, Rows};
pub use batch::{Observer, Ragged};
pub use error::{Error, Result};
pub use head::{Classifier, Pooling, binary_loss, class_loss, next_token_loss, sequence_losses};
pub use layers::{Angles, LayerNorm, Linear, RopeScaling, Turns, norm};
pub use packs::{PackChoice, PackPolicy, keep_packs, packing_that_pays};
pub use parameter::{Learning, Parameter};
pub use pass::{Memory, Mode, Pass};
pub use sites::{AttentionSite, LinearCall, LinearSite, NoAdapters, Sites};
