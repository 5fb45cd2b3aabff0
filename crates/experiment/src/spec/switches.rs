//! Every behaviour in which the published code differs from what the paper describes, as a switch of its own.
//!
//! | switch | `paper` (corrected) | `code` (as published) |
//! |---|---|---|
//! | `second_adapter` | takes part | is there, but inactive: it never enters the forward pass |
//! | `multilabel_score` | sigmoid | softmax over all labels |
//! | `schedule` | warm-up, then linear fall, in optimizer steps | first step has rate zero, then nearly constant |
//! | `selection` | best validation AUROC | last epoch (the later code: lowest validation loss) |
//! | `pooling` | last token, by length | last position of the padded row |
//! | `class_weights` | divided once for the whole step | divided in each micro-batch, so that they cancel in small ones |
//! | `test_perplexity` | over all tokens | mean of batch means |
//! | context and packing | those of the profile; long notes split for step 1 | at most 128 tokens, the rest dropped |
//! | data (`prepare --fidelity`; `data_rules` in `run.toml`) | codes as strings, split by patient, sections repaired | integer codes, split by note, as published |

use clinpeft_clinical::prepare::Fidelity;
use serde::{Deserialize, Serialize};

/// One value for each behaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switches {
    /// Whether an adapter on top of a clinical one takes part.
    pub second_adapter: SecondAdapter,
    /// What AUROC ranks patients by, for each label of a set.
    pub multilabel_score: MultilabelScore,
    /// How the learning rate moves.
    pub schedule: ScheduleRule,
    /// Which epoch of a downstream run is kept.
    pub selection: EpochRule,
    /// Which row stands for a note.
    pub pooling: PoolingRule,
    /// Where the loss with class weights is divided.
    pub class_weights: ClassWeights,
    /// What the test perplexity is a mean of.
    pub test_perplexity: PerplexityRule,
}

macro_rules! rule {
    ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $variant:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($(#[$each])* $variant),* }
    };
}

rule!(
    /// See [`Switches::second_adapter`].
    SecondAdapter {
        /// It does.
        Active,
        /// It is there and does nothing.
        Inactive,
    }
);
rule!(
    /// See [`Switches::multilabel_score`].
    MultilabelScore {
        /// Each label by itself.
        Sigmoid,
        /// Divided among all labels of the patient.
        Softmax,
    }
);
rule!(
    /// See [`Switches::schedule`].
    ScheduleRule {
        /// Linear rise over the warm-up, linear fall to zero.
        WarmupAndDecay,
        /// The ratio taken as a number of steps, the total counted in micro-batches.
        Published,
    }
);
rule!(
    /// See [`Switches::selection`].
    EpochRule {
        /// Highest AUROC on the validation split.
        BestAuroc,
        /// Lowest unweighted loss on the validation split.
        LowestLoss,
        /// The last one.
        LastEpoch,
    }
);
rule!(
    /// See [`Switches::pooling`].
    PoolingRule {
        /// The last token.
        LastToken,
        /// The last position, pad or not.
        LastPosition,
    }
);
rule!(
    /// See [`Switches::class_weights`].
    ClassWeights {
        /// By the sum of the weights of the whole optimizer step.
        WholeStep,
        /// By that of each micro-batch, then by their number.
        MicroBatch,
    }
);
rule!(
    /// See [`Switches::test_perplexity`].
    PerplexityRule {
        /// All tokens alike.
        AllTokens,
        /// Batches alike, whatever their lengths.
        BatchMeans,
    }
);

impl Switches {
    /// The preset of a fidelity.
    pub const fn preset(fidelity: Fidelity) -> Switches {
        match fidelity {
            Fidelity::Paper => Switches {
                second_adapter: SecondAdapter::Active,
                multilabel_score: MultilabelScore::Sigmoid,
                schedule: ScheduleRule::WarmupAndDecay,
                selection: EpochRule::BestAuroc,
                pooling: PoolingRule::LastToken,
                class_weights: ClassWeights::WholeStep,
                test_perplexity: PerplexityRule::AllTokens,
            },
            Fidelity::Code => Switches {
                second_adapter: SecondAdapter::Inactive,
                multilabel_score: MultilabelScore::Softmax,
                schedule: ScheduleRule::Published,
                selection: EpochRule::LastEpoch,
                pooling: PoolingRule::LastPosition,
                class_weights: ClassWeights::MicroBatch,
                test_perplexity: PerplexityRule::BatchMeans,
            },
        }
    }
}

/// Context of the published runs.
pub(crate) const PUBLISHED_CONTEXT: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_presets_differ_in_every_switch() {
        let text = |f| toml::to_string(&Switches::preset(f)).unwrap();
        let (paper, code) = (text(Fidelity::Paper), text(Fidelity::Code));
        assert_eq!(paper.lines().count(), 7);
        assert!(paper.lines().zip(code.lines()).all(|(a, b)| a != b));
    }
}
