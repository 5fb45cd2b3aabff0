//! The BERT family (Devlin et al. 2019): encoder, pooler, classifier and masked-token head.
//!
//! - [`Config`] reads `config.json` as Hugging Face writes it; [`Bert::load`] reads the weights of a folder of
//!   `BertModel`, `BertForSequenceClassification` or `BertForMaskedLM`. Parameters have the names of the classifier model,
//!   so that PEFT's adapters fit whatever the folder was.
//! - The model is a function of a ragged batch, its adapters ([`clinpeft_nn::AdapterHooks`]) and a [`clinpeft_nn::ForwardCtx`]; it names
//!   no adapter method. It offers linear layers and attention outputs; prompts and prefixes are an error.
//! - A note is scored from the pooled first token, by a [`clinpeft_nn::Classifier`] with a bias.
//! - [`MaskedHead`] predicts masked tokens.

mod config;
mod files;
mod layer;
mod masked;
mod model;

pub use config::Config;
pub use masked::{MaskedHead, MaskedTokens};
pub use model::Bert;
