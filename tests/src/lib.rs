//! What the tests of the whole program share: the siege. Tests stand beside this crate's `src`.

pub mod siege;
