//! Ventilation of a week or more, among those ventilated for two days or more.

use super::task_recipe::{SampleLabel, SampleText, TaskRecipe, class_names};
use crate::prepare::filters::Filter;
use crate::prepare::rules::Switch;
use crate::prepare::tables::ventilation::cohort::Unfit;

pub(super) const RECIPE: TaskRecipe = TaskRecipe {
    filters: |sources| match sources.candidates.listed() {
        0 => &[Filter::InCohort, Filter::EarlyNote, Filter::NoDeathMention],
        _ => &[Filter::Listed, Filter::OutcomeKnown, Filter::NoDeathMention],
    },
    labels: class_names,
    label: |sample| {
        let candidates = &sample.sources.candidates;
        let duration = candidates.label(sample.id).map_err(|unfit| match unfit {
            Unfit::NoStay => Filter::InCohort,
            Unfit::NotListed => Filter::Listed,
            Unfit::NoEarlyNote => Filter::EarlyNote,
        })?;
        if candidates.listed() > 0 {
            // The published list takes its notes from the mortality task.
            sample.died()?;
        }
        Ok(SampleLabel::class(duration as usize))
    },
    text: SampleText::WithoutDeath,
    split: |sample| match sample.sources.candidates.listed_split(sample.id) {
        _ if sample.rules.corrects(Switch::VentilationSplit) => sample.split,
        // The split of the list, for patients of the mortality task.
        Some(listed) => sample.split.map(|_| listed),
        None => Some(sample.split_by_admission),
    },
};
