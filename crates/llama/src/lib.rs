//! The LLaMA family (Touvron et al. 2023), versions 1 to 3, with causal and sequence-classification heads, and the models that
//! differ from it by their configuration: Mistral (sliding window) and Qwen2 (biases on queries, keys and values).
//!
//! - [`Config`] reads `config.json` as Hugging Face writes it; [`Llama::load`] reads the folder's weights.
//! - The model is a function of a ragged batch, its adapters ([`clinpeft_nn::AdapterHooks`]) and a [`clinpeft_nn::ForwardCtx`]; it names
//!   no adapter method.
//! - [`Llama::random`] makes a small untrained model.

mod arrangement;
mod config;
mod layer;
mod model;

pub use config::{Config, MODEL_TYPES};
pub use model::Llama;
