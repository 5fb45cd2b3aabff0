//! What decides a task's samples: label, text, split and filters.

use super::sources::LabelSources;
use crate::ids::{HadmId, SubjectId};
use crate::prepare::filters::Filter;
use crate::prepare::rules::Rules;
use crate::prepare::tables::admissions::Admission;
use crate::task::{Split, Task};

/// How the samples of one task are made from an admission.
pub(in crate::prepare) struct TaskRecipe {
    /// The task's own filters; [`TaskRecipe::all_filters`] adds those of every task.
    pub filters: fn(&LabelSources) -> &'static [Filter],
    /// The lines of `labels.txt`.
    pub labels: for<'a> fn(&'a LabelSources, Task) -> Vec<&'a str>,
    /// The label, or the filter that drops the sample.
    pub label: fn(&Sample<'_>) -> Result<SampleLabel, Filter>,
    /// The text.
    pub text: SampleText,
    /// The split; `None` if no list has the patient.
    pub split: fn(&Sample<'_>) -> Option<Split>,
}

/// The text that a task reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::prepare) enum SampleText {
    /// The sections known at admission.
    AdmissionNote,
    /// The same without mentions of the patient's death.
    WithoutDeath,
    /// The whole discharge summary.
    DischargeSummary,
}

/// A label as it is written, and its class in tasks with classes.
pub(in crate::prepare) struct SampleLabel {
    pub text: String,
    pub class: Option<usize>,
}

impl SampleLabel {
    /// The label of a class.
    pub fn class(class: usize) -> SampleLabel {
        SampleLabel { text: class.to_string(), class: Some(class) }
    }
}

/// The class names of a task whose labels are not read from the data.
pub(super) fn class_names(_: &LabelSources, task: Task) -> Vec<&str> {
    task.classes().unwrap_or_default().to_vec()
}

/// An admission with its texts and everything that a label can come from.
pub(in crate::prepare) struct Sample<'a> {
    pub id: HadmId,
    pub subject: SubjectId,
    /// The admission note.
    pub text: String,
    /// The admission note without mentions of death; `None` if some cannot be removed.
    pub without_death: Option<String>,
    /// The whole summary; empty if no task asks for it.
    pub summary: String,
    pub admission: Option<&'a Admission>,
    pub split: Option<Split>,
    pub split_by_admission: Split,
    pub rules: Rules,
    pub sources: &'a LabelSources,
}

/// A sample of one task.
pub(in crate::prepare) struct Labelled<'a> {
    pub split: Split,
    pub text: &'a str,
    pub label: SampleLabel,
}

impl TaskRecipe {
    /// All filters in order.
    pub fn all_filters(&self, sources: &LabelSources) -> Vec<Filter> {
        let mut filters = (self.filters)(sources).to_vec();
        filters.extend([Filter::InSplit, Filter::NoHeldOutDuplicate]);
        filters
    }

    /// The sample of this task, or the filter that drops it.
    pub fn labelled<'a>(&self, sample: &'a Sample<'_>) -> Result<Labelled<'a>, Filter> {
        let label = (self.label)(sample)?;
        let text = match self.text {
            SampleText::AdmissionNote => &sample.text,
            SampleText::WithoutDeath => sample.without_death.as_ref().ok_or(Filter::NoDeathMention)?,
            SampleText::DischargeSummary => &sample.summary,
        };
        Ok(Labelled { split: (self.split)(sample).ok_or(Filter::InSplit)?, text, label })
    }
}

impl<'a> Sample<'a> {
    /// `HOSPITAL_EXPIRE_FLAG`.
    pub fn died(&self) -> Result<usize, Filter> {
        Ok(self.admission.and_then(|a| a.died).ok_or(Filter::OutcomeKnown)? as usize)
    }

    /// The admission, if the patient left the hospital alive.
    pub fn survivor(&self) -> Result<&'a Admission, Filter> {
        self.admission.filter(|a| a.died == Some(0)).ok_or(Filter::Survived)
    }
}
