//! Settings of AdaLoRA and their keys in the files of PEFT.

use crate::defaults::default_keys;
use crate::files::ConfigFile;
use crate::limits::{self, need_alpha, need_count, need_share, need_steps};
use crate::lora::whole;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Settings of AdaLoRA.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdaLoraConfig {
    /// Rank of every layer at the beginning.
    pub initial_r: usize,
    /// Mean rank at the end.
    pub target_r: usize,
    /// Numerator of the scale.
    pub alpha: f64,
    /// Share of inputs of A that is dropped in training.
    pub dropout: f64,
    /// Last parts of the names of the linear layers, for example `q_proj`.
    pub targets: Vec<String>,
    /// Steps before ranks begin to fall.
    pub first_steps: u64,
    /// Steps at the end with the final ranks.
    pub last_steps: u64,
    /// Steps between two allocations.
    pub every: u64,
    /// Decay of the mean importance.
    pub beta1: f64,
    /// Decay of its uncertainty.
    pub beta2: f64,
    /// Weight of the penalty.
    pub orthogonality: f64,
}

impl AdaLoraConfig {
    pub(super) fn check(&self) -> Result<()> {
        need_count("initial_r", self.initial_r, limits::RANK)?;
        need_count("target_r", self.target_r, self.initial_r)?;
        need_alpha(self.alpha)?;
        need_share(self.dropout)?;
        let steps = [("first_steps", self.first_steps), ("last_steps", self.last_steps), ("every", self.every)];
        steps.into_iter().try_for_each(|(key, n)| need_steps(key, n))?;
        let decays = [self.beta1, self.beta2].iter().all(|b| *b > 0.0 && *b < 1.0);
        if decays && self.every > 0 && self.orthogonality.is_finite() && self.orthogonality >= 0.0 {
            return Ok(());
        }
        Err(Error::Config(
            "AdaLoRA needs every > 0, decays between 0 and 1, and a finite penalty that is not negative\nhint: beta1 = beta2 \
             = 0.85, every = 1, orthogonality = 0.5 are PEFT's"
                .into(),
        ))
    }
}

pub(super) fn settings_as_keys(c: &AdaLoraConfig) -> Map<String, Value> {
    let mut keys = default_keys("ADALORA");
    let mut set = |key: &str, value: Value| keys.insert(key.into(), value);
    set("init_r", c.initial_r.into());
    set("target_r", c.target_r.into());
    set("lora_alpha", whole(c.alpha));
    set("lora_dropout", c.dropout.into());
    set("target_modules", c.targets.as_slice().into());
    set("tinit", c.first_steps.into());
    set("tfinal", c.last_steps.into());
    set("deltaT", c.every.into());
    set("beta1", c.beta1.into());
    set("beta2", c.beta2.into());
    set("orth_reg_weight", c.orthogonality.into());
    keys
}

pub(super) fn read_settings(file: &mut ConfigFile) -> Result<AdaLoraConfig> {
    file.get::<usize>("r")?;
    Ok(AdaLoraConfig {
        initial_r: file.need("init_r")?,
        target_r: file.need("target_r")?,
        alpha: file.need("lora_alpha")?,
        dropout: file.get("lora_dropout")?.unwrap_or(0.0),
        targets: file.targets()?,
        first_steps: file.get("tinit")?.unwrap_or(0),
        last_steps: file.get("tfinal")?.unwrap_or(0),
        every: file.get("deltaT")?.unwrap_or(1),
        beta1: file.get("beta1")?.unwrap_or(0.85),
        beta2: file.get("beta2")?.unwrap_or(0.85),
        orthogonality: file.get("orth_reg_weight")?.unwrap_or(0.5),
    })
}
