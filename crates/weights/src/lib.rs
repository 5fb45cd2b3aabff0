//! Safetensors files and Hugging Face model folders.
//!
//! - [`Checkpoint`] opens `model.safetensors`, or its shards through `model.safetensors.index.json`, as memory maps; a
//!   tensor is copied out when it is asked for, in the dtype that the caller wants.
//! - [`save`] writes tensors whole or not at all, with the same bytes for the same content.
//! - Every header is checked before anything is believed: lengths, holes, overlaps (by the upstream reader), shard names
//!   that leave the folder, tensors that are missing or have another shape.

mod checkpoint;
mod error;
mod save;

pub use checkpoint::{Checkpoint, Keep, Stored};
pub use error::{Error, Result, nearest};
pub use safetensors::tensor::Dtype;
pub use save::{Raw, TensorMap, encode, encode_raw, save};
