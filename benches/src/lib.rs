//! Benches stand beside this file.
