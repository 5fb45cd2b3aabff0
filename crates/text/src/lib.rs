//! From text to batches of token ids, and back.
//!
//! - A [`Tokenizer`] is what a Hugging Face folder holds ([`Tokenizer::open`]: `tokenizer.json`, LLaMA's `tokenizer.model`
//!   or BERT's `vocab.txt`), or one trained here; the same input trains the same vocabulary.
//! - Nothing is dropped silently: [`Truncation`] and [`Packing`] are named policies, and report a [`TokenCount`].
//! - [`Batch`]es are ragged: sequences stand end to end, so no pad token exists above this crate.
//! - The batches of an epoch ([`plan`]) follow from seed and epoch alone: to resume takes `(epoch, position)`.
//! - Token ids are kept in a [`Cache`] that notices foreign and damaged files.
//!
//! Special tokens are added by policy ([`Specials`]), never by what a `tokenizer.json` happens to say, and never because
//! a note contains the letters `</s>`.
//!
//! ```
//! use clinpeft_text::{Batch, Encoder, Order, Specials, Tokenizer, TokenizerKind, Truncation, plan};
//! use clinpeft_rng::Seed;
//! let texts: Vec<String> = (0..20).map(|i| format!("note {i} of the patient")).collect();
//! let tokenizer = Tokenizer::train(&texts, 400, TokenizerKind::ByteFallback)?;
//! let mut encoder = Encoder::new(&tokenizer, Specials::Bos, Truncation::First { length: 64 })?;
//! encoder.push(&texts)?;
//! let sequences = encoder.finish();
//! for rows in plan(sequences.len(), Order::Shuffled, 8, Seed(1), 0)? {
//!     let batch = Batch::from_sequences(&sequences, &rows)?;
//!     assert_eq!(batch.ids.len(), *batch.offsets.last().expect("an offset more than sequences") as usize);
//! }
//! # Ok::<(), clinpeft_text::Error>(())
//! ```

mod batch;
mod cache;
mod error;
mod order;
mod packing;
mod padded;
mod sequences;
mod tokenizer;
mod truncation;

pub use batch::Batch;
pub use cache::{Cache, CacheKey, Lookup, Source};
pub use error::{Error, Result};
pub use order::{Order, plan};
pub use packing::{ChunkStart, Packed, Packing};
pub use padded::{Padded, PaddedMap};
pub use sequences::{Encoder, Sequences, TokenCount};
pub use tokenizer::{Special, Specials, Tokenizer, TokenizerKind};
pub use truncation::Truncation;
