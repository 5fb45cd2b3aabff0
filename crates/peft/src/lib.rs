//! Adapters, the adapter stack and its files.
