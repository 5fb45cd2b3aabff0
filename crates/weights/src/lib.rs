//! Weights in Hugging Face model folders, and safetensors files.
//!
//! - [`Checkpoint`] opens `model.safetensors` or `pytorch_model.bin`, or their shards through the index, as memory maps; a
//!   tensor is copied out when it is asked for, in the dtype that the caller wants.
//! - A `.bin` file is a pickle, that is, a program. It is read by a machine that can build tensors and nothing else
//!   ([`Error::Refused`]); [`Checkpoint::copy_to`] turns it into safetensors, one tensor at a time.
//! - [`save`] writes tensors whole or not at all, with the same bytes for the same content; [`save_with_checksum`] and [`encode_raw`]
//!   add a checksum, which [`Checkpoint::verify`] proves.
//! - Every header is checked before anything is believed: lengths, holes, overlaps, strides, shard names that leave the
//!   folder or names that no terminal should get, tensors that are missing or have another shape.

mod checkpoint;
mod copy;
mod error;
mod folder;
mod limits;
mod lost_pages;
mod pickled;
mod save;

pub use checkpoint::{Checkpoint, Checksum, Keep, Stored};
pub use error::{Error, Result, nearest, nearest_within};
pub use lost_pages::report_lost_pages;
pub use safetensors::tensor::Dtype;
pub use save::{Raw, TensorMap, encode, encode_raw, save, save_with_checksum};
