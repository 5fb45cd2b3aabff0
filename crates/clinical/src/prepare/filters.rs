//! Every filter by which `prepare` drops a row, an admission, a stay, a sample or a corpus note.

/// A filter; its name says what it keeps and begins with what it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filter {
    RowAdmission,
    RowText,
    RowDischargeSummary,
    RowNoError,
    RowNotRepeated,
    AdmissionReport,
    AdmissionUsable,
    StayAdmission,
    StayAdult,
    StayDiagnosis,
    StayVentilated,
    StayTwoDays,
    StayFirst,
    OutcomeKnown,
    NoDeathMention,
    InSplit,
    NoHeldOutDuplicate,
    HasCode,
    Survived,
    LengthKnown,
    DischargeKnown,
    InCohort,
    Listed,
    EarlyNote,
    NoteNoError,
    NoteText,
    NoteNotRepeated,
    NotePatient,
    NoteNoHeldOutText,
}

use Filter::*;

/// Rows of NOTEEVENTS, for all tasks.
pub(super) const ROWS: &[Filter] = &[RowAdmission, RowText, RowDischargeSummary, RowNoError, RowNotRepeated];
/// Admissions, for all tasks.
pub(super) const ADMISSIONS: &[Filter] = &[AdmissionReport, AdmissionUsable];
/// ICU stays of the ventilation cohort.
pub(super) const ICU_STAYS: &[Filter] =
    &[StayAdmission, StayAdult, StayDiagnosis, StayVentilated, StayTwoDays, StayFirst];
/// Notes of the adaptation corpus.
pub(super) const CORPUS: &[Filter] = &[NoteNoError, NoteText, NoteNotRepeated, NotePatient, NoteNoHeldOutText];

impl Filter {
    /// The name in the flow counts.
    pub const fn name(self) -> &'static str {
        match self {
            RowAdmission => "row: admission is known and not a newborn's",
            RowText => "row: has a text and an admission",
            RowDischargeSummary => "row: is a discharge summary",
            RowNoError => "row: is not marked as an error",
            RowNotRepeated => "row: is not repeated by a later note",
            AdmissionReport => "admission: has a report, not addenda only",
            AdmissionUsable => "admission: complaint, illness or history is there",
            StayAdmission => "ICU stay: admission is known",
            StayAdult => "ICU stay: patient is 18 or older",
            StayDiagnosis => "ICU stay: no excluding diagnosis",
            StayVentilated => "ICU stay: was ventilated",
            StayTwoDays => "ICU stay: ventilated for two days or more",
            StayFirst => "ICU stay: first such stay of its admission",
            OutcomeKnown => "sample: outcome is known",
            NoDeathMention => "sample: no mention of the patient's death is left",
            InSplit => "sample: patient is in a split list",
            NoHeldOutDuplicate => "sample: is not in training with its like held out",
            HasCode => "sample: admission has a code",
            Survived => "sample: patient survived",
            LengthKnown => "sample: length of stay is known",
            DischargeKnown => "sample: time of discharge is known",
            InCohort => "sample: admission has a stay of the cohort",
            Listed => "sample: admission is in the list of labels",
            EarlyNote => "sample: nursing or respiratory note in the first 48 hours",
            NoteNoError => "note: is not marked as an error",
            NoteText => "note: has a text",
            NoteNotRepeated => "note: is not repeated in the patient's consecutive rows",
            NotePatient => "note: patient is not in a validation or test split of the tasks",
            NoteNoHeldOutText => "note: does not hold the text of a validation or test sample",
        }
    }
}
