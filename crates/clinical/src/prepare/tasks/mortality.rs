//! Death in hospital, from `HOSPITAL_EXPIRE_FLAG`.

use super::task_recipe::{SampleLabel, SampleText, TaskRecipe, class_names};
use crate::prepare::filters::Filter;
use crate::prepare::rules::Switch;

pub(super) const RECIPE: TaskRecipe = TaskRecipe {
    filters: |_| &[Filter::OutcomeKnown, Filter::NoDeathMention],
    labels: class_names,
    label: |sample| {
        let mut label = SampleLabel::class(sample.died()?);
        // With one flag missing, the published scripts hold all of them as decimals.
        if sample.sources.flag_has_gaps && !sample.rules.corrects(Switch::ColumnTypes) {
            label.text += ".0";
        }
        Ok(label)
    },
    text: SampleText::WithoutDeath,
    split: |sample| sample.split,
};
