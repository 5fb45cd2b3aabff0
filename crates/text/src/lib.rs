//! From text to batches of token ids, and back.
//!
//! - A [`Tokenizer`] is what a Hugging Face folder holds ([`Tokenizer::open`]: `tokenizer.json`, LLaMA's `tokenizer.model`
//!   or BERT's `vocab.txt`), or one trained here; the same input trains the same vocabulary.
//! - Nothing is dropped silently: [`Truncation`] and [`Packing`] are named policies, and report a [`TokenCount`].
//! - [`Batch`]es are ragged: sequences lie end to end, so no pad token exists above this crate.
//! - The batches of an epoch ([`plan`]) follow from seed and epoch alone: to resume takes `(epoch, position)`.
//! - Token ids are kept in a [`Cache`] that notices foreign and damaged files.
//! - [`general`] and [`biomedical`] write text without a patient in it, to train small base models on.
//!
//! Special tokens are added by policy ([`Specials`]), never by what a `tokenizer.json` happens to say, and never because
//! a note contains the letters `</s>`.
//!
//! ```
//! use clinpeft_text::{Batch, BatchSize, Kind, Order, Specials, Tokenizer, Truncation, encode_all, general, plan};
//! use clinpeft_rng::Seed;
//! let texts: Vec<String> = general::stream(Seed(1)).take(20).collect();
//! let tokenizer = Tokenizer::train(&texts, 400, Kind::ByteFallback)?;
//! let sequences = encode_all(&texts, &tokenizer, Specials::Bos, Truncation::First { length: 64 })?;
//! let lengths = sequences.lengths();
//! for rows in plan(&lengths, Order::Shuffled, BatchSize::Sequences(8), Seed(1), 0)? {
//!     let batch = Batch::from_sequences(&sequences, &rows)?;
//!     assert_eq!(batch.ids.len(), *batch.offsets.last().expect("an offset more than sequences") as usize);
//! }
//! # Ok::<(), clinpeft_text::Error>(())
//! ```

mod batch;
pub mod biomedical;
mod cache;
mod error;
pub mod general;
mod order;
mod packing;
mod padded;
mod prose;
mod sequences;
mod tokenizer;
mod truncation;

pub use batch::Batch;
pub use cache::{Cache, CacheKey, Lookup, Source};
pub use error::{Error, Result};
pub use order::{BatchSize, Order, plan};
pub use packing::{ChunkStart, Packed, Packing};
pub use padded::{Padded, PaddedMap, Side};
pub use sequences::{Encoder, Sequences, TokenCount, encode_all};
pub use tokenizer::{Kind, Special, Specials, Tokenizer};
pub use truncation::Truncation;
