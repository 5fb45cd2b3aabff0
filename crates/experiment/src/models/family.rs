//! The model families, and everything in which runs of them differ.

use crate::error::{Error, Result};
use crate::spec::switches::PoolingRule;
use clinpeft_bert::Bert;
use clinpeft_llama::Llama;
use clinpeft_nn::{Backbone, Classifier, Pooling, Trainability};
use clinpeft_peft::FamilyTargets;
use clinpeft_rng::{Seed, Stream};
use clinpeft_tensor::Device;
use clinpeft_text::{Special, Specials, Tokenizer, TokenizerKind};
use clinpeft_train::Padding;
use clinpeft_weights::{Keep, TensorMap};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A model family, called as in `model_type` of `config.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Predicts the next token; a note is scored from its last one.
    #[default]
    Llama,
    /// Fills in masked tokens; a note is scored from its first one, through the pooler.
    Bert,
}

#[derive(Deserialize)]
struct ModelType {
    /// Empty where the file has none.
    #[serde(default)]
    model_type: String,
}

impl Family {
    /// The family of a Hugging Face folder.
    pub(crate) fn of(folder: &Path) -> Result<Family> {
        let path = folder.join("config.json");
        if !path.is_file() {
            let what = "not found\nhint: a model folder holds config.json, the weights and the tokenizer; give the one that contains \
                        config.json";
            return Err(Error::Config { path, what: what.into() });
        }
        let ModelType { model_type } = clinpeft_files::read_json(&path)?;
        match model_type.as_str() {
            "llama" => Ok(Family::Llama),
            "bert" => Ok(Family::Bert),
            other => {
                let what = format!(
                    "`model_type` is `{}`\nhint: models of the types `llama` and `bert` can be run",
                    other.escape_debug()
                );
                Err(Error::Config { path, what })
            }
        }
    }

    /// A folder of this family. What is to learn as a whole is kept in f32, and a pooler that it lacks is made from
    /// `seed`; otherwise a folder without one is an error, for one that never learns would score by chance.
    pub(crate) fn load(
        self,
        folder: &Path,
        learning: Trainability,
        seed: Seed,
        device: &Device,
    ) -> Result<Box<dyn Backbone>> {
        let keep = match learning {
            Trainability::Frozen => Keep::Stored,
            Trainability::Trainable => Keep::As(clinpeft_tensor::DType::F32),
        };
        let mut model: Box<dyn Backbone> = match self {
            Family::Llama => Box::new(Llama::load(folder, keep, device)?),
            Family::Bert => {
                let model = Bert::load(folder, keep, device)?;
                let new = learning == Trainability::Trainable && !model.has_pooler();
                Box::new(if new { model.with_new_pooler(seed, learning)? } else { model })
            }
        };
        model.parameters_mut().into_iter().for_each(|p| p.set_trainability(learning));
        Ok(model)
    }

    /// How its vocabularies are made here.
    pub(crate) fn tokenizer(self) -> TokenizerKind {
        match self {
            Family::Llama => TokenizerKind::ByteFallback,
            Family::Bert => TokenizerKind::WordPiece,
        }
    }

    /// What surrounds a note.
    pub(crate) fn specials(self) -> Specials {
        match self {
            Family::Llama => Specials::Bos,
            Family::Bert => Specials::ClsSep,
        }
    }

    /// Which row stands for a note.
    pub(crate) fn pooling(self, rule: PoolingRule) -> Pooling {
        match (self, rule) {
            (Family::Llama, PoolingRule::LastToken) => Pooling::LastToken,
            (Family::Llama, PoolingRule::LastPosition) => Pooling::LastPosition,
            (Family::Bert, _) => Pooling::FirstToken,
        }
    }

    /// The pad token that the pooling sees, if it sees any.
    pub(crate) fn padding(self, rule: PoolingRule, tokenizer: &Tokenizer, length: usize) -> Result<Option<Padding>> {
        match (self, rule) {
            (Family::Llama, PoolingRule::LastPosition) => {
                Ok(Some(Padding { id: tokenizer.special(Special::End)?, length }))
            }
            _ => Ok(None),
        }
    }

    /// A new head: weights from N(0, 0.02), and for BERT a bias of zeros.
    pub(crate) fn classifier(self, classes: usize, width: usize, rng: &mut Stream) -> Result<Classifier> {
        let head = Classifier::new(classes, width, rng)?;
        Ok(match self {
            Family::Llama => head,
            Family::Bert => head.with_zero_bias()?,
        })
    }

    /// Hugging Face's class of the model with a head, and the head's tensors.
    pub(crate) fn classifier_files(self, head: &Classifier) -> (&'static str, TensorMap) {
        let class = match self {
            Family::Llama => "LlamaForSequenceClassification",
            Family::Bert => "BertForSequenceClassification",
        };
        (class, head.parameters().map(|p| (p.name().to_string(), p.value().clone())).collect())
    }

    /// The family of a folder whose whole `config.json` is checked.
    pub(crate) fn checked(dir: &Path) -> Result<Family> {
        let family = Family::of(dir)?;
        match family {
            Family::Llama => clinpeft_llama::Config::load(dir).map(drop)?,
            Family::Bert => clinpeft_bert::Config::load(dir).map(drop)?,
        }
        Ok(family)
    }

    /// The name that transformers has for a tensor today; `None` for tables that follow from the configuration.
    pub(crate) fn tensor_name(self, old: &str) -> Option<String> {
        match self {
            Family::Bert if old.ends_with("embeddings.position_ids") => None,
            // The first converter kept the names of TensorFlow.
            Family::Bert => {
                let weight = old.strip_suffix("LayerNorm.gamma").map(|before| format!("{before}LayerNorm.weight"));
                let bias = old.strip_suffix("LayerNorm.beta").map(|before| format!("{before}LayerNorm.bias"));
                Some(weight.or(bias).unwrap_or_else(|| old.into()))
            }
            Family::Llama => (!old.ends_with("rotary_emb.inv_freq")).then(|| old.into()),
        }
    }

    /// Whether a model here may read a tensor of that name.
    pub(crate) fn reads_tensor(self, name: &str) -> bool {
        let begins: &[&str] = match self {
            Family::Bert => &["bert.", "embeddings.", "encoder.", "pooler.", "cls.predictions.", "classifier."],
            Family::Llama => &["model.", "lm_head.", "score."],
        };
        begins.iter().any(|begin| name.starts_with(begin))
    }

    /// Values of one token that the backward pass reads of one layer of width `d`, beside those of attention and with `inner` values
    /// inside the feed-forward part: inputs of normalisations and of what is trained.
    pub(crate) fn saved_values(self, d: u64, inner: u64, full: bool) -> u64 {
        match (self, full) {
            (Family::Llama, false) => 3 * d + 2 * inner,
            (Family::Llama, true) => 4 * d + 3 * inner,
            (Family::Bert, false) => 5 * d + inner,
            (Family::Bert, true) => 8 * d + 2 * inner,
        }
    }

    /// Target modules of low-rank adapters, where they are not those of the profile.
    pub(crate) fn targets(self) -> Option<FamilyTargets> {
        match self {
            Family::Llama => None,
            Family::Bert => Some(FamilyTargets {
                low_rank: &["query", "value"],
                scaled: &["key", "value", "output.dense"],
                feedforward: &["output.dense"],
            }),
        }
    }

    /// Whether its head has a bias.
    pub(crate) fn head_has_bias(self) -> bool {
        self == Family::Bert
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_of_another_type_is_an_error_with_a_hint() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        for (text, family) in [("llama", Family::Llama), ("bert", Family::Bert)] {
            std::fs::write(&path, format!(r#"{{"model_type": "{text}", "other": 1}}"#)).unwrap();
            assert_eq!(Family::of(dir.path()).unwrap(), family);
        }
        for (text, named) in [(r#"{"model_type": "gpt2"}"#, "`gpt2`"), ("{}", "`model_type`")] {
            std::fs::write(&path, text).unwrap();
            let error = Family::of(dir.path()).unwrap_err();
            assert!(matches!(error, Error::Config { .. }));
            assert!(error.to_string().contains(named) && error.to_string().contains("\nhint: "), "{error}");
        }
    }

    #[test]
    fn a_pooler_is_made_only_where_it_learns() {
        let dir = tempfile::tempdir().unwrap();
        let config = clinpeft_bert::Config::tiny(16, 8, 1, 2, 8);
        let whole = Bert::random(config, Seed(1), Trainability::Frozen).unwrap();
        whole.save(dir.path()).unwrap();
        let file = dir.path().join("model.safetensors");
        let kept = whole.parameters().into_iter().filter(|p| !p.name().contains("pooler"));
        let kept: TensorMap = kept.map(|p| (p.name().to_string(), p.value().clone())).collect();
        clinpeft_weights::save(&file, &kept, &std::collections::BTreeMap::new()).unwrap();
        let count =
            |learning| Family::Bert.load(dir.path(), learning, Seed(2), &Device::Cpu).unwrap().parameter_count();
        let pooler = 8 * 8 + 8;
        assert_eq!(count(Trainability::Trainable), whole.parameter_count());
        assert_eq!(count(Trainability::Frozen), whole.parameter_count() - pooler);
    }
}
