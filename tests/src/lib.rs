//! What the tests of the whole program share: comparison with transformers and peft, and the siege.

pub mod parity;
pub mod siege;
