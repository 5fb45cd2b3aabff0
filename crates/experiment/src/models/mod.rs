//! Base models: families, loading, and what is done with them outside of runs.

pub(crate) mod bag_of_words;
pub(crate) mod bert;
pub mod convert;
pub mod family;
pub(crate) mod llama;
pub(crate) mod loading;
pub mod merge;
pub mod predict;
pub(crate) mod registry;
