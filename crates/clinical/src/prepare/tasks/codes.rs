//! Diagnoses and procedures: all ICD-9 groups of an admission.

use super::task_recipe::{Sample, SampleLabel, SampleText, TaskRecipe};
use crate::prepare::filters::Filter;
use crate::prepare::tables::codes::Codes;

pub(super) const DIAGNOSES: TaskRecipe = TaskRecipe {
    filters: |_| &[Filter::HasCode],
    labels: |sources, _| sources.diagnoses.labels.iter().map(String::as_str).collect(),
    label: |sample| joined(&sample.sources.diagnoses, sample),
    text: SampleText::AdmissionNote,
    split: |sample| sample.split,
};

pub(super) const PROCEDURES: TaskRecipe = TaskRecipe {
    labels: |sources, _| sources.procedures.labels.iter().map(String::as_str).collect(),
    label: |sample| joined(&sample.sources.procedures, sample),
    ..DIAGNOSES
};

fn joined(codes: &Codes, sample: &Sample<'_>) -> Result<SampleLabel, Filter> {
    Ok(SampleLabel { text: codes.joined(sample.id).ok_or(Filter::HasCode)?, class: None })
}
