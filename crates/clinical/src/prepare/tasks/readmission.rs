//! Readmission within 30 days, from ADMISSIONS, read off the whole discharge summary.
//!
//! The label is 1 if the same patient has another admission that begins at the discharge or at most 30 days after it (Huang
//! et al. 2019, *ClinicalBERT*, arXiv:1904.05342, which reads the whole summary too). Deaths in hospital are left out here;
//! newborns are left out with their notes, as in every task. The task is not in the paper, so both presets treat it alike.

use super::task_recipe::{SampleLabel, SampleText, TaskRecipe, class_names};
use crate::ids::DAY;
use crate::prepare::filters::Filter;

const WINDOW: i64 = 30 * DAY;

pub(super) const RECIPE: TaskRecipe = TaskRecipe {
    filters: |_| &[Filter::Survived, Filter::DischargeKnown],
    labels: class_names,
    label: |sample| {
        let admission = sample.survivor()?;
        let discharged = admission.discharged.ok_or(Filter::DischargeKnown)?;
        let stays = sample.sources.stays.get(&admission.subject).map(Vec::as_slice).unwrap_or_default();
        let returns =
            stays.iter().any(|(admitted, id)| *id != sample.id && (0..=WINDOW).contains(&admitted.since(discharged)));
        Ok(SampleLabel::class(usize::from(returns)))
    },
    text: SampleText::DischargeSummary,
    split: |sample| sample.split,
};
