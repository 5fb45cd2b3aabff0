//! The length of stay of those who survive, in four classes.

use super::task_recipe::{SampleLabel, SampleText, TaskRecipe, class_names};
use crate::prepare::filters::Filter;
use crate::prepare::tables::admissions::stay_class;

pub(super) const RECIPE: TaskRecipe = TaskRecipe {
    filters: |_| &[Filter::Survived, Filter::LengthKnown],
    labels: class_names,
    label: |sample| stay_class(sample.survivor()?).map(SampleLabel::class).ok_or(Filter::LengthKnown),
    text: SampleText::AdmissionNote,
    split: |sample| sample.split,
};
